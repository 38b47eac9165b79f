"""What `track` and `live` share: targets, files and counters of one run, and the picture of a frame."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import Parser, check_model_options, load_tracker
from tracker.errors import OutputError

if TYPE_CHECKING:
    from tracker.loop import Targets
    from tracker.media.draw import Views
    from tracker.media.sinks import Sink
    from tracker.types import Box, Frame, Image, Track, VideoInfo

VIEWS = ("boxes", "response")
TEXT_FORMATS = ("got10k", "mot", "otb", "vot")


def add_output_options(parser: Parser) -> None:
    """--save, --save-boxes, --format, --view, --overwrite."""
    group = parser.add_argument_group("output")
    group.add_argument("--save", type=Path, metavar="OUT.mp4", help="write a video with the target drawn (H.264; .mp4, .m4v, .mov or .mkv)")
    group.add_argument(
        "--save-boxes",
        type=Path,
        action="append",
        default=[],
        metavar="OUT.csv|.jsonl|.txt",
        help="write the box, score and state of every frame; may be repeated",
    )
    group.add_argument("--format", choices=TEXT_FORMATS, help="what a .txt holds: got10k unless there are several targets, then mot")
    group.add_argument(
        "--view",
        choices=VIEWS,
        default=VIEWS[0],
        help="what window and video show: the frame with boxes, or beside it the template, the search window and the response",
    )
    group.add_argument("--overwrite", action="store_true", help="replace outputs that exist; without it they are left alone")


def check_output_options(args: argparse.Namespace) -> None:
    """Find out before any work whether every file that was asked for can be written.

    Raises:
        OutputError: The first that can't.
    """
    from tracker.media.sinks import box_format, check_video_name, check_writable

    if args.format and not any(path.suffix.lower() == ".txt" for path in args.save_boxes):
        raise OutputError(f"--format {args.format} says what a .txt holds, but no --save-boxes FILE.txt was given.")
    wanted = [*([args.save] if args.save else []), *args.save_boxes]
    for k, path in enumerate(wanted):
        if path.resolve() in [other.resolve() for other in wanted[:k]]:
            raise OutputError(f"The output {path} is asked for twice; give each output its own name.")
        check_writable(path, args.overwrite, source=args.source)
    if args.save:
        check_video_name(args.save)
    for path in args.save_boxes:
        box_format(path, text_format(path, args.format))


def text_format(path: Path, wanted: str | None, targets: int = 1) -> str | None:
    """The `format` of `open_boxes_sink`: --format for .txt files only, and MOT for several targets."""
    if path.suffix.lower() != ".txt":
        return None
    return wanted or ("mot" if targets > 1 else None)


def check_targets(args: argparse.Namespace, count: int) -> None:
    """Several targets need a box format that can tell them apart.

    Raises:
        OutputError: They were asked for in a format of one target.
    """
    if count > 1 and args.format not in (None, "mot"):
        raise OutputError(f"The format {args.format} holds one target, not {count}; use --format mot, a .csv or a .jsonl.")


class Painter:
    """The picture of a frame and its tracks, made once for window and video.

    Args:
        view: One of VIEWS.
        views: Gives what the network saw last.
    """

    def __init__(self, view: str, views: Callable[[], Views | None]) -> None:
        self._view, self._views = view, views
        self._last: tuple[Frame, Sequence[Track], Image] | None = None
        self.note = ""

    def __call__(self, frame: Frame, tracks: Sequence[Track]) -> Image:
        from tracker.media.draw import draw_tracks, response_view

        if self._last is not None and self._last[0] is frame and self._last[1] is tracks:
            return self._last[2]
        if self._view == "response":
            image = response_view(frame, tracks, self._views(), note=self.note)
        else:
            image = draw_tracks(frame, tracks, note=self.note)
        self._last = (frame, tracks, image)
        return image


@dataclass
class Tally:
    """Counts of a run. Boxes that the user drew count as frames, not as scores."""

    frames: int = 0
    lost_frames: int = 0
    scores: int = 0
    score_sum: float = 0.0
    tracker_seconds: float = 0.0

    def add(self, tracks: Sequence[Track], drawn: bool, seconds: float) -> None:
        """Count a frame that was written."""
        self.frames += 1
        self.lost_frames += any(not track.visible for track in tracks)
        if not drawn:
            self.scores += len(tracks)
            self.score_sum += sum(track.score for track in tracks)
            self.tracker_seconds += seconds

    def sentence(self, seconds: float, written: Sequence[Path]) -> str:
        """The one-line summary of a run that took so many seconds."""
        updates = max(self.frames - 1, 0)
        parts = [f"{self.frames} frame{'s' * (self.frames != 1)}"]
        if updates and seconds > 0:
            parts.append(f"{self.frames / seconds:.1f} fps (the tracker alone {updates / max(self.tracker_seconds, 1e-9):.1f})")
        if self.scores:
            parts.append(f"mean score {self.score_sum / self.scores:.2f}")
        parts.append(f"lost in {self.lost_frames}")
        return f"{', '.join(parts)}; {'wrote ' + ', '.join(map(str, written)) if written else 'no files written'}."


class Session:
    """The targets of one run, the files they are written to, and their counts; a context manager that closes the files.

    Args:
        args: Parsed options of `add_output_options` and `common.add_model_options`.
        info: The source.
        targets: How many are followed.
    """

    def __init__(self, args: argparse.Namespace, info: VideoInfo, targets: int) -> None:
        check_targets(args, targets)
        self._args, self._info, self._count = args, info, targets
        self._stack = ExitStack()
        self._sinks: list[Sink] = []
        self._drawn, self._seconds = False, 0.0
        self.tally = Tally()
        self.written: list[Path] = []

    def load(self) -> str:
        """Build the tracker; returns what was chosen, as a phrase."""
        from tracker.loop import OneByOne
        from tracker.tracking.tracker import SiamTracker

        first = load_tracker(self._args)
        # Further targets share the network and its engine: only the template is their own.
        self._targets: Targets = OneByOne(lambda: SiamTracker(first.model, first.engine, first.config), [first])
        self.painter = Painter(self._args.view, lambda: first.views)
        return f"{first.name} on {first.device} ({first.engine.name})"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def open_files(self) -> None:
        """Create the outputs.

        Raises:
            OutputError: One can't be written.
        """
        from tracker.media.sinks import open_boxes_sink
        from tracker.media.videosink import VideoSink

        args = self._args
        for path in args.save_boxes:
            sink = open_boxes_sink(path, text_format(path, args.format, self._count), overwrite=args.overwrite)
            self._sinks.append(self._stack.enter_context(sink))
            self.written.append(path)
        if args.save:
            video = VideoSink(args.save, self._info, render=self.painter, overwrite=args.overwrite)
            self._sinks.append(self._stack.enter_context(video))
            self.written.insert(0, args.save)

    @property
    def several_possible(self) -> bool:
        """Whether every output can hold several targets."""
        formats = [text_format(path, self._args.format, self._count) for path in self.written if path.suffix.lower() == ".txt"]
        return all(format_ == "mot" for format_ in formats)

    def start(self, frame: Frame, boxes: Sequence[Box]) -> list[Track]:
        """Begin (again) to follow these boxes.

        Raises:
            BoxError: A box that can't be tracked in this frame.
        """
        from tracker.loop import begin

        self._drawn = True
        return begin(self._targets, frame, boxes)

    def step(self, frame: Frame) -> list[Track]:
        """Find the targets in the next frame."""
        began = time.perf_counter()
        self._drawn = False
        tracks = self._targets.update(frame.image, index=frame.index, timestamp=frame.timestamp)
        self._seconds = time.perf_counter() - began
        return tracks

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Add the frame to all outputs and count it.

        Raises:
            OutputError: The disk is full, or an encoder failed.
        """
        for sink in self._sinks:
            sink.write(frame, tracks)
        self.tally.add(tracks, self._drawn, self._seconds)

    def close(self) -> None:
        """Finish all outputs; safe to call twice.

        Raises:
            OutputError: One could not be finished. The others are.
        """
        self._stack.close()


def check_options(args: argparse.Namespace) -> None:
    """All that can be found wrong with the options before anything is opened or loaded."""
    check_output_options(args)
    check_model_options(args)
