"""Opens any source of frames: files, folders, cameras, streams; with optional decoding ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

from tracker.errors import SourceError
from tracker.media.addresses import PRINTF, check_path, exists, local, parse
from tracker.media.addresses import check_there as check_there
from tracker.media.sources.base import Source
from tracker.types import Frame


def losses(source: Source) -> list[str]:
    """Frames that a source has lost so far, as phrases for a summary: dropped for newer ones, or damaged."""
    dropped, damaged = int(getattr(source, "dropped", 0)), int(getattr(source, "damaged", 0))
    return [f"{dropped} dropped"] * bool(dropped) + [f"{damaged} damaged and left out"] * bool(damaged)


def open_source(
    spec: str | int | Path,
    *,
    start: int = 0,
    live: bool | None = None,
    prefetch: int = 0,
    reconnect_for: float = 30.0,
    timeout: float = 10.0,
    on_state: Callable[[str, str], None] | None = None,
) -> Source:
    """Opens a source of frames; when this returns, at least one frame is known to exist.

    Args:
        spec: A video file, an image, a folder of images, a glob (`dir/*.png`), a printf pattern (`dir/img_%04d.jpg`), a
            camera index (0 or "0"), or a URL (rtsp, http, udp, tcp, ...). Digits alone are a camera; a file so named is
            `./0`, or a `Path`.
        start: Index of the first frame to deliver (files and images); frames keep their own index and timestamp.
        live: True: only the newest frame, older ones are dropped and counted (a file is then played at its own speed);
            False: every frame in order; None: True for cameras and endless streams, False for the rest.
        prefetch: Number of frames to decode ahead in a thread (not for live sources); 0 decodes on demand.
        reconnect_for: Seconds to keep trying if a camera or stream isn't available yet, or a live one broke; 0: never.
        timeout: Seconds to wait for a stream to open, or for its next frame.
        on_state: Called with (state, sentence) when a live source connects, breaks, reconnects or ends.

    Returns:
        A `Source`: context manager, iterator of `Frame`, `.info`.

    Raises:
        SourceError: It can't be opened, or has no frame number `start`. Iteration raises it for a failure in the
            middle.
    """
    if start < 0:
        raise SourceError(f"The start frame {start} is negative; frames are counted from 0.")
    kind, text = parse(spec)
    if kind == "camera":
        return _open_device(lambda: _camera(int(text)), f"camera {text}", start, live, reconnect_for, on_state)
    if kind == "url":
        return _open_device(
            lambda: _stream(text, timeout, live is not False), text, start, live, reconnect_for, on_state
        )
    source = _open_path(text, start)
    if live:
        from tracker.media.sources.latest import LatestFrameSource, Paced

        return LatestFrameSource(lambda: Paced(source), reconnect_for=0.0, on_state=on_state)
    if prefetch > 0:
        return PrefetchSource(source, prefetch)
    return source


def _camera(index: int) -> Source:
    from tracker.media.sources.stream import CameraSource

    return CameraSource(index)


def _stream(url: str, timeout: float, hurry: bool) -> Source:
    from tracker.media.sources.stream import StreamSource

    return StreamSource(url, timeout=timeout, hurry=hurry)


def _open_device(
    opener: Callable[[], Source],
    text: str,
    start: int,
    live: bool | None,
    reconnect_for: float,
    on_state: Callable[[str, str], None] | None,
) -> Source:
    """A camera or URL, behind a newest-frame buffer unless it has an end or the caller wants every frame."""
    from tracker.media.sources.latest import LatestFrameSource, open_patiently
    from tracker.media.sources.stream import hide_password, skip

    first: list[Source] = [open_patiently(opener, reconnect_for, on_state)]
    if live is False or (live is None and not first[0].info.live):
        return skip(first[0], start)
    if start:
        first[0].close()
        raise SourceError(
            f"{hide_password(text)} is live: it has no frame {start} to start from; leave the start frame at 0."
        )
    return LatestFrameSource(lambda: first.pop() if first else opener(), reconnect_for=reconnect_for, on_state=on_state)


def _open_path(text: str, start: int) -> Source:
    from tracker.media.sources.images import ImagesSource, is_picture, list_folder, list_glob, list_printf

    check_path(text)
    path = local(text)
    if not exists(path):
        return ImagesSource(list_printf(path) if PRINTF.search(path.name) else list_glob(path), text, start)
    if path.is_dir():
        return ImagesSource(list_folder(path), text, start)
    if is_picture(path):
        return ImagesSource([path], text, start)
    from tracker.media.sources.video import VideoFileSource

    return VideoFileSource(path, start)


def video_length(clip: Path, expected: int | None = None) -> int:
    """The number of frames of a video: that of its packets, which is quick, if it is as expected; otherwise counted by
    decoding.

    Args:
        clip: A video file.
        expected: The expected number.

    Raises:
        SourceError: It can't be decoded.
    """
    import av

    try:
        with av.open(str(clip)) as container:
            packets = sum(1 for p in container.demux(container.streams.video[0]) if p.size and not p.is_discard)
    except (av.FFmpegError, OSError, IndexError):
        packets = -1  # the source below raises an error with the reason
    if packets == expected:
        return packets
    with open_source(str(clip)) as source:
        return sum(1 for _ in source)


class PrefetchSource(Source):
    """The frames of another source, decoded up to `depth` ahead.

    Errors of the source are raised where the frame would have been delivered. `close` may be called at any time, also
    with a full queue.

    Args:
        source: The other source; closed with this one.
        depth: Greatest number of buffered frames, so memory stays constant.
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
        """Number of frames that the source dropped because their data is damaged."""
        return int(getattr(self._source, "damaged", 0))

    def _run(self) -> None:
        while not self._stop.is_set():
            item: Frame | BaseException
            try:
                item = next(self._source)
            except BaseException as error:  # any exception is passed to the consumer's thread
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
