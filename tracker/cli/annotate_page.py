"""`siamtrack annotate` in the browser: serves the page until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import sys
import threading
import webbrowser
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tracker.cli.common import DONE, INTERRUPTED
from tracker.cli.model_options import load_tracker
from tracker.cli.signals import stop_on_signal
from tracker.errors import SiamTrackError

if TYPE_CHECKING:
    from tracker.annotate.page_backend import PageBackend
    from tracker.annotate.project import Project


def serve(project: Project, args: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C; returns the exit code. Every change is stored at once, so nothing is lost however
    the process ends.

    Raises:
        SiamTrackError: aiohttp is missing, or the address is in use.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise SiamTrackError(
            "The page needs the package aiohttp, which is not installed; `pip install aiohttp` adds it (the extra "
            "`web` holds it). --headless KEYS.csv works without."
        )
    from tracker.annotate.page_backend import PageBackend
    from tracker.annotate.worker import RetrackWorker
    from tracker.web.access import parse_address

    address = parse_address(args.web)
    worker = RetrackWorker(project, lambda: load_tracker(args))
    backend = PageBackend(project, worker)
    try:
        return asyncio.run(_serve(address, backend, args))
    finally:
        worker.stop()
        backend.close()


async def _serve(address: Any, backend: PageBackend, args: argparse.Namespace) -> int:
    from tracker.annotate.site import AnnotateSite
    from tracker.web.access import Guard

    loop, over = asyncio.get_running_loop(), asyncio.Event()
    site = AnnotateSite(backend, Guard.for_address(address))
    runner, url = await site.start()
    with stop_on_signal(lambda: loop.call_soon_threadsafe(over.set)) as stopped:
        backend.worker.start()
        print(
            f"The page is at {url}  (Ctrl-C ends it; everything is kept in {backend.project.path} as you draw)",
            flush=True,
        )
        if not args.no_open and can_open_browser():
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        try:
            await over.wait()
        finally:
            with suppress(Exception):
                await runner.cleanup()
    sys.stderr.write(f"Stopped; all is kept in {backend.project.path}.\n")
    return DONE if stopped.code == INTERRUPTED else stopped.code


def can_open_browser() -> bool:
    """Whether there is a desktop on which a page can be opened."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
