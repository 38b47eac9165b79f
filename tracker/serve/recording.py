"""A stream's recording in its own thread: a slow encoder costs a live recording frames, never the tracker time."""

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
"""Greatest number of frames that wait for the encoder."""


def free_name(path: str) -> Path:
    """The path, or NAME-2, NAME-3, ... if it exists: each run, and each restart after a failure, has its own files.

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


class StreamRecorder(threading.Thread):
    """Writes frames and tracks until it is finished.

    Args:
        config: What to write.
        info: The source.
        live: Whether frames are dropped if the encoder is too slow; for a file the writer waits instead.
        tell: Called from this thread with a sentence for each file that can't be written.

    Attributes:
        missed: Number of frames dropped.
        files: The files being written.

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
        """Adds a frame."""
        while self._queue.qsize() >= WAITING and not self._failed:
            if self._live:
                self.missed += 1
                return
            time.sleep(0.002)
        if not self._failed:
            self._queue.put((frame, tracks))

    def finish(self) -> None:
        """Announces the end; the thread writes what is queued, closes the files and ends."""
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
        while not ended:  # a writer must never wait for a thread that has ended
            ended = self._queue.get() is None

    def _fail(self, error: OutputError) -> None:
        self._failed = True
        self._tell(f"recording ended: {error}")
