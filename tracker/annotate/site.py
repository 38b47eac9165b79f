"""The HTTP server of the annotation page: the checks of `live --web`, and its routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tracker.annotate.page_backend import PageBackend
from tracker.annotate.project import Conflict
from tracker.errors import SiamTrackError
from tracker.web.access import Guard
from tracker.web.hub import Hub
from tracker.web.pages import load_files
from tracker.web.server import Site

POLL = 0.1
LONGEST_WAIT = 20.0
"""Seconds that a request for changes is held (long polling) before it is answered without any."""


class AnnotateSite(Site):
    """The annotation page. Host, token and headers are checked as for the live page; commands must come from the page
    itself.

    Args:
        backend: Queries and commands.
        guard: The access checks.
    """

    def __init__(self, backend: PageBackend, guard: Guard) -> None:
        super().__init__(Hub(), lambda command: False, guard, dict)
        self._backend = backend
        # The icon and the colours are those of the live page.
        self._files = {name: self._files[name] for name in ("icon.svg", "app.css")} | load_files("tracker.annotate")
        route = self.app.router
        route.add_get("/api/state", self._state)
        route.add_get(
            "/api/timeline", self._ask(lambda q: backend.timeline(q("clip"), q("first"), q("last"), q("bins")))
        )
        route.add_get("/api/boxes", self._ask(lambda q: backend.boxes(q("clip"), q("first"), q("last"))))
        route.add_get("/api/doubtful", self._ask(lambda q: backend.doubtful(q("clip"), q("frame"), q("step"))))
        route.add_get("/api/picture", self._picture)
        route.add_post("/api/do", self._do)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        return _answer({"error": "This page has no live picture."}, 404)

    async def _state(self, request: web.Request) -> web.Response:
        """The state; with `since=REVISION` the request is held until there is something new, so that all windows see
        every change."""
        since = request.query.get("since")
        seen = (since, request.query.get("tick"))
        for _ in range(int(LONGEST_WAIT / POLL)):
            if since is None or seen != (str(self._backend.project.revision), self._tick()):
                break
            await asyncio.sleep(POLL)
        state = await asyncio.to_thread(self._backend.state)
        return _answer(state | {"tick": self._tick()})

    def _tick(self) -> str:
        """Counts changes, including the progress of tracking in visible steps."""
        progress = self._backend.worker.progress
        return f"{progress.target}.{50 * progress.done // max(progress.total, 1)}.{len(progress.error)}"

    def _ask(self, answer: Callable[[Callable[[str], int]], dict[str, Any]]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            try:
                return _answer(await asyncio.to_thread(answer, lambda name: int(request.query.get(name, ""))))
            except ValueError as error:
                return _answer(
                    {
                        "error": str(error)
                        if isinstance(error, SiamTrackError)
                        else "A number in the question is missing."
                    },
                    400,
                )
            except SiamTrackError as error:
                return _answer({"error": str(error)}, 400)

        return handle

    async def _picture(self, request: web.Request) -> web.Response:
        try:
            clip, frame, width = (int(request.query[name]) for name in ("clip", "frame", "width"))
            data = await asyncio.to_thread(self._backend.picture, clip, frame, width)
        except (KeyError, ValueError):
            return _answer({"error": "Give clip, frame and width as whole numbers."}, 400)
        except SiamTrackError as error:
            return _answer({"error": str(error)}, 404)
        return web.Response(body=data, content_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    async def _do(self, request: web.Request) -> web.Response:
        # Another web site can make the browser send a form or plain text here, but neither JSON nor our own Origin.
        if request.content_type != "application/json" or not self._guard.origin_allowed(
            request.headers.get("Origin"), request.host
        ):
            return _answer({"error": "Commands are taken from the page of this server alone."}, 403)
        try:
            what = json.loads(await request.text())
        except ValueError:
            what = None
        if not isinstance(what, dict):
            return _answer({"error": "A command is a JSON object."}, 400)
        try:
            return _answer(await asyncio.to_thread(self._backend.command, what))
        except Conflict as error:
            return _answer({"error": str(error), "conflict": True, **await asyncio.to_thread(self._backend.state)}, 409)
        except SiamTrackError as error:
            return _answer({"error": str(error)}, 400)


def _answer(content: dict[str, Any], status: int = 200) -> web.Response:
    """JSON for a browser: without NaN."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json")
