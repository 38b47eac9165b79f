"""A stream's recording, in a thread of its own: an encoder that is behind costs a live recording frames, never the
tracker time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tracker.errors import OutputError
from tracker.media.sinks.base import Sink
from tracker.media.sinks.open import open_boxes_sink
from tracker.media.sinks.video import VideoSink
from tracker.serve.config import RecordConfig
from tracker.types import Frame, Track, VideoInfo

WAITING = 16
"""Frames that wait for the encoder at most."""


def free_name(path: str) -> Path:
    """The path, or NAME-2, NAME-3, ... where it exists: each run, and each start after a failure, has files of its own.

    Raises:
        OutputError: Its folder can't be made.
    """
    first = Path(path).expanduser()
    try:
        first.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Can't record to {first}: {error.strerror or error}.") from None
    out, number = first, 2
    while out.exists():
        out, number = first.with_name(f"{first.stem}-{number}{first.suffix}"), number + 1
    return out


class Recording(threading.Thread):
    """Writes frames and tracks until it is finished.

    Args:
        config: What to write.
        info: The source.
        live: Whether frames are left out when the encoder is behind; a file waits instead.
        tell: Called with a sentence for each file whose writing fails, from this thread.

    Attributes:
        missed: Frames left out.
        files: What is written.

    Raises:
        OutputError: A file can't be made.
    """

    def __init__(self, config: RecordConfig, info: VideoInfo, live: bool, tell: Callable[[str], None]) -> None:
        super().__init__(name="siamtrack-record", daemon=True)
        self.missed, self._live, self._tell, self._failed = 0, live, tell, False
        self.files: list[Path] = []
        self._sinks: list[Sink] = []
        if config.video:
            self._sinks.append(VideoSink(self._named(config.video), replace(info, live=live)))
        if config.boxes:
            self._sinks.append(open_boxes_sink(self._named(config.boxes)))
        self._queue: queue.SimpleQueue[tuple[Frame, Sequence[Track]] | None] = queue.SimpleQueue()

    def _named(self, path: str) -> Path:
        self.files.append(free_name(path))
        return self.files[-1]

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Add a frame."""
        while self._queue.qsize() >= WAITING and not self._failed:
            if self._live:
                self.missed += 1
                return
            time.sleep(0.002)
        if not self._failed:
            self._queue.put((frame, tracks))

    def finish(self) -> None:
        """Say that nothing more will come; the thread writes what waits, closes the files and ends."""
        self._queue.put(None)

    def run(self) -> None:
        ended = False
        try:
            while (item := self._queue.get()) is not None:
                for sink in self._sinks:
                    sink.write(*item)
            ended = True
        except OutputError as error:
            self._fail(error)
        for sink in self._sinks:
            try:
                sink.close()
            except OutputError as error:
                self._fail(error)
        while not ended:  # whoever writes must never wait for nobody
            ended = self._queue.get() is None

    def _fail(self, error: OutputError) -> None:
        self._failed = True
        self._tell(f"recording ended: {error}")
