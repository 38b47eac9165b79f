"""`tools/live.py SOURCE`: tracks a target in a camera or stream, always in the newest frame, so that it never lags."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.camera import add_camera_option, settle_source
from tracker.cli.common import DONE, Parser, RawEpilog, StoreOnce, add_version, parse_box, positive_seconds, say_error
from tracker.cli.model_options import add_model_options
from tracker.cli.outputs import add_output_options, check_known, check_options, check_targets
from tracker.cli.session import Session, finish
from tracker.cli.streams import ProgressBar, note
from tracker.cli.viewer import Status, UserReaction
from tracker.cli.web import add_web_options
from tracker.errors import BoxError, OutputError

if TYPE_CHECKING:
    from tracker.cli.screen import LiveWindow
    from tracker.media.sources.latest import LatestFrameSource
    from tracker.types import Box, Frame, Track

EPILOG = """\
keys in the window: r freezes the picture to draw a box (Enter accepts, Esc cancels), space pauses, q quits
a slow computer drops frames rather than lag behind; drops and latency (arrival of a frame to its box) are on screen
files hold the frames that were tracked, with the time at which they came
exit codes: 0 the stream ended, q or --duration; 1 the stream was lost, files are valid; 2 can't be done; 130 Ctrl-C,
files are valid

  siamtrack live 0                                                         first camera
  siamtrack live --camera list                                             which there are
  siamtrack live rtsp://user:password@host/path --save out.mp4
  siamtrack live http://host/stream --box 10,20,64,48 --duration 60 --save-boxes out.csv    no display needed
  siamtrack live 0 --web --save-dir recordings                             control it in a browser
"""
POLL_SECONDS = 0.1


def build_parser() -> Parser:
    """The options of `tools/live.py`."""
    parser = Parser(description=__doc__.split(": ", 1)[1].capitalize(), epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="camera index or URL (rtsp, http, udp, tcp, ...); a file plays at its own speed",
    )
    add_camera_option(parser)
    parser.add_argument(
        "--box",
        action="append",
        type=parse_box,
        default=[],
        metavar="X,Y,W,H",
        help="left, top, width, height in pixels of the first frame; repeat it for several targets; without it, "
        "draw in the window",
    )
    parser.add_argument(
        "--find",
        action=StoreOnce,
        type=Path,
        metavar="TARGET.npz",
        help="look for a target that `siamtrack track --save-target` wrote; no box is needed",
    )
    parser.add_argument("--duration", type=positive_seconds, metavar="SECONDS", help="stop after this many seconds")
    parser.add_argument(
        "--reconnect",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="try to reconnect to a lost stream for this long; 0: never",
    )
    parser.add_argument(
        "--show",
        action=argparse.BooleanOptionalAction,
        help="open a window (default: where there is a display); --no-show opens none",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    add_output_options(parser)
    parser.set_defaults(resume=False)
    add_web_options(parser)
    add_model_options(parser)
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Tracks live; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not settle_source(args, parser):
        return DONE
    if args.source is None:
        parser.error("which camera? Give its number, a URL, or --camera list to see what there is")
    if args.web is not None:
        from tracker.cli.web import serve

        if args.find or args.save_target:
            raise BoxError("--find and --save-target don't go with --web: targets are drawn in the page.")

        return serve(args)
    if args.save_dir:
        raise OutputError(
            "--save-dir is for recordings started in the browser page; add --web, or name a file with --save."
        )
    check_options(args)
    check_targets(args, len(args.box))
    check_known(args)
    shown = can_show(args)
    from tracker.cli.screen import LiveWindow
    from tracker.cli.track_boxes import check_in_frame
    from tracker.loop import as_boxes
    from tracker.media.sources.latest import LatestFrameSource
    from tracker.media.sources.open import open_source

    logging.getLogger("tracker.media.sources.latest").setLevel(logging.CRITICAL)  # `tell` reports it
    with ExitStack() as stack:
        opened = open_source(
            args.source, live=True, reconnect_for=max(args.reconnect, 0.0), on_state=lambda *news: tell(args, *news)
        )
        source = stack.enter_context(opened)
        assert isinstance(source, LatestFrameSource)
        boxes = as_boxes(args.box) if args.box else []
        if boxes:
            check_in_frame(boxes, next(source))
        session = stack.enter_context(Session(args, source.info))
        note(args, session.load())
        viewer = LiveWindow(source.info.source) if shown else None
        if viewer is not None:
            stack.callback(viewer.close)
        return watch(args, session, source, viewer, boxes)


def tell(args: argparse.Namespace, state: str, sentence: str) -> None:
    """Reports when the stream connects, breaks and reconnects (called from the capture thread)."""
    if not args.quiet and state != "failed":
        sys.stderr.write(f"{sentence.rstrip('.')}.\n")


def can_show(args: argparse.Namespace) -> bool:
    """Whether to open a window.

    Raises:
        BoxError: There is neither a box nor a display to draw one.
    """
    from tracker.media.window import display_available

    there, why = (False, "--no-show was given") if args.show is False else display_available()
    if not there and not (args.box or args.find):
        raise BoxError(f"A window to draw the box can't be opened: {why}; pass the box with --box x,y,w,h.")
    if not there and args.show is not False:
        note(args, f"No window: {why}.")
    return there


def watch(
    args: argparse.Namespace,
    session: Session,
    source: LatestFrameSource,
    viewer: LiveWindow | None,
    boxes: Sequence[Box],
) -> int:
    """Tracks until the stream ends, the user quits or the time is over; the files are finished in any case."""
    status, progress, began = Status(), ProgressBar(None, args.quiet), time.perf_counter()
    code, reason = finish(session, lambda: loop(args, session, source, viewer, boxes, status, progress), progress)
    note(args, session.tally.sentence(time.perf_counter() - began, session.written, status.summary()))
    if reason:
        say_error(reason)
    return code


def loop(
    args: argparse.Namespace,
    session: Session,
    source: LatestFrameSource,
    viewer: LiveWindow | None,
    boxes: Sequence[Box],
    status: Status,
    progress: ProgressBar,
) -> None:
    """The main loop: newest frame, tracks, display, files."""
    following, dropped = False, source.dropped  # frames dropped while the model was loaded don't count
    end = time.monotonic() + args.duration if args.duration else float("inf")
    while time.monotonic() < end:
        try:
            frame = source.read(timeout=POLL_SECONDS)
        except StopIteration:
            return
        status.state, status.dropped, status.reconnects = source.state, source.dropped - dropped, source.reconnects
        status.damaged = source.damaged
        if frame is None:
            if viewer is not None and viewer.wait(status).quit:
                return
            continue
        came = time.perf_counter() - source.latency
        tracks = session.step(frame) if following else []
        if session.args.find and not following:
            session.open_files(1)
            tracks, following = session.find(frame, session.args.find), True
        if boxes:
            tracks, following, boxes = begin(session, frame, boxes), True, ()
        status.add(time.perf_counter() - came)
        status.fps = progress.fps
        answer = UserReaction()
        if viewer is not None:
            several = not following or session.several_possible
            answer = viewer.show(frame, session.painter(frame, tracks), tracks, status, several)
        if len(answer.boxes):
            frame = answer.frame or frame
            tracks, following = begin(session, frame, answer.boxes), True
        if following:
            session.write(frame, tracks)
        progress.update(tracks)
        if answer.quit:
            return


def begin(session: Session, frame: Frame, boxes: Sequence[Box]) -> list[Track]:
    """Starts to track boxes, and opens the files the first time."""
    check_targets(session.args, len(boxes))
    session.open_files(len(boxes))
    return session.start(frame, boxes)
