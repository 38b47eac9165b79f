"""Requests for pictures of streams: made by control, answered by a worker."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from tracker.errors import SiamTrackError

Answer = tuple[dict[str, Any], dict[str, bytes]]


class PictureRequests:
    """Requests that wait for a worker's answer; thread-safe."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[int, queue.SimpleQueue[Answer]] = {}

    def ask(self, send: Callable[[int], None]) -> int:
        """Opens a request.

        Args:
            send: Sends it to the worker; called with the number of the request, which the answer must repeat.

        Returns:
            The number of the request.
        """
        self._count += 1
        self._waiting[self._count] = queue.SimpleQueue()
        send(self._count)
        return self._count

    def wait(self, number: int, stream: str, timeout: float) -> bytes:
        """Waits for the picture as JPEG.

        Args:
            number: Number of the request.
            stream: Name of the stream, for an error.
            timeout: Greatest number of seconds to wait.

        Raises:
            SiamTrackError: No picture arrived.
        """
        try:
            values, parts = self._waiting[number].get(timeout=timeout)
        except queue.Empty:
            raise SiamTrackError(f"The worker of the stream {stream!r} sent no picture within {timeout:g} s.") from None
        finally:
            self._waiting.pop(number, None)
        if "jpeg" not in parts:
            raise SiamTrackError(f"The stream {stream!r}: {values.get('text', 'no picture')}.")
        return parts["jpeg"]

    def answer(self, values: dict[str, Any], parts: dict[str, bytes]) -> None:
        """Delivers a worker's answer; ignored if nobody waits for it any more."""
        waiting = self._waiting.get(values["number"])
        if waiting is not None:
            waiting.put((values, parts))
