"""`tools/track.py SOURCE`: tracks what is in a box through a video, a folder of images or a stream."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.batch import add_batch_options, run_batch
from tracker.cli.camera import add_camera_option, settle_source
from tracker.cli.common import (
    BAD_REQUEST,
    DONE,
    Parser,
    RawEpilog,
    StoreOnce,
    add_version,
    end_with_parent,
    parse_box,
    run,
    say_error,
    whole_number,
)
from tracker.cli.model_options import add_model_options
from tracker.cli.outputs import add_output_options, check_options, check_targets, choose_outputs, several_possible
from tracker.cli.session import Session, finish
from tracker.cli.streams import ProgressBar, note
from tracker.cli.track_boxes import check_in_frame, given_boxes, placed_boxes

if TYPE_CHECKING:
    from tracker.cli.screen import Screen
    from tracker.media.sources.open import Source
    from tracker.types import Box, Frame, Track

BOX_FORMATS = ("boxes", "polygon", "mot", "csv", "jsonl")
EPILOG = """\
without --box or --init-file a window opens to draw the box: drag with the mouse, Enter accepts, Esc cancels;
without --save, --save-boxes or --show it is shown, or, where there is no display, written to ./SOURCE_tracked.mp4
keys in the window: space pauses, comma and full stop step, arrows seek by 2 s, + and - change the speed,
r draws the box anew, q quits
exit codes: 0 done; 1 failed in the middle, files are valid up to there; 2 can't be done, nothing written; 130 Ctrl-C,
files are valid

  siamtrack track clip.mp4                                        draw the box in a window and watch
  siamtrack track clip.mp4 --box 10,20,64,48 --save out.mp4       no display needed
  siamtrack track frames/ --init-file boxes.txt --save-boxes out.csv
