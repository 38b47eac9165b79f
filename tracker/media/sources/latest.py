"""Live video without lag: a thread reads frames as fast as they arrive, and the consumer gets the newest one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from tracker.errors import SourceError
from tracker.media.sources.base import Source
from tracker.types import Frame

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0
"""Seconds before the first attempt to reconnect; doubled after each failure up to the longest."""


class Paced(Source):
    """Delivers the frames of a file in real time, like a camera (25 per second without time stamps)."""

    def __init__(self, source: Source) -> None:
        self._source, self._began, self._origin = source, 0.0, 0.0
        self.info = replace(source.info, live=True)

    def __next__(self) -> Frame:
        frame = next(self._source)
        due = frame.timestamp if frame.timestamp is not None else frame.index / 25
        if not self._began:
            self._began, self._origin = time.monotonic(), due
        time.sleep(max(0.0, self._began + due - self._origin - time.monotonic()))
        return frame

    @property
    def damaged(self) -> int:
        return int(getattr(self._source, "damaged", 0))

    def close(self) -> None:
        self._source.close()


def open_patiently(
    opener: Callable[[], Source], wait_for: float, on_state: Callable[[str, str], None] | None = None
) -> Source:
    """Opens a live source that may not be available yet, such as a camera that is still starting.

    Args:
        opener: Opens it.
        wait_for: Seconds to keep trying; 0: the first failure is final, as is one that can't resolve itself.
        on_state: Called with ("connecting", sentence) before the first wait.

    Raises:
        SourceError: It can't be opened.
    """
    deadline, wait, told = time.monotonic() + wait_for, FIRST_WAIT, False
    while True:
        try:
            return opener()
        except SourceError as error:
            left = deadline - time.monotonic()
            if not error.passing or wait_for <= 0:
                raise
            if left <= 0:
                raise SourceError(f"{str(error).rstrip('.')}; that was tried for {wait_for:g} seconds.") from None
            if not told:
                sentence, told = f"{str(error).rstrip('.')}; trying again for {wait_for:g} seconds", True
                logger.warning("%s", sentence)
                if on_state is not None:
                    on_state("connecting", sentence)
        time.sleep(min(wait, left))
        wait = min(2 * wait, LONGEST_WAIT)


class LatestFrameSource(Source):
    """Delivers only the newest frame of a live source, with reconnection.

    Args:
        opener: Opens the underlying source; called again to reconnect.
        reconnect_for: Seconds to keep trying if it can't be opened yet, ended or broke; 0: no reconnection.
        on_state: Called with (state, sentence), from the capture thread, whenever `state` changes.

    Attributes:
        damaged: Number of frames dropped because their data is damaged.
        state: "connecting", "live", "reconnecting", "ended", "failed" or "closed".
        dropped: Number of frames that were replaced by a newer one before they were consumed.
        latency: Seconds from the arrival of the last delivered frame to its delivery.
        reconnects: Number of reconnections.

    Raises:
        SourceError: It can't be opened at all. Reading raises it once `reconnect_for` has passed.
    """

    def __init__(
        self,
        opener: Callable[[], Source],
        *,
        reconnect_for: float = 30.0,
        on_state: Callable[[str, str], None] | None = None,
    ) -> None:
        self.dropped, self.latency, self.reconnects, self.state = 0, 0.0, 0, "connecting"
        self._opener, self._reconnect_for, self._on_state = opener, reconnect_for, on_state
        self._ready, self._stop = threading.Condition(), threading.Event()
        self._source: Source | None = None
        self._slot: tuple[Frame, float] | None = None
        self._error: BaseException | None = None
        self._index = 0
        self._opened = time.monotonic()
        self._damaged = 0
        source = self._source = open_patiently(opener, reconnect_for, on_state)
        self.info = replace(source.info, live=True)
        self._set("live", f"{self.info.source} is live, {self.info.width} x {self.info.height}")
        self._thread = threading.Thread(target=self._run, args=(source,), name="siamtrack-capture", daemon=True)
        self._thread.start()

    def _set(self, state: str, text: str) -> None:
        self.state = state
        logger.log(logging.WARNING if state in ("reconnecting", "failed") else logging.INFO, "%s", text)
        if self._on_state is not None:
            self._on_state(state, text)

    def _run(self, source: Source | None) -> None:
        try:
            while source is not None:
                why = self._capture(source)
                source = self._reconnect(why)
        except BaseException as error:  # passed to the consumer's thread, which raises it
            self._error = error
            self._set("failed", str(error))
        finally:
            with self._ready:
                if self.state in ("live", "reconnecting"):
                    self.state = "ended"
                self._ready.notify_all()

    def _capture(self, source: Source) -> SourceError | None:
        """Reads until the source ends (None) or breaks (the error), or until this object is closed."""
        try:
            self._source = source
            for frame in source:
                now = time.monotonic()
                with self._ready:
                    if self._stop.is_set():
                        return None
                    self.dropped += self._slot is not None
                    self._slot = (replace(frame, index=self._index, timestamp=now - self._opened), now)
                    self._index += 1
                    self._ready.notify_all()
            return None
        except SourceError as error:
            return error
        finally:
            source.close()
            self._damaged += int(getattr(source, "damaged", 0))
            self._source = None

    @property
    def damaged(self) -> int:
        return self._damaged + int(getattr(self._source, "damaged", 0))

    def _reconnect(self, why: SourceError | None) -> Source | None:
        """The reopened source, or None if it ended and isn't reopened.

        Raises:
            SourceError: `reconnect_for` seconds have passed, or the source broke and reconnection is off.
        """
        if self._stop.is_set():
            return None
        reason = str(why) if why else f"{self.info.source} ended"
        if self._reconnect_for <= 0:
            if why is not None:
                raise why
            self._set("ended", f"{self.info.source} ended after {self._index} frames")
            return None
        self._set("reconnecting", f"{reason.rstrip('.')}; trying again for {self._reconnect_for:g} seconds")
        deadline, wait, last = time.monotonic() + self._reconnect_for, FIRST_WAIT, reason
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SourceError(
                    f"{self.info.source} was lost after {self._index} frames and did not come back within "
                    f"{self._reconnect_for:g} seconds ({last.rstrip('.')})."
                )
            if self._stop.wait(min(wait, left)):
                return None
            wait = min(2 * wait, LONGEST_WAIT)
            try:
                source = self._opener()
            except SourceError as error:
                last = str(error)
                continue
            if self._stop.is_set():
                source.close()
                return None
            self.reconnects += 1
            self._set(
                "live",
                f"{self.info.source} is back after {self._reconnect_for - (deadline - time.monotonic()):.1f} seconds",
            )
            return source

    def read(self, timeout: float | None = None) -> Frame | None:
        """The newest frame not yet delivered, or None if none arrived within `timeout` seconds (which keeps a window
        responsive).

        Raises:
            StopIteration: The source ended or was closed.
            SourceError: It was lost permanently.
        """
        with self._ready:
            self._ready.wait_for(lambda: self._slot is not None or self.state in ("ended", "failed", "closed"), timeout)
            if self._slot is not None:
                (frame, came), self._slot = self._slot, None
                self.latency = time.monotonic() - came
                return frame
            if self._error is not None and self.state != "closed":
                raise self._error
            if self.state in ("ended", "failed", "closed"):
                raise StopIteration
            return None

    def __next__(self) -> Frame:
        frame = None
        while frame is None:
            frame = self.read(timeout=0.5)  # wakes up periodically so that Ctrl-C works on every platform
        return frame

    def close(self) -> None:
        self._stop.set()
        with self._ready:
            self.state = "closed"
            self._slot = None
            self._ready.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)
            if self._thread.is_alive():
                logger.info(
                    "%s: still waiting for the network; its thread ends at the next time-out.", self.info.source
                )
