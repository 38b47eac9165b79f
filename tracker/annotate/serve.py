"""The annotation page: the web server of `live --web` with its checks, other files, and the questions the page asks."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import signal
import sys
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli.common import DONE, INTERRUPTED, TERMINATED, load_tracker
from tracker.errors import SiamTrackError

if TYPE_CHECKING:
    from tracker.annotate.project import Project
    from tracker.annotate.views import Desk


def serve(project: Project, args: argparse.Namespace, make_tracker: Callable[[], Any] | None = None) -> int:
    """Serve the page until Ctrl-C; returns the exit code. What was drawn is kept at once, so that nothing is lost by any end.

    Raises:
        SiamTrackError: aiohttp is missing, or the address is taken.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise SiamTrackError(
            "The page needs the package aiohttp, which is not installed; `pip install aiohttp` adds it (the extra `web` holds it). "
            "--headless KEYS.csv works without."
        )
    from tracker.annotate.views import Desk
    from tracker.annotate.worker import Worker
    from tracker.web.access import parse_address

    address = parse_address(args.web)
    worker = Worker(project, make_tracker or (lambda: load_tracker(args)))
    desk = Desk(project, worker)
    try:
        return asyncio.run(_serve(address, desk, args))
    finally:
        worker.stop()
        desk.close()


async def _serve(address: Any, desk: Desk, args: argparse.Namespace) -> int:
    from tracker.annotate.site import AnnotateSite
    from tracker.cli.annotate import can_open_browser
    from tracker.web.access import Guard

    loop, over, code = asyncio.get_running_loop(), asyncio.Event(), DONE

    def stop(number: int) -> None:
        nonlocal code
        code = INTERRUPTED if number == signal.SIGINT else TERMINATED
        over.set()

    site = AnnotateSite(desk, Guard.for_address(address))
    runner, url = await site.start()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, lambda n, frame: loop.call_soon_threadsafe(stop, n))
    desk.worker.start()
    print(f"The page is at {url}  (Ctrl-C ends it; everything is kept in {desk.project.path} as you draw)", flush=True)
    if not args.no_open and can_open_browser():
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    try:
        await over.wait()
    finally:
        with suppress(Exception):
            await runner.cleanup()
        for number, handler in previous.items():
            signal.signal(number, handler)
    sys.stderr.write(f"Stopped; all is kept in {desk.project.path}.\n")
    return DONE if code == INTERRUPTED else code


def page_files() -> dict[str, bytes]:
    """The files of the page by name, with the icon and the colours of the live page."""
    from tracker.web.server import TYPES, load_files

    folder = resources.files("tracker.annotate") / "static"
    own = {file.name: file.read_bytes() for file in folder.iterdir() if Path(file.name).suffix in TYPES}
    shared = load_files()
    return {name: shared[name] for name in ("icon.svg", "app.css") if name in shared} | own


Answer = dict[str, Any]
Handler = Callable[[Any], Awaitable[Any]]


def dump(answer: Answer) -> str:
    """JSON that a browser takes: no NaN."""
    return json.dumps(answer, allow_nan=False, separators=(",", ":"))
