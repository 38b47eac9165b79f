"""Recordings started from the page: an annotated video and a csv of boxes; existing files are never overwritten."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tracker.errors import OutputError
from tracker.media.sinks.boxes import BoxSink
from tracker.types import Frame, Track, VideoInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """A finished recording. Frame k of the csv is frame k of the video, with the same timestamp."""

    video: Path
    boxes: Path
    frames: int
    seconds: float


def check_folder(folder: Path) -> Path:
    """The folder for recordings, created if it is missing.

    Raises:
        OutputError: It is a file, or can't be created or written.
    """
    folder = folder.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".siamtrack-{time.time_ns()}"
        probe.touch(exist_ok=False)
        probe.unlink()
    except FileExistsError:
        raise OutputError(f"Can't record into {folder}: it is a file; give a folder.") from None
    except OSError as error:
        raise OutputError(f"Can't record into {folder}: {error.strerror or error}.") from None
    return folder


class ClipRecorder:
    """Writes the worker's frames while a recording is active.

    Args:
        folder: Folder for recordings; None: recording is refused.
        info: The source.
        on_done: Called with the recording, or with an error message (None: `write` raised the error), from a separate
            thread, because closing a long video takes a while and must not stop the live picture.
    """

    def __init__(self, folder: Path | None, info: VideoInfo, on_done: Callable[[Recording | str | None], None]) -> None:
        self._folder, self._info, self._on_done = folder, replace(info, live=True), on_done
        self._stack: ExitStack | None = None
        self._first: Frame | None = None
        self._last = 0.0
        self._closing: list[threading.Thread] = []
        self.finished: dict[str, Path] = {}
        self.name, self.frames = "", 0

    @property
    def active(self) -> bool:
        """Whether a recording is active."""
        return self._stack is not None

    @property
    def seconds(self) -> float:
        """Length of the recording so far."""
        return self._last

    def start(self) -> str:
        """Starts a recording and returns the name of its video.

        Raises:
            OutputError: There is no folder, it can't be written, or a recording is on already.
        """
        from tracker.media.sinks.video import VideoSink

        if self._folder is None:
            raise OutputError("Recording is off: start the tool with --save-dir FOLDER to say where recordings go.")
        if self.active:
            raise OutputError(f"{self.name} is being recorded already; stop it first.")
        base = time.strftime("%Y-%m-%d_%H-%M-%S")
        for number in range(1, 1000):
            stem = self._folder / (base if number == 1 else f"{base}_{number}")
            video, boxes = stem.with_suffix(".mp4"), stem.with_suffix(".csv")
            if not video.exists() and not boxes.exists():
                break
        stack = ExitStack()
        self._video = stack.enter_context(VideoSink(video, self._info))
        self._boxes = stack.enter_context(BoxSink(boxes, "csv"))
        self._stack, self._first, self._last, self.frames, self.name = stack, None, 0.0, 0, video.name
        return self.name

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Adds a frame, if a recording is active.

        Raises:
            OutputError: The disk is full or the encoder failed; the recording is ended, what was written stays valid,
                and the message says what that is.
        """
        if self._stack is None:
            return
        first = self._first = self._first or frame
        self._last = (frame.timestamp or 0.0) - (first.timestamp or 0.0)
        frame = replace(frame, index=self.frames, timestamp=self._last)
        try:
            self._video.write(frame, tracks)
            self._boxes.write(frame, tracks)
        except OutputError:
            self._end(failed=True)
            raise
        self.frames += 1

    def stop(self) -> None:
        """Ends the recording; `on_done` is called later. Does nothing if none is active."""
        self._end(failed=False)

    def _end(self, failed: bool) -> None:
        stack, self._stack = self._stack, None
        if stack is None:
            return
        recording = Recording(self._video.path, self._boxes.path, self.frames, self._last)
        thread = threading.Thread(
            target=self._finish, args=(stack, recording, failed), name="siamtrack-finish", daemon=False
        )
        self._closing = [*[t for t in self._closing if t.is_alive()], thread]
        thread.start()

    def _finish(self, stack: ExitStack, recording: Recording, failed: bool) -> None:
        outcome: Recording | str | None = None if failed else recording
        try:
            stack.close()
        except OutputError as error:
            outcome = str(error)
        if not recording.frames:
            recording.boxes.unlink(missing_ok=True)
        self.finished |= {path.name: path for path in (recording.video, recording.boxes) if path.is_file()}
        if outcome is recording and not recording.frames:
            outcome = "Nothing was recorded: no frame came between start and stop."
        elif outcome is recording:
            logger.info("Recorded %s, %d frames, %.1f seconds", recording.video, recording.frames, recording.seconds)
        self._on_done(outcome)

    def close(self) -> None:
        """Ends the recording and waits until every file is finished."""
        self.stop()
        for thread in self._closing:
            thread.join()
