"""`tools/track.py SOURCE`: follow what is in a box through a video, a folder of images or a stream."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.batch import add_batch_options, run_batch
from tracker.cli.common import (
    BAD_REQUEST,
    Parser,
    RawEpilog,
    add_model_options,
    add_version,
    parse_box,
    say_error,
    whole_number,
)
from tracker.cli.outputs import add_output_options, check_known, check_options, check_targets, several_possible
from tracker.cli.progress import Progress
from tracker.cli.session import Session, finish, note
from tracker.errors import BoxError

if TYPE_CHECKING:
    from tracker.cli.screen import Screen
    from tracker.types import Box, Frame, Track, VideoInfo

EPILOG = """\
without --box or --init-file a window opens to draw the box: drag with the mouse, Enter accepts, Esc cancels;
without --save, --save-boxes or --show it is shown, or, where there is no display, written to ./SOURCE_tracked.mp4
keys in the window: space pauses, r draws the box anew, q quits
exit codes: 0 done; 1 failed in the middle, files are valid up to there; 2 can't be done, nothing written; 130 Ctrl-C, files are valid

  track.py clip.mp4                                        draw the box in a window and watch
  track.py clip.mp4 --box 10,20,64,48 --save out.mp4       no display needed
  track.py frames/ --init-file boxes.txt --save-boxes out.csv
