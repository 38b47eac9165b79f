"""The HTTP server of the page: its files, the WebSocket, finished recordings, and the checks of every request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from tracker.errors import SiamTrackError
from tracker.web.access import Guard, well_formed
from tracker.web.commands import LONGEST_MESSAGE, Command
from tracker.web.connections import ConnectionLimit, http_logger
from tracker.web.hub import MOST_CLIENTS, Hub
from tracker.web.pages import Pages, load_files

logger = logging.getLogger(__name__)

HEARTBEAT = 15.0
"""Seconds between pings; a browser that doesn't answer is disconnected."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site(Pages):
    """The web application around a hub.

    Args:
        hub: Distributes the frames.
        submit: Passes commands to the worker.
        guard: The access checks.
        recordings: Name -> file of finished recordings, looked up at each request.
    """

    def __init__(
        self, hub: Hub, submit: Callable[[Command], bool], guard: Guard, recordings: Callable[[], dict[str, Path]]
    ) -> None:
        super().__init__(guard, load_files("tracker.web"), "siamtrack", " blob: data:")
        self._hub, self._submit, self._recordings = hub, submit, recordings
        self._sockets: set[web.WebSocketResponse] = set()
        self._listening: asyncio.Server | None = None
        self.app = web.Application(client_max_size=LONGEST_MESSAGE, middlewares=[self._protect])
        self.app.on_response_prepare.append(self._add_headers)
        self.app.on_shutdown.append(self._leave)
        self.app.router.add_get("/", self._page)
        self.app.router.add_get("/ws", self._socket)
        self.app.router.add_get("/static/{name}", self._page)
        self.app.router.add_get("/recordings/{name}", self._recording)

    async def start(self) -> tuple[web.AppRunner, str]:
        """Starts to listen; returns the runner, to be cleaned up later, and the URL to open.

        Raises:
            SiamTrackError: The address is in use or doesn't belong to this machine.
        """
        # No access log: it would contain the token.
        runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=2.0, logger=http_logger)
        await runner.setup()
        address = self._guard.address
        assert runner.server is not None
        limit = ConnectionLimit(runner.server)
        try:
            listening = await asyncio.get_running_loop().create_server(limit, address.host, address.port)
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

    @staticmethod
    def _refuse(status: int, text: str) -> web.Response:
        """Refuses a request and closes the connection, so that unauthorised clients can't hold one open."""
        response = web.Response(status=status, text=text + "\n")
        response.force_close()
        return response

    @web.middleware
    async def _protect(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not well_formed(request.headers.get("Host")) or not well_formed(request.headers.get("Origin"), origin=True):
            return self._refuse(400, "The Host or Origin of this request is malformed.")
        if not self._guard.host_allowed(request.host):
            return self._refuse(
                403,
                f"This page is for this machine only, and {request.host[:80]!r} is not a name of it; open it as "
                "localhost.",
            )
        entrance = self._entrance(request)
        if entrance is not None:
            return entrance
        in_query = request.query.get("token")
        if not self._guard.token_allowed(in_query) and not self._guard.token_allowed(request.cookies.get(self._cookie)):
            return self._refuse(
                401,
                "This page needs the token from the address that the tool printed when it started; open that address.",
            )
        return await handler(request)

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        path = self._recordings().get(request.match_info["name"])
        if path is None or not path.is_file():
            return self._refuse(404, "There is no such recording; it was made by another run, or moved away.")
        return web.FileResponse(path, headers={"Content-Disposition": f'attachment; filename="{path.name}"'})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if not self._guard.origin_allowed(request.headers.get("Origin"), request.host):
            return self._refuse(403, "The WebSocket answers only to the page of this server.")
        if self._hub.full:
            return self._refuse(503, f"{MOST_CLIENTS} browsers look on already, which is the most; close one.")
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
