"""Shared by `track` and `live`: targets, files and counters of one run, and the drawing of a frame."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tracker.cli.common import DONE, FAILED_MIDWAY, INTERRUPTED, TERMINATED, Terminated
from tracker.cli.model_options import load_tracker
from tracker.cli.outputs import several_possible, text_format
from tracker.errors import OutputError, SiamTrackError

if TYPE_CHECKING:
    from tracker.cli.streams import ProgressBar
    from tracker.loop import Targets
    from tracker.media.draw import NetworkViewsLike
    from tracker.media.sinks.base import Sink
    from tracker.tracking.multi import MultiTracker
    from tracker.tracking.tracker import SiamTracker
    from tracker.types import Box, Frame, Image, Track, VideoInfo


class Painter:
    """Draws a frame with its tracks, once for window and video.

    Args:
        view: One of `outputs.VIEWS`.
        views: Returns the network's last views.
    """

    def __init__(self, view: str, views: Callable[[], NetworkViewsLike | None]) -> None:
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
class RunTotals:
    """Counters of a run. Boxes that the user drew count as frames, not as scores."""

    frames: int = 0
    lost_frames: int = 0
    scores: int = 0
    score_sum: float = 0.0
    tracker_seconds: float = 0.0

    def add(self, tracks: Sequence[Track], drawn: bool, seconds: float) -> None:
        """Counts a frame that was written."""
        self.frames += 1
        self.lost_frames += any(not track.visible for track in tracks)
        if not drawn:
            self.scores += len(tracks)
            self.score_sum += sum(track.score for track in tracks)
            self.tracker_seconds += seconds

    def sentence(self, seconds: float, written: Sequence[Path], extra: Sequence[str] = ()) -> str:
        """The one-line summary of a run, with its duration and files."""
        updates = max(self.frames - 1, 0)
        parts = [f"{self.frames} frame{'s' * (self.frames != 1)}"]
        if updates and seconds > 0:
            parts.append(
                f"{self.frames / seconds:.1f} fps (the tracker alone {updates / max(self.tracker_seconds, 1e-9):.1f})"
            )
        if self.scores:
            parts.append(f"mean score {self.score_sum / self.scores:.2f}")
        parts += [f"lost in {self.lost_frames}", *extra]
        files = [str(path) for path in written if path.exists()]
        return f"{', '.join(parts)}; {'wrote ' + ', '.join(files) if files else 'no files written'}."


class Session:
    """The targets of one run, the files they are written to, and their counts; a context manager that closes the files.

    Args:
        args: Parsed options of `add_output_options` and `model_options.add_model_options`.
        info: The source.
    """

    def __init__(self, args: argparse.Namespace, info: VideoInfo) -> None:
        self.args, self._info, self._count = args, info, 0
        self._sinks: list[Sink] = []
        self._drawn, self._seconds, self._following = False, 0.0, 0
        self._targets: Targets
        self._viewed: SiamTracker | MultiTracker
        self.tally = RunTotals()
        self.written: list[Path] = []

    def load(self) -> str:
        """Builds the tracker; returns a phrase that describes it."""
        self.tracker = load_tracker(self.args, self._info.live)
        self.painter = Painter(self.args.view, lambda: self._viewed.views)
        self._viewed = self.tracker
        return f"{self.tracker.name} on {self.tracker.device} ({self.tracker.engine.name})"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close(complete=not exc or exc[0] is None)

    def open_files(self, targets: int) -> None:
        """Creates the outputs for a number of targets; does nothing if they are open already.

        Raises:
            OutputError: One can't be written.
        """
        if self._sinks:
            return
        self._count = targets
        from tracker.media.sinks.open import open_boxes_sink
        from tracker.media.sinks.video import VideoSink

        args = self.args
        for path in args.save_boxes:
            kind = text_format(path, args.format, self._count)
            sink = open_boxes_sink(path, kind, overwrite=args.overwrite, resume=args.resume)
            if getattr(args, "smooth", None) is not None:
                from tracker.measure.smooth import SmoothSink

                sink = SmoothSink(sink, args.smooth)
            self._sinks.append(sink)
            self.written.append(path)
        if args.save:
            self._sinks.append(
                VideoSink(args.save, self._info, render=self.painter, overwrite=args.overwrite or args.resume)
            )
            self.written.insert(0, args.save)

    @property
    def several_possible(self) -> bool:
        """Whether every output, including open ones, can store several targets."""
        texts = [path for path in self.written if path.suffix.lower() == ".txt"]
        return several_possible(self.args) and all(
            text_format(path, self.args.format, self._count) == "mot" for path in texts
        )

    def start(self, frame: Frame, boxes: Sequence[Box]) -> list[Track]:
        """Starts (again) to track these boxes.

        Raises:
            BoxError: A box that can't be tracked in this frame.
        """
        from tracker.loop import begin, targets_of

        if len(boxes) != self._following:
            self._targets, self._following = targets_of(self.tracker, len(boxes)), len(boxes)
        self._drawn = True
        tracks = begin(self._targets, frame, boxes)
        self._viewed = self.tracker if len(boxes) == 1 else cast("MultiTracker", self._targets)
        return tracks

    def find(self, frame: Frame, known: Path) -> list[Track]:
        """Searches for a target written by --save-target, from this frame on."""
        from tracker.loop import targets_of

        self._targets, self._following = targets_of(self.tracker, 1), 1
        return [self.tracker.find(frame.image, known, index=frame.index, timestamp=frame.timestamp)]

    def save_target(self) -> None:
        """Writes the target for --save-target, if one was tracked."""
        path = self.args.save_target
        if path is not None and self.tracker.target is not None:
            self.tracker.save_target(path)
            self.written.append(path)

    def step(self, frame: Frame) -> list[Track]:
        """Tracks the targets in the next frame."""
        began = time.perf_counter()
        self._drawn = False
        tracks = self._targets.update(frame.image, index=frame.index, timestamp=frame.timestamp)
        self._seconds = time.perf_counter() - began
        return tracks

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Adds the frame to all outputs and counts it.

        Raises:
            OutputError: The disk is full, or an encoder failed.
        """
        for sink in self._sinks:
            sink.write(frame, tracks)
        self.tally.add(tracks, self._drawn, self._seconds)

    def close(self, complete: bool = True) -> None:
        """Finishes all outputs; safe to call twice.

        Args:
            complete: False: the run was interrupted, so files of an earlier run stay, and the new ones are left beside
                them.

        Raises:
            OutputError: One could not be finished. The others were.
        """
        failed: OutputError | None = None
        for sink in reversed(self._sinks):
            try:
                sink.close(complete=complete)
            except OutputError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def worth(self, code: int) -> bool:
        """Whether the outputs replace existing ones: the run is complete, or it has no defined end, as a camera's."""
        return code == DONE or (self._info.live and self.tally.frames > 0)

    def beside(self) -> list[Path]:
        """Outputs of an interrupted run, left beside the existing ones."""
        return [sink.where for sink in self._sinks if sink.where != sink.path and sink.where.exists()]


def finish(session: Session, work: Callable[[], None], progress: ProgressBar) -> tuple[int, str]:
    """Runs the main loop; the files are finished however it ends.

    Returns:
        The exit code and, unless it is 0, a sentence about what happened.
    """
    code, reason = DONE, ""
    try:
        work()
    except SiamTrackError as error:
        code, reason = FAILED_MIDWAY, str(error)
    except KeyboardInterrupt:
        code, reason = INTERRUPTED, "Stopped by Ctrl-C; the files are valid up to here."
    except Terminated:
        code, reason = TERMINATED, "Stopped by SIGTERM; the files are valid up to here."
    finally:
        progress.close()
    worth = session.worth(code)
    for end in (session.save_target, lambda: session.close(worth)):
        try:
            end()
        except (OutputError, OSError) as error:
            code, reason = code or FAILED_MIDWAY, f"{reason} {error}".strip()
    beside = session.beside()
    if beside:
        reason = f"{reason} The old files stay; the frames of this run are in {', '.join(map(str, beside))}.".strip()
    return code, reason