"""


def build_parser() -> Parser:
    """The options of `tools/track.py`."""
    parser = Parser(description=__doc__.split(": ", 1)[1].capitalize(), epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE", help="video file, folder of images, glob, pattern %%04d, camera index or URL"
    )
    target = parser.add_argument_group("target")
    target.add_argument(
        "--box",
        action="append",
        type=parse_box,
        default=[],
        metavar="X,Y,W,H",
        help="left, top, width, height in pixels of the first frame; repeat it for several targets",
    )
    target.add_argument(
        "--init-file", type=Path, metavar="FILE", help="take the box from a file's first line (csv, jsonl, txt of any benchmark)"
    )
    target.add_argument("--find", type=Path, metavar="TARGET.npz", help="look for a target that --save-target wrote; no box is needed")
    target.add_argument(
        "--detections", type=Path, metavar="FILE.csv|.json", help="follow what a detector found in the first frame (csv, or COCO results)"
    )
    target.add_argument("--start-frame", type=whole_number(0), default=0, metavar="N", help="first frame, counted from 0 (default: 0)")
    target.add_argument("--max-frames", type=whole_number(1), metavar="N", help="stop after so many frames")
    add_output_options(parser)
    add_batch_options(parser)
    show = parser.add_argument_group("display")
    show.add_argument("--show", action="store_true", help="watch in a window, at the video's own speed unless files are written too")
    show.add_argument("--quiet", action="store_true", help="print errors only")
    add_model_options(parser)
    parser.add_argument("--doctor", action="store_true", help="print what works on this machine, and what is off and why, and exit")
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Track as the options say; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.doctor:
        from tracker.cli.doctor import report

        return report()
    if args.source is None:
        parser.error("which video? Give a file, a folder of images, a camera index or a URL")
    if sum(map(bool, (args.box, args.init_file, args.find, args.detections, args.init_dir))) > 1:
        parser.error("--box, --init-file, --init-dir, --detections and --find all say what to follow; give one of them")
    if args.output and not args.init_dir:
        parser.error("--output DIR goes with --init-dir, for many clips; for one, --save and --save-boxes name the files")
    check_options(args)
    if args.init_dir:
        return run_batch(args)
    from tracker.media.sources import check_there, open_source

    check_there(args.source)
    boxes = given_boxes(args)
    choose_outputs(args, draws=not (boxes or args.find))
    from tracker.cli.screen import Screen

    with ExitStack() as stack:
        source = stack.enter_context(open_source(args.source, start=args.start_frame, prefetch=4, reconnect_for=0.0))
        frames = limited(source, args.max_frames)
        first = next(frames)
        screen = Screen(stack, source.info, paced=not (args.save or args.save_boxes)) if args.show or not (boxes or args.find) else None
        if not (boxes or args.find):
            boxes = screen.draw(first, several=several_possible(args)) if screen else []
        if not (boxes or args.find):
            say_error("No box was drawn, so nothing was tracked.")
            return BAD_REQUEST
        check_in_frame(boxes, first)
        check_targets(args, len(boxes))
        session = stack.enter_context(Session(args, source.info))
        note(args, session.load())
        session.open_files(max(len(boxes), 1))
        return play(args, session, screen, source.info, first, frames, boxes)


def given_boxes(args: argparse.Namespace) -> list[Box]:
    """The boxes of --box, --init-file or --detections; none if they are to be drawn."""
    if args.init_file:
        from tracker.media.boxfiles import read_init_box

        return [read_init_box(args.init_file)]
    if args.detections:
        from tracker.interop.detections import read_detections

        return read_detections(args.detections, args.start_frame)
    if not args.box:
        check_known(args)
        return []
    from tracker.loop import as_boxes

    return as_boxes(args.box)


def choose_outputs(args: argparse.Namespace, draws: bool) -> None:
    """Settle what is shown and written, and say so where it isn't what was typed.

    Raises:
        BoxError: There is neither a box nor a display to draw one.
    """
    wants_files = bool(args.save or args.save_boxes or args.save_target)
    if wants_files and not args.show and not draws:
        return
    from tracker.media.window import display_available

    there, why = display_available()
    if draws and not there:
        raise BoxError(f"A window to draw the box can't be opened: {why}; pass the box with --box x,y,w,h or --init-file FILE.")
    if there:
        args.show = args.show or not wants_files
        return
    if args.show:
        sys.stderr.write(f"--show is left out: {why}; files are written all the same.\n")
        args.show = False
    if not wants_files:
        args.save = default_output(args.source)
        check_options(args)
        note(args, f"No window: {why}; no output was named, so the video goes to {args.save}.")


def default_output(source: str) -> Path:
    """Where the video goes if no output was named and there is no display: SOURCE_tracked.mp4 in the current folder."""
    name = "camera" + source if source.isdigit() else Path(source.rstrip("/")).stem
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("_.")
    return Path(f"{plain or 'video'}_tracked.mp4")


def limited(source: Iterable[Frame], count: int | None) -> Iterator[Frame]:
    """The frames, at most so many."""
    for k, frame in enumerate(source, 1):
        yield frame
        if k == count:
            return


def check_in_frame(boxes: Sequence[Box], frame: Frame) -> None:
    """Before the model is loaded: the boxes lie in the first frame."""
    from tracker.geometry import check_box

    height, width = frame.image.shape[:2]
    for box in boxes:
        check_box(box, width, height)


def play(
    args: argparse.Namespace,
    session: Session,
    screen: Screen | None,
    info: VideoInfo,
    first: Frame,
    frames: Iterator[Frame],
    boxes: Sequence[Box],
) -> int:
    """Go through the video; whatever ends it, the files are finished and the summary is printed."""
    count = None if info.frame_count is None else max(info.frame_count - args.start_frame, 0)
    progress = Progress(min((n for n in (count, args.max_frames) if n), default=None), args.quiet)
    idle, began = (screen.idle if screen else 0.0), time.perf_counter()

    def work() -> None:
        for frame, tracks in steps(session, screen, first, frames, boxes):
            session.write(frame, tracks)
            progress.update(tracks)

    code, reason = finish(session, work, progress)
    seconds = time.perf_counter() - began - ((screen.idle - idle) if screen else 0.0)
    note(args, session.tally.sentence(seconds, session.written))
    if reason:
        say_error(reason)
    return code


def steps(
    session: Session, screen: Screen | None, first: Frame, frames: Iterator[Frame], boxes: Sequence[Box]
) -> Iterator[tuple[Frame, list[Track]]]:
    """Each frame with its tracks, after the window showed it and the user had a say."""
    frame: Frame | None = first
    while frame is not None:
        if frame is not first:
            tracks = session.step(frame)
        else:
            tracks = session.start(frame, boxes) if boxes else session.find(frame, session.args.find)
        answer = screen.present(session.painter(frame, tracks)) if screen else ""
        if screen and answer == "redraw":
            drawn = screen.draw(frame, several=session.several_possible)
            if drawn:
                tracks = session.start(frame, drawn)
        yield frame, tracks
        frame = None if answer == "quit" else next(frames, None)


if __name__ == "__main__":
    from tracker.cli.common import run

    raise SystemExit(run(main))
