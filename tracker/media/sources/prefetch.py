"""Decode ahead in a thread, so that decoding and the network work at the same time."""

from __future__ import annotations

import queue
import threading

from tracker.media.sources.base import Source
from tracker.types import Frame


class PrefetchSource(Source):
    """The frames of another source, decoded up to `depth` ahead.

    Errors of the source arrive where the frame would have been. `close` may be called at any time, also with a full
    queue.

    Args:
        source: What to read; it is closed with this one.
        depth: Frames held at most, so memory stays constant.
    """

    def __init__(self, source: Source, depth: int = 4) -> None:
        self._source, self.info = source, source.info
        self._queue: queue.Queue[Frame | BaseException] = queue.Queue(maxsize=max(1, depth))
        self._stop = threading.Event()
        self._done = False
        self._thread = threading.Thread(target=self._run, name="siamtrack-prefetch", daemon=True)
        self._thread.start()

    @property
    def damaged(self) -> int:
        """Frames that the source left out because their data is damaged."""
        return int(getattr(self._source, "damaged", 0))

    def _run(self) -> None:
        while not self._stop.is_set():
            item: Frame | BaseException
            try:
                item = next(self._source)
            except BaseException as error:  # whatever it is, it belongs to the reader's thread
                item = error
            while not self._stop.is_set():
                try:
                    self._queue.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return

    def __next__(self) -> Frame:
        if self._done:
            raise StopIteration
        item: Frame | BaseException | None = None
        while item is None:
            try:
                item = self._queue.get(timeout=0.5)
            except queue.Empty:
                if self._stop.is_set():  # closed by another thread meanwhile
                    raise StopIteration from None
        if isinstance(item, BaseException):
            self._done = True
            raise item
        return item

    def close(self) -> None:
        self._stop.set()
        self._done = True
        self._thread.join()
        self._source.close()
