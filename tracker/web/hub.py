"""Sends the newest snapshot to every browser at its own pace: what a slow browser misses is dropped, never queued."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from tracker.errors import SiamTrackError
from tracker.web.commands import Ack, Command, Hold, Release, Request, Show, parse_message
from tracker.web.pictures import Snapshot, pack

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Greatest number of frames sent but not yet acknowledged; a slow browser gets no more, so its delay can't grow."""
MOST_CLIENTS = 8
MOST_WORDS = 32
"""Greatest number of text messages queued for one browser; beyond it the oldest are dropped."""


class Client:
    """One browser: what was sent, what it has displayed, what is queued."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.wake = asyncio.Event()
        self.words: deque[dict[str, Any]] = deque(maxlen=MOST_WORDS)
        self.views = True
        self.sent = self.showing = -1
        self.skipped = 0
        self.delay_ms = 0.0
        self.in_flight: dict[int, float] = {}
        self.status_seen = 0

    @property
    def ready(self) -> bool:
        return len(self.in_flight) < IN_FLIGHT

    def say(self, message: dict[str, Any]) -> None:
        """Queue a text message."""
        self.words.append(message)
        self.wake.set()

    def shown(self, seq: int) -> None:
        """The browser has displayed a frame (and so all frames sent before it)."""
        arrived = self.in_flight.get(seq)
        if arrived is None:
            return
        self.showing = seq
        self.delay_ms = 1000 * (time.monotonic() - arrived)
        self.in_flight = {k: v for k, v in self.in_flight.items() if k > seq}
        self.wake.set()


class Hub:
    """All connected browsers, as seen by the worker.

    Args:
        hello: First message to each browser.
    """

    def __init__(self, hello: dict[str, Any] | None = None) -> None:
        self.hello = hello or {}
        self._clients: dict[int, Client] = {}
        self._numbers = itertools.count(1)
        self._latest: Snapshot | None = None
        self._status: dict[str, Any] = {}
        self._status_version = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waking = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sets the event loop that serves the browsers; before that there are none."""
        self._loop = loop

    # Called by the worker, from its own thread.

    def ready(self) -> tuple[bool, bool]:
        """Whether any browser can receive a frame now, and whether with network views. If not, nothing is encoded."""
        clients = list(self._clients.values())
        return any(c.ready for c in clients), any(c.views for c in clients)

    def oldest_shown(self) -> int | None:
        """Number of the oldest frame that any browser displays."""
        return min(
            (c.showing if c.showing >= 0 else c.sent for c in list(self._clients.values()) if c.sent >= 0), default=None
        )

    def publish(self, snapshot: Snapshot) -> None:
        """Publishes a tracked frame."""
        with self._lock:
            self._latest = snapshot
        self._wake_all()

    def status(self, **entries: Any) -> None:
        """Publishes a change that isn't part of a frame."""
        with self._lock:
            self._status |= entries
            self._status_version += 1
        self._wake_all()

    def notice(self, text: str, level: str = "info") -> None:
        """Sends a sentence to all browsers; level "info" or "error"."""
        logger.info("%s", text)

        def tell() -> None:
            for client in self._clients.values():
                client.say({"type": "notice", "level": level, "text": text})

        self._call(tell)

    def _wake_all(self) -> None:
        """At most one wake-up is pending: a busy event loop must not collect a backlog of them."""
        with self._lock:
            if self._waking or self._loop is None:
                return
            self._waking = True

        def wake() -> None:
            with self._lock:
                self._waking = False
            for client in self._clients.values():
                client.wake.set()

        self._call(wake)

    def _call(self, action: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(action)
            except RuntimeError:
                logger.debug("The page is closing: a message from the worker goes nowhere.")

    # Called in the event loop.

    @property
    def full(self) -> bool:
        """Whether no further browser is admitted."""
        return len(self._clients) >= MOST_CLIENTS

    async def talk(self, socket: web.WebSocketResponse, submit: Callable[[Command], bool]) -> None:
        """Serves one browser until it disconnects.

        Args:
            socket: Prepared WebSocket.
            submit: Passes a Command to the worker; returns False if too many are queued.
        """
        client = Client(next(self._numbers))
        client.words.append({"type": "hello", **self.hello})
        client.wake.set()
        self._clients[client.number] = client
        sender = asyncio.create_task(self._send(client, socket))
        sender.add_done_callback(
            lambda task: task.cancelled() or task.exception()
        )  # a broken pipe means that the browser has disconnected
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._hear(client, message.data, submit)
                elif message.type is WSMsgType.BINARY:
                    client.say(_problem("Binary messages are not understood here."))
        finally:
            sender.cancel()
            del self._clients[client.number]
            submit(Command(Release(), client.number, lambda message: None))

    def _hear(self, client: Client, text: str, submit: Callable[[Command], bool]) -> None:
        try:
            request: Request | Ack | Show = parse_message(text)
        except SiamTrackError as error:
            client.say(_problem(str(error)))
            return
        if isinstance(request, Ack):
            client.shown(request.seq)
        elif isinstance(request, Show):
            client.views = request.views
        elif not submit(Command(request, client.number, lambda message: self._call(lambda: client.say(message)))):
            if not isinstance(request, Hold | Release):
                client.say(_problem("The tracker is busy with earlier requests; try again in a moment."))

    async def _send(self, client: Client, socket: web.WebSocketResponse) -> None:
        """The only writer of this socket.

        `send_*` waits while the connection is congested; frames that arrive meanwhile are skipped.
        """
        while True:
            await client.wake.wait()
            client.wake.clear()
            while client.words:
                await socket.send_json(client.words.popleft())
            if client.status_seen != self._status_version:
                with self._lock:
                    status, client.status_seen = dict(self._status), self._status_version
                await socket.send_json({"type": "status", **status})
            snapshot = self._latest
            if snapshot is None or snapshot.seq <= client.sent or not client.ready:
                continue
            if client.sent >= 0:
                client.skipped += snapshot.seq - client.sent - 1
            client.sent = snapshot.seq
            client.in_flight[snapshot.seq] = snapshot.arrived
            extra = {"delay_ms": round(client.delay_ms), "skipped": client.skipped}
            await socket.send_bytes(pack(snapshot, extra, client.views))


def _problem(text: str) -> dict[str, Any]:
    return {"type": "notice", "level": "error", "text": text}
