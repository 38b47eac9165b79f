"""Limits on incoming connections: how many, how long one may take to send its first request, and how much is logged
about them.

Anyone who can reach the port can open connections, with or without token. A connection without a complete first request
is closed after `HEADER_SECONDS`, or at once if its slot is needed for a new one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import cast

HEADER_SECONDS = 5.0
"""Time limit for the headers of the first request."""
MOST_CONNECTIONS = 64
"""Greatest number of connections: several for each of 8 browsers, and far below the strictest common limit of 256 open
files."""
LONGEST_HEADER = 65536
"""Greatest number of bytes before the end of the headers."""


class ConnectionLimit:
    """Creates the protocol of each connection (as `loop.create_server` requires) and counts connections.

    Args:
        server: Creates the protocol of the HTTP server for an accepted connection.
        most: Greatest number of connections.
        seconds: Time limit for the headers of the first request.
    """

    def __init__(
        self, server: Callable[[], asyncio.Protocol], most: int = MOST_CONNECTIONS, seconds: float = HEADER_SECONDS
    ) -> None:
        self._server, self.most, self.seconds = server, most, seconds
        self._waiting: dict[_Connection, None] = {}  # oldest first
        self._inside: set[_Connection] = set()

    def __call__(self) -> asyncio.Protocol:
        return _Connection(self, self._server())

    def __len__(self) -> int:
        return len(self._waiting) + len(self._inside)

    def arrive(self, connection: _Connection) -> bool:
        """Registers a connection; if all slots are taken, the oldest one without a request is closed. False if there is
        none."""
        if len(self) >= self.most:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return False
            oldest.drop()
        self._waiting[connection] = None
        return True

    def asked(self, connection: _Connection) -> None:
        """Its first request has arrived."""
        self._waiting.pop(connection, None)
        self._inside.add(connection)

    def leave(self, connection: _Connection) -> None:
        """The connection is closed."""
        self._waiting.pop(connection, None)
        self._inside.discard(connection)


class _Connection(asyncio.Protocol):
    """One connection: buffers bytes until the first headers are complete, then forwards everything."""

    def __init__(self, limit: ConnectionLimit, inner: asyncio.Protocol) -> None:
        self._limit, self._inner = limit, inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._seen: bytes | None = b""
        self._count, self._let_in = 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._limit.arrive(self):
            self._transport.abort()
            return
        self._let_in = True
        self._timer = asyncio.get_running_loop().call_later(self._limit.seconds, self.drop)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self._let_in:
            return
        if self._seen is not None:
            self._count += len(data)
            seen = self._seen + data
            if b"\r\n\r\n" in seen or b"\n\n" in seen:
                self._seen = None
                self._stop_timer()
                self._limit.asked(self)
            elif self._count > LONGEST_HEADER:
                self.drop()
                return
            else:
                self._seen = seen[-3:]
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._let_in else None

    def pause_writing(self) -> None:
        if self._let_in:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._let_in:
            self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        self._limit.leave(self)
        if self._let_in:
            self._inner.connection_lost(error)

    def drop(self) -> None:
        """Closes the connection without an answer."""
        self._stop_timer()
        self._limit.leave(self)
        if self._transport is not None:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class RateLimit(logging.Filter):
    """Log filter that passes a few messages per minute and counts the rest, so that outsiders can't fill the disk with
    log lines.

    Args:
        most: Messages per minute.
    """

    def __init__(self, most: int = 10) -> None:
        super().__init__()
        self._most, self._begun, self._count = most, float("-inf"), 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._begun > 60:
            if self._count > self._most:
                record.msg, record.args = (
                    f"{record.getMessage()} ({self._count - self._most} more messages were left out)",
                    (),
                )
            self._begun, self._count = now, 0
        self._count += 1
        if record.exc_info:  # tracebacks are not useful in the terminal; --debug logs show them
            record.exc_info = None
        return self._count <= self._most


http_logger = logging.getLogger("tracker.web.http")
"""Logger for the HTTP server's messages about connections from outside."""
http_logger.addFilter(RateLimit())


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Handler for `loop.set_exception_handler`: logs connection errors (such as no free file descriptors) in few
    lines."""
    error = context.get("exception")
    http_logger.warning("%s%s", context.get("message"), f": {error}" if error else "")
