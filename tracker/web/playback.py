"""Frames for the page: cameras and streams as they arrive, a video file at its own rate in a loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from tracker.media.sources.base import Source
from tracker.media.sources.latest import LatestFrameSource, Paced
from tracker.media.sources.open import open_source
from tracker.types import Frame, VideoInfo

logger = logging.getLogger(__name__)

FALLBACK_RATE = 25


class Looped(Source):
    """Repeats a source that ends; indices and time stamps continue to increase.

    Args:
        opener: Opens the source from its beginning.
    """

    def __init__(self, opener: Callable[[], Source]) -> None:
        self._opener, self._source = opener, opener()
        self.info: VideoInfo = self._source.info
        self._step = float(1 / (self.info.frame_rate or FALLBACK_RATE))
        self._index, self._shift, self._last = 0, 0.0, -self._step
        self._fresh = True

    def __next__(self) -> Frame:
        while True:
            try:
                frame = next(self._source)
                break
            except StopIteration:
                if self._fresh:  # reopened without giving a frame: repeating would never end
                    raise
                self._source.close()
                self._source = self._opener()
                self._fresh, self._shift = True, self._last + self._step
        self._fresh = False
        local = frame.timestamp if frame.timestamp is not None else frame.index * self._step
        self._last = local + self._shift
        self._index += 1
        return replace(frame, index=self._index - 1, timestamp=self._last)

    def close(self) -> None:
        self._source.close()


def open_live(
    spec: str,
    *,
    reconnect_for: float = 30.0,
    timeout: float = 10.0,
    on_state: Callable[[str, str], None] | None = None,
) -> tuple[LatestFrameSource, bool]:
    """Opens the source of the page, delivering only the newest frame.

    Args:
        spec: As for `open_source`. A source that ends (a file, a folder, a file on a web server) is played at its own
            rate, and repeated.
        reconnect_for, timeout, on_state: As for `open_source`.

    Returns:
        The source, and whether it is repeated.

    Raises:
        SourceError: It can't be opened.
    """
    source = open_source(spec, reconnect_for=reconnect_for, timeout=timeout, on_state=on_state)
    if isinstance(source, LatestFrameSource):
        return source, False
    first: list[Source] = [source]

    def opener() -> Source:
        return first.pop() if first else open_source(spec, live=False, timeout=timeout)

    logger.info("%s is played at its own rate, in a loop", source.info.source)
    return LatestFrameSource(lambda: Paced(Looped(opener)), reconnect_for=0.0, on_state=on_state), True
