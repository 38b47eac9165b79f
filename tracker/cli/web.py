"""`live --web`: the options of the browser page, and its run from start to end."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import model_options
from tracker.cli.common import FAILED_MIDWAY, Parser, say_error
from tracker.cli.signals import stop_on_signal
from tracker.errors import SiamTrackError

if TYPE_CHECKING:
    from tracker.media.sources.latest import LatestFrameSource
    from tracker.web.hub import Hub
    from tracker.web.server import Site
    from tracker.web.targets import TargetGroup
    from tracker.web.worker import LiveWorker

FAREWELL = 1.0
"""Seconds between the end of the source and the end of the page, so that browsers receive the last message."""


def add_web_options(parser: Parser) -> None:
    """--web, --save-dir."""
    group = parser.add_argument_group("browser page")
    group.add_argument(
        "--web",
        nargs="?",
        const="",
        metavar="HOST:PORT",
        help="show and control it in a browser instead of a window; alone: 127.0.0.1:8765, this machine only; with "
        "another host a token is part of the address that is printed. A file is played in a loop",
    )
    group.add_argument(
        "--save-dir",
        type=Path,
        metavar="FOLDER",
        help="where recordings started in the page go, video and csv; created if missing",
    )


def check_web_options(args: argparse.Namespace) -> None:
    """Checks before anything is opened.

    Raises:
        SiamTrackError: aiohttp is missing, the address is invalid, or there are options that need a window or write
            files.
    """
    from tracker.web.access import parse_address
    from tracker.web.recorder import check_folder

    parse_address(args.web)
    if args.save or args.save_boxes:
        raise SiamTrackError(
            "--save and --save-boxes don't go with --web: recordings are started in the page; --save-dir FOLDER says "
            "where they go."
        )
    if importlib.util.find_spec("aiohttp") is None:
        raise SiamTrackError(
            "The browser page needs the package aiohttp, which is not installed; `pip install aiohttp` adds it (the "
            "extra `web` holds it)."
        )
    model_options.check_model_options(args)
    if args.save_dir:
        check_folder(args.save_dir)


def serve(args: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C, the end of the source or --duration; returns the exit code."""
    check_web_options(args)
    from tracker.geometry import check_box
    from tracker.web.access import Guard, parse_address
    from tracker.web.hub import Hub
    from tracker.web.playback import open_live
    from tracker.web.server import Site
    from tracker.web.worker import LiveWorker

    logging.getLogger("tracker.media.sources.latest").setLevel(logging.CRITICAL)  # `news` reports it
    hub = Hub()

    def news(state: str, sentence: str) -> None:
        hub.status(source={"state": state, "text": "" if state == "live" else sentence})
        if not args.quiet and state != "failed":
            sys.stderr.write(f"{sentence.rstrip('.')}.\n")

    with ExitStack() as stack:
        source, looped = open_live(args.source, reconnect_for=max(args.reconnect, 0.0), on_state=news)
        stack.callback(source.close)
        for box in args.box:
            check_box(box, source.info.width, source.info.height)
        group, chosen = build_group(args)
        if not args.quiet:
            print(chosen, flush=True)
        worker = LiveWorker(source, group, hub, save_dir=args.save_dir, boxes=tuple(args.box))
        hub.hello.update(hello(source, looped, chosen, args.save_dir))
        site = Site(hub, worker.submit, Guard.for_address(parse_address(args.web)), lambda: worker.recorder.finished)
        return asyncio.run(_serve(args, hub, site, worker))


def build_group(args: argparse.Namespace) -> tuple[TargetGroup, str]:
    """The targets of the page, and a phrase that describes the tracker."""
    from tracker.web.targets import TargetGroup

    tracker = model_options.load_tracker(args, live=True)
    return TargetGroup(tracker), f"{tracker.name} on {tracker.device} ({tracker.engine.name})"


def hello(source: LatestFrameSource, looped: bool, tracker: str, save_dir: Path | None) -> dict[str, Any]:
    """The first message to each browser."""
    from tracker._version import __version__
    from tracker.web.pictures import palette, target_colours

    info = source.info
    name = Path(info.source).name if Path(info.source).exists() else info.source  # viewers must not learn our folders
    return {
        "version": __version__,
        "tracker": tracker,
        "source": {"name": name, "width": info.width, "height": info.height, "looped": looped},
        "colours": target_colours(),
        "palette": palette(),
        "can_record": save_dir is not None,
    }


async def _serve(args: argparse.Namespace, hub: Hub, site: Site, worker: LiveWorker) -> int:
    from tracker.web.connections import on_loop_error

    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        with suppress(RuntimeError):  # the loop is closed: the page has already ended
            loop.call_soon_threadsafe(over.set)

    loop.set_exception_handler(on_loop_error)
    runner, url = await site.start()
    with stop_on_signal(end) as stopped:
        hub.attach(loop)
        worker.on_end = end
        worker.start()
        print(f"The page is at {url}  (Ctrl-C ends it)", flush=True)
        try:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(over.wait(), args.duration)
            if not worker.is_alive():
                await asyncio.sleep(FAREWELL)
        finally:
            worker.stop()
            await asyncio.to_thread(worker.join)
            await runner.cleanup()
    if worker.error is not None:
        if not isinstance(worker.error, SiamTrackError):
            raise worker.error
        say_error(str(worker.error))
        return FAILED_MIDWAY
    if not args.quiet:
        files = sorted(str(path) for path in worker.recorder.finished.values())
        print(f"Recorded {', '.join(files)}." if files else "Nothing was recorded.", flush=True)
    if stopped.code:
        say_error(f"Stopped by {stopped.word}; recordings are complete.")
    return stopped.code
