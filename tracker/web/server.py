"""The page over HTTP: its files, the WebSocket, finished recordings, and the checks that every request passes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path

from aiohttp import web

from tracker.errors import SiamTrackError
from tracker.web.access import Guard, well_formed
from tracker.web.commands import LONGEST_MESSAGE, Command
from tracker.web.door import Door, http_logger
from tracker.web.hub import MOST_CLIENTS, Hub

logger = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "SiamTrack",
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEARTBEAT = 15.0
"""Seconds between pings; a browser that doesn't answer is gone."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """The web application around a hub.

    Args:
        hub: Hands out the frames.
        submit: Takes commands for the worker.
        guard: Who may come in.
        recordings: Name -> file of finished recordings, looked up at each request.
    """

    def __init__(
        self, hub: Hub, submit: Callable[[Command], bool], guard: Guard, recordings: Callable[[], dict[str, Path]]
    ) -> None:
        self._hub, self._submit, self._guard, self._recordings = hub, submit, guard, recordings
        self._files = load_files()
        self._sockets: set[web.WebSocketResponse] = set()
        self._port = guard.address.port
        self._listening: asyncio.Server | None = None
        self.app = web.Application(client_max_size=LONGEST_MESSAGE, middlewares=[self._protect])
        self.app.on_response_prepare.append(_add_headers)
        self.app.on_shutdown.append(self._leave)
        self.app.router.add_get("/", self._page)
        self.app.router.add_get("/ws", self._socket)
        self.app.router.add_get("/static/{name}", self._static)
        self.app.router.add_get("/recordings/{name}", self._recording)

    @property
    def _cookie(self) -> str:
        return f"siamtrack-{self._port}"  # cookies don't tell ports apart

    async def start(self) -> tuple[web.AppRunner, str]:
        """Listen; the runner to clean up later, and the URL to open.

        Raises:
            SiamTrackError: The address is taken or isn't one of this machine.
        """
        # No access log: it would hold the token.
        runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=2.0, logger=http_logger)
        await runner.setup()
        address = self._guard.address
        assert runner.server is not None
        door = Door(runner.server)
        try:
            listening = await asyncio.get_running_loop().create_server(door, address.host, address.port)
        except OSError as error:
            await runner.cleanup()
            reason = error.strerror or str(error)
            raise SiamTrackError(
                f"Can't listen on {address.host} port {address.port}: {reason}; give another --web HOST:PORT (port "
                "0: any free one)."
            ) from None
        self._listening = listening
        self._port = listening.sockets[0].getsockname()[1]
        return runner, self._guard.url(self._port)

    @web.middleware
    async def _protect(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not well_formed(request.headers.get("Host")) or not well_formed(request.headers.get("Origin"), origin=True):
            return _sentence(400, "The Host or Origin of this request is malformed.")
        if not self._guard.host_allowed(request.host):
            return _sentence(
                403,
                f"This page is for this machine only, and {request.host[:80]!r} is not a name of it; open it as "
                "localhost.",
            )
        in_query = request.query.get("token")
        if (
            self._guard.token is not None
            and request.path == "/"
            and in_query is not None
            and self._guard.token_allowed(in_query)
        ):
            # Out of the address bar and the history at once; from now on the cookie carries it.
            response: web.StreamResponse = web.Response(status=303, headers={"Location": "/"})
            response.set_cookie(self._cookie, in_query, httponly=True, samesite="Strict", path="/")
            return response
        if not self._guard.token_allowed(in_query) and not self._guard.token_allowed(request.cookies.get(self._cookie)):
            return _sentence(
                401,
                "This page needs the token from the address that the tool printed when it started; open that address.",
            )
        return await handler(request)

    async def _page(self, request: web.Request) -> web.Response:
        return self._file("index.html")

    async def _static(self, request: web.Request) -> web.Response:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.Response:
        if name not in self._files:
            return _sentence(404, "There is no such file here.")
        kind = TYPES[name[name.rindex(".") :]]
        return web.Response(body=self._files[name], content_type=kind, charset="utf-8")

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        path = self._recordings().get(request.match_info["name"])
        if path is None or not path.is_file():
            return _sentence(404, "There is no such recording; it was made by another run, or moved away.")
        return web.FileResponse(path, headers={"Content-Disposition": f'attachment; filename="{path.name}"'})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if not self._guard.origin_allowed(request.headers.get("Origin"), request.host):
            return _sentence(403, "The WebSocket answers only to the page of this server.")
        if self._hub.full:
            return _sentence(503, f"{MOST_CLIENTS} browsers look on already, which is the most; close one.")
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=LONGEST_MESSAGE, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            await self._hub.talk(socket, self._submit)
        finally:
            self._sockets.discard(socket)
        return socket

    async def _leave(self, app: web.Application) -> None:
        if self._listening is not None:
            self._listening.close()
        for socket in list(self._sockets):
            await socket.close(code=1001, message=b"The tool was stopped.")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _sentence(status: int, text: str) -> web.Response:
    """A refusal; the connection ends with it, so that nobody can hold one without being let in."""
    response = web.Response(status=status, text=text + "\n")
    response.force_close()
    return response


def load_files() -> dict[str, bytes]:
    """The files of the page, by name; nothing else can be asked for."""
    folder = resources.files("tracker.web") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if Path(file.name).suffix in TYPES}
