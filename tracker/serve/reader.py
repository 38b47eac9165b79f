"""One thread per stream: it decodes, keeps the newest frame (or every frame, for files), and reconnects."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from tracker.errors import SourceError
from tracker.media.addresses import URL
from tracker.media.sources.latest import Paced
from tracker.media.sources.open import Source, open_source
from tracker.media.sources.stream import CameraSource, hide_password
from tracker.serve.config import LimitsConfig, StreamConfig
from tracker.serve.live import LiveReader
from tracker.serve.metrics import Counters
from tracker.serve.nvdec import NvdecReader
from tracker.types import Frame, VideoInfo

logger = logging.getLogger(__name__)

AHEAD = 2
"""Number of frames of a file decoded ahead."""
BURST, BURST_SECONDS = 2, 0.03
"""Number of live frames that may wait, and the age up to which the older of two is still processed. Frames arrive in
bursts when a network or a scheduler delays them; without this the first of two that arrive together would always be
dropped, however idle the tracker is. If the tracker lags, the older frame exceeds this age, and only the newest is
processed."""
CALM_BURST, CALM_SECONDS = 5, 0.25
"""The same for a worker with spare time: what a stall delayed is processed within a moment, and nothing is lost."""


@dataclass(frozen=True)
class Arrival:
    """A frame that waits for the batcher.

    Attributes:
        frame: The frame, possibly unconverted: `convert` makes the image.
        came: Time of arrival, seconds of `time.monotonic`.
    """

    frame: Callable[[], Frame]
    came: float


class Reader(threading.Thread):
    """Reads one stream until `stop`.

    Args:
        name: Of the stream.
        config: Its configuration.
        limits: Its limits.
        counters: Its counters.
        wake: Called from this thread when a frame has arrived or the state has changed.
        start: Index of the first frame to deliver (files).
        decode: cpu, or an FFmpeg device.

    Attributes:
        state: connecting, live (frames arrive), down (it will be reopened), refused (it exceeded a limit; will be
            reopened), failed (a file that can't be read on), ended (a file that was read to its end) or closed.
        text: A sentence about the state.
        info: Properties of the source, once it was opened.
        every: Whether every frame is delivered.
        calm: Whether its worker has spare time.
    """

    def __init__(
        self,
        name: str,
        config: StreamConfig,
        limits: LimitsConfig,
        counters: Counters,
        wake: Callable[[], None],
        *,
        start: int = 0,
        decode: str = "cpu",
    ) -> None:
        super().__init__(name=f"stream-{name}", daemon=True)
        self.state, self.text, self.info, self.every = (
            "connecting",
            "",
            VideoInfo(hide_password(config.source), 0, 0),
            False,
        )
        self.calm = False
        self._config, self._limits, self._counters, self._wake = config, limits, counters, wake
        self._start, self._decode = start, decode
        self._room = threading.Condition()
        self._waiting: deque[Arrival] = deque()
        self._stopped = threading.Event()
        self._index = 0
        self._failed = ""

    @property
    def over(self) -> bool:
        """Whether no more frames will come."""
        return self.state in ("ended", "failed", "closed") and not self._waiting

    @property
    def ready(self) -> bool:
        return bool(self._waiting)

    @property
    def oldest(self) -> float:
        """Arrival time of the next frame; infinity if there is none."""
        waiting = self._waiting
        try:
            return waiting[0].came
        except IndexError:
            return float("inf")

    @property
    def newest(self) -> float:
        """When the newest frame that waits came; of a file, whose frames wait as long as one likes, and without a
        frame, minus infinity."""
        waiting = self._waiting
        try:
            return -float("inf") if self.every else waiting[-1].came
        except IndexError:
            return -float("inf")

    def take(self) -> tuple[Frame, float] | None:
        """The next frame and its arrival time, or None if none waits.

        Raises:
            SourceError: Its picture can't be converted.
        """
        with self._room:
            self._drop_stale()
            if not self._waiting:
                return None
            arrival = self._waiting.popleft()
            self._room.notify_all()
        return arrival.frame(), arrival.came

    def stop(self) -> None:
        """Asks the thread to end; a network read may delay it up to its time-out."""
        self._stopped.set()
        with self._room:
            self._waiting.clear()
            self._room.notify_all()

    def fail(self, text: str) -> None:
        """Excludes the stream from now on."""
        self.stop()
        self._failed = text

    def run(self) -> None:
        wait = self._limits.first_wait
        while not self._stopped.is_set():
            began = time.monotonic()
            state, text = "down", ""
            try:
                self._read()
                if self.every and not self._stopped.is_set():
                    return self._set("ended", f"{self.info.source} ended after {self._index} frames")
                text = f"{self.info.source} ended"
            except _Refused as error:
                state, text = "refused", str(error)
            except SourceError as error:
                text = str(error)
                if self.every or not self._tried_again():
                    return self._set("failed", text)
            except Exception as error:  # an unexpected decoder error must not affect other streams
                logger.exception("The stream %s failed", self.name)
                text = f"{self.info.source} failed: {error}"
            if time.monotonic() - began >= self._limits.steady:
                wait = self._limits.first_wait
            if self._stopped.is_set():
                break
            self._set(state, f"{text.rstrip('.')}; tried again in {wait:g} s")
            self._stopped.wait(wait)
            wait = min(2 * wait, self._limits.longest_wait)
            self._counters.reconnects += 1
        self._set("failed" if self._failed else "closed", self._failed or "removed")

    def _tried_again(self) -> bool:
        """Whether the failure may be temporary: cameras and addresses; a failing file fails for good."""
        source = self._config.source.strip()
        return self._config.live != "no" and (source.isdigit() or bool(URL.match(source)))

    def _read(self) -> None:
        source = self._open()
        try:
            self._check(source.info.width, source.info.height)
            self.info = source.info
            self._set("live", f"{self.info.source}: {self.info.width} x {self.info.height}")
            if isinstance(source, LiveReader | NvdecReader):
                for raw in source:
                    came = time.monotonic()
                    if self._stopped.is_set():
                        return
                    self._check(raw.width, raw.height)
                    if isinstance(source, LiveReader):
                        self._count_skipped(source)
                    self._put_newest(source.converted(raw, self._index, came), came)
            else:
                for frame in source:
                    came = time.monotonic()
                    if self._stopped.is_set():
                        return
                    self._check(frame.image.shape[1], frame.image.shape[0])
                    if self.every:
                        self._put_every(lambda frame=frame: frame)  # type: ignore[misc]
                    else:
                        self._put_newest(lambda frame=frame, k=self._index: replace(frame, index=k), came)  # type: ignore[misc]
        finally:
            source.close()

    def _open(self) -> Source | LiveReader | NvdecReader:
        """Opens the source with the reader that its type and the configuration require."""
        config = self._config
        text = config.source.strip()
        device = text.isdigit()
        if URL.match(text) and not text.lower().startswith("file://") and config.live != "no":
            if self._decode == "nvdec":
                self.every = False
                return NvdecReader(text)
            live = LiveReader(text, config.timeout, self._decode)
            if live.info.live:
                self.every = False
                return live
            live.close()  # a video file on a web server
        self.every = config.live == "no" or (config.live == "auto" and not device)
        if self.every:
            return open_source(
                text,
                start=self._start,
                live=False,
                timeout=config.timeout,
            )
        if device:
            return CameraSource(int(text))
        return Paced(open_source(text, live=False, timeout=config.timeout))

    def _check(self, width: int, height: int) -> None:
        if width * height > self._limits.pixels:
            raise _Refused(
                f"{hide_password(self._config.source)} sends {width} x {height} pixels, "
                f"more than limits.pixels ({self._limits.pixels}) allows"
            )

    def _put_newest(self, frame: Callable[[], Frame], came: float) -> None:
        with self._room:
            self._counters.frames += 1
            self._waiting.append(Arrival(frame, came))
            self._index += 1
            self._drop_stale()
        self._wake()

    def _count_skipped(self, source: LiveReader) -> None:
        """Counts frames that were dropped undecoded as received and dropped."""
        skipped, source.skipped = source.skipped, 0
        if skipped:
            with self._room:
                self._counters.frames += skipped
                self._counters.dropped += skipped
                self._index += skipped

    def _drop_stale(self) -> None:
        """Drops frames of a live stream that a newer one replaces; the caller holds `_room`."""
        if self.every:
            return
        now = time.monotonic()
        most, seconds = (CALM_BURST, CALM_SECONDS) if self.calm else (BURST, BURST_SECONDS)
        while len(self._waiting) > 1 and (len(self._waiting) > most or now - self._waiting[0].came > seconds):
            self._waiting.popleft()
            self._counters.dropped += 1

    def _put_every(self, frame: Callable[[], Frame]) -> None:
        with self._room:
            self._room.wait_for(lambda: len(self._waiting) < AHEAD or self._stopped.is_set())
            if self._stopped.is_set():
                return
            self._counters.frames += 1
            # A frame of a file arrives when there is room for it: nobody waited for it before.
            self._waiting.append(Arrival(frame, time.monotonic()))
            self._index += 1
        self._wake()

    def _set(self, state: str, text: str) -> None:
        if (state, text) != (self.state, self.text):
            self.state, self.text = state, text
            self._wake()


class _Refused(Exception):
    """The stream exceeded a limit."""