"""


def build_parser() -> Parser:
    """The options of `tools/track.py`."""
    parser = Parser(description=__doc__.split(": ", 1)[1].capitalize(), epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="video file, folder of images, glob, pattern %%04d, camera index or URL",
    )
    add_camera_option(parser)
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
        "--init-file",
        action=StoreOnce,
        type=Path,
        metavar="FILE",
        help="read the boxes of the first frame from a file (csv, jsonl, txt of any benchmark); every target in "
        "it is followed",
    )
    target.add_argument(
        "--init-id",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="follow the target with this id in --init-file alone; repeatable",
    )
    target.add_argument(
        "--init-format",
        choices=("auto", *BOX_FORMATS),
        default="auto",
        help="what the lines of --init-file are, where several formats fit",
    )
    target.add_argument(
        "--first-row-frame",
        type=whole_number(0),
        metavar="N",
        help="frame of the first line of --init-file, where its lines name no frame",
    )
    target.add_argument(
        "--find",
        action=StoreOnce,
        type=Path,
        metavar="TARGET.npz",
        help="look for a target that --save-target wrote; no box is needed",
    )
    target.add_argument(
        "--template-from",
        type=Path,
        metavar="PICTURE",
        help="--box lies in this picture, perhaps of another modality (visible, thermal); the thing is looked for "
        "in the first frame",
    )
    target.add_argument(
        "--template-model",
        default="match-thermal",
        metavar="NAME|FILE",
        help="with --template-from: the matcher that looks for it",
    )
    target.add_argument(
        "--detections",
        type=Path,
        metavar="FILE.csv|.json",
        help="follow what a detector found in the first frame (csv, or COCO results)",
    )
    target.add_argument(
        "--start-frame", type=whole_number(0), default=0, metavar="N", help="first frame, counted from 0 (default: 0)"
    )
    target.add_argument("--max-frames", type=whole_number(1), metavar="N", help="stop after this many frames")
    add_output_options(parser)
    add_batch_options(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="the same command as before, broken off then: keep the rows in --save-boxes, track again up to "
        "there, and go on",
    )
    show = parser.add_argument_group("display")
    show.add_argument(
        "--show",
        action=argparse.BooleanOptionalAction,
        help="watch in a window, at the video's own speed unless files are written too (default: where nothing is "
        "written)",
    )
    show.add_argument("--quiet", action="store_true", help="print errors only")
    add_model_options(parser)
    parser.add_argument(
        "--doctor", action="store_true", help="print what works on this machine, and what is off and why, and exit"
    )
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Tracks; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.doctor:
        from tracker.cli.doctor import report

        return report()
    if not settle_source(args, parser):
        return DONE
    if args.source is None:
        parser.error("which video? Give a file, a folder of images, a camera index or a URL")
    if sum(map(bool, (args.box, args.init_file, args.find, args.detections, args.init_dir))) > 1:
        parser.error("--box, --init-file, --init-dir, --detections and --find all say what to follow; give one of them")
    if not args.init_file and (args.init_id or args.init_format != "auto" or args.first_row_frame is not None):
        parser.error("--init-id, --init-format and --first-row-frame are about --init-file, which is not given")
    if args.template_from and not args.box:
        parser.error("--template-from needs --box: where is the thing in that picture?")
    if args.output and not args.init_dir:
        parser.error(
            "--output DIR goes with --init-dir, for many clips; for one, --save and --save-boxes name the files"
        )
    check_options(args)
    if args.init_dir:
        return run_batch(args)
    from tracker.media.sources.open import check_there, open_source

    check_there(args.source)
    boxes = given_boxes(args)
    choose_outputs(args, draws=not (boxes or args.find))
    from tracker.cli.screen import Screen

    with ExitStack() as stack:
        source = stack.enter_context(open_source(args.source, start=args.start_frame, prefetch=4, reconnect_for=0.0))
        frames = limited(source, args.max_frames)
        first = next(frames)
        screen = (
            Screen(stack, source.info, paced=not (args.save or args.save_boxes))
            if args.show or not (boxes or args.find)
            else None
        )
        if not (boxes or args.find):
            boxes = screen.draw(first, several=several_possible(args)) if screen else []
        if not (boxes or args.find):
            say_error("No box was drawn, so nothing was tracked.")
            return BAD_REQUEST
        if args.template_from:
            boxes = placed_boxes(args, boxes, first)
        check_in_frame(boxes, first)
        check_targets(args, len(boxes))
        session = stack.enter_context(Session(args, source.info))
        note(args, session.load())
        session.open_files(max(len(boxes), 1))
        return play(args, session, screen, source, first, frames, boxes)


def limited(source: Iterable[Frame], count: int | None) -> Iterator[Frame]:
    """At most the given number of frames."""
    for k, frame in enumerate(source, 1):
        yield frame
        if k == count:
            return


def play(
    args: argparse.Namespace,
    session: Session,
    screen: Screen | None,
    source: Source,
    first: Frame,
    frames: Iterator[Frame],
    boxes: Sequence[Box],
) -> int:
    """Processes the video; the files are finished and the summary is printed however it ends."""
    info = source.info
    count = None if info.frame_count is None else max(info.frame_count - args.start_frame, 0)
    progress = ProgressBar(min((n for n in (count, args.max_frames) if n), default=None), args.quiet)
    from tracker.media.sources.open import losses

    idle, began = (screen.idle if screen else 0.0), time.perf_counter()

    def work() -> None:
        for frame, tracks in steps(session, screen, first, frames, boxes):
            session.write(frame, tracks)
            progress.update(tracks)

    code, reason = finish(session, work, progress)
    seconds = time.perf_counter() - began - ((screen.idle - idle) if screen else 0.0)
    note(args, session.tally.sentence(seconds, session.written, losses(source)))
    if reason:
        say_error(reason)
    return code


def steps(
    session: Session, screen: Screen | None, first: Frame, frames: Iterator[Frame], boxes: Sequence[Box]
) -> Iterator[tuple[Frame, list[Track]]]:
    """Yields each frame with its tracks, after it was displayed and the user's keys were handled."""
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


if __name__ == "__main__":  # a clip of --init-dir, in a process that ends with its parent
    end_with_parent(0.2)
    sys.argv[0] = "siamtrack track"
    raise SystemExit(run(main))
