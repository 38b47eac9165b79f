"""Control over HTTP and the status page, in a thread with its own event loop. Access is checked by
`tracker.web.access`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tracker.errors import ConfigError, SiamTrackError
from tracker.serve.check import check_files, check_target
from tracker.serve.config import ControlConfig, ServeConfig, StreamConfig
from tracker.serve.config_file import parse_stream, parse_target
from tracker.serve.metrics import exposition
from tracker.web.access import Guard, parse_address
from tracker.web.pages import Pages, load_files

if TYPE_CHECKING:
    from tracker.serve.supervisor import Supervisor

TOKEN = "SIAMTRACK_SERVE_TOKEN"
"""Environment variable with the user's own token, at least 16 characters."""
LONGEST_REQUEST = 1 << 20


class Control(Pages):
    """Serves HTTP from `__enter__` to `__exit__`.

    Args:
        supervisor: The supervisor to control.
        config: Where to listen.

    Attributes:
        url: The address to open, with the token.

    Raises:
        SiamTrackError: The address can't be used, or the token of the environment is too short.
    """

    def __init__(self, supervisor: Supervisor, config: ControlConfig) -> None:
        assert config.address is not None
        self._supervisor, self._open_metrics = supervisor, config.metrics
        token = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
        if len(token) < 16:
            raise SiamTrackError(
                f"The token in {TOKEN} has {len(token)} characters; give 16 or more that nobody can guess."
            )
        # Unlike the page of one stream, this one opens addresses and writes files: the token is required on this
        # machine too.
        super().__init__(Guard(parse_address(config.address), token), load_files("tracker.serve"), "siamtrack-serve")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="siamtrack-control", daemon=True)
        self._runner: web.AppRunner | None = None
        self._metrics: Callable[[], tuple[bytes, str]] | None = None
        self.url = ""

    def __enter__(self) -> Control:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(5)
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=LONGEST_REQUEST, middlewares=[self._protect])
        app.on_response_prepare.append(self._add_headers)
        one, target = "/api/streams/{stream}", "/api/streams/{stream}/targets/{target}"
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/static/{name}", self._page),
                web.get("/metrics", self._get_metrics),
                web.get("/api/state", self._get_state),
                web.get(one, self._get_stream),
                web.put(one, self._put_stream),
                web.delete(one, self._delete_stream),
                web.get(one + "/picture", self._get_picture),
                web.put(target, self._put_target),
                web.delete(target, self._delete_target),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)  # an access log would have the token
        await self._runner.setup()
        address = self._guard.address
        try:
            await web.TCPSite(self._runner, address.host, address.port).start()
        except OSError as error:
            raise SiamTrackError(
                f"Can't listen on {address.host} port {address.port}: {error.strerror or error}; "
                "give another control.address (port 0: any free one)."
            ) from None
        self._port = self._runner.addresses[0][1]
        self.url = self._guard.url(self._port)

    @staticmethod
    def _refuse(status: int, text: str) -> web.Response:
        return web.json_response({"error": text}, status=status)

    @web.middleware
    async def _protect(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not self._guard.host_allowed(request.host):
            return self._refuse(403, f"{request.host[:80]!r} is not a name of this machine; use localhost.")
        entrance = self._entrance(request)
        if entrance is not None:
            return entrance
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        free = request.path == "/metrics" and self._open_metrics
        if not free and not any(
            self._guard.token_allowed(given or None)
            for given in (bearer, request.query.get("token"), request.cookies.get(self._cookie))
        ):
            return self._refuse(
                401, "The token is needed: `Authorization: Bearer TOKEN`, or the address that was printed at the start."
            )
        if request.method != "GET" and not self._guard.origin_allowed(request.headers.get("Origin"), request.host):
            return self._refuse(403, "Changes are taken from programs and from this server's own page.")
        try:
            return await handler(request)
        except ConfigError as error:
            return self._refuse(400, str(error))
        except SiamTrackError as error:
            return self._refuse(404 if str(error).startswith("There is no stream") else 409, str(error))

    async def _get_metrics(self, request: web.Request) -> web.Response:
        if self._metrics is None:
            try:
                self._metrics = exposition(self._supervisor.state)
            except SiamTrackError as error:
                return self._refuse(501, str(error))
        body, kind = await asyncio.to_thread(self._metrics)
        return web.Response(body=body, headers={"Content-Type": kind})

    async def _get_state(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._supervisor.state))

    async def _get_stream(self, request: web.Request) -> web.Response:
        name = request.match_info["stream"]
        return web.json_response(await asyncio.to_thread(lambda: self._supervisor.entry(name).as_dict()))

    async def _put_stream(self, request: web.Request) -> web.Response:
        name = request.match_info["stream"]
        config = parse_stream(name, await _body(request), "the request")
        check_record(config)
        await asyncio.to_thread(_check_openable, name, config)
        await asyncio.to_thread(self._supervisor.put_stream, name, config)
        return web.json_response({"stream": name, "done": "put"})

    async def _delete_stream(self, request: web.Request) -> web.Response:
        name = request.match_info["stream"]
        await asyncio.to_thread(self._supervisor.remove_stream, name)
        return web.json_response({"stream": name, "done": "removed"})

    async def _put_target(self, request: web.Request) -> web.Response:
        name, target = request.match_info["stream"], request.match_info["target"]
        config = parse_target(target, await _body(request), "the request")
        await asyncio.to_thread(check_target, target, config)
        await asyncio.to_thread(self._supervisor.put_target, name, target, config)
        return web.json_response({"stream": name, "target": target, "done": "put"})

    async def _delete_target(self, request: web.Request) -> web.Response:
        name, target = request.match_info["stream"], request.match_info["target"]
        await asyncio.to_thread(self._supervisor.remove_target, name, target)
        return web.json_response({"stream": name, "target": target, "done": "removed"})

    async def _get_picture(self, request: web.Request) -> web.Response:
        boxes = request.query.get("boxes", "1") != "0"
        data = await asyncio.to_thread(self._supervisor.picture, request.match_info["stream"], boxes)
        return web.Response(body=data, content_type="image/jpeg")


def check_record(config: StreamConfig) -> None:
    """Checks that a stream added over HTTP records below the folder that the service runs in.

    Raises:
        ConfigError: It names a path elsewhere.
    """
    for path in filter(None, (config.record.video, config.record.boxes)):
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or path.startswith("~"):
            raise ConfigError(
                "A stream that is added at run time records below the folder that the service runs in, not to "
                f"{path!r}."
            )


def _check_openable(name: str, config: StreamConfig) -> None:
    try:
        check_files(ServeConfig(streams={name: config}))
    except SiamTrackError as error:
        raise ConfigError(str(error)) from None


async def _body(request: web.Request) -> Any:
    if request.content_type != "application/json":
        raise ConfigError(
            f"The request has the type {request.content_type!r}; send JSON with `Content-Type: application/json`."
        )
    try:
        return await request.json()
    except ValueError as error:
        raise ConfigError(f"The request is not JSON: {error}.") from None
