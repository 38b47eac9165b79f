"""Any frame of a clip by its number, quickly: the time stamps of all frames are listed once, then each is sought by its
own."""

from __future__ import annotations

import bisect
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np

from tracker.errors import ImageError, SourceError
from tracker.media.images import IMAGE_SUFFIXES, read_image
from tracker.media.sources.open import check_there, open_source
from tracker.media.sources.video import VideoFileSource, frame_rate, turn
from tracker.types import Image

logger = logging.getLogger(__name__)

CACHE_BYTES = 256 << 20
"""Memory for decoded frames of one clip; a frame of 4K video takes 25 MB."""
NEAR = 48
"""Frames that are decoded in passing rather than sought anew."""


class Frames(Protocol):
    """The pictures of a clip by number."""

    path: str
    width: int
    height: int
    rate: Fraction | None

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image: ...

    def walk(self, first: int, last: int) -> Iterator[tuple[int, Image]]:
        """The frames from first to last, both included; backward where last < first."""
        ...

    def close(self) -> None: ...


class _Base:
    """Cache and walking, for the two kinds."""

    path: str
    width: int
    height: int
    rate: Fraction | None

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        raise NotImplementedError

    def _decode(self, index: int) -> Image:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Image:
        if not 0 <= index < len(self):
            raise SourceError(f"{self.path} has no frame {index}; it has the frames 0 to {len(self) - 1}.")
        with self._lock:
            if index not in self._cache:
                self._keep(index, self._decode(index))
            self._cache.move_to_end(index)
            return self._cache[index]

    def _keep(self, index: int, image: Image) -> None:
        if index in self._cache:
            return
        self._cache[index] = image
        self._bytes += image.nbytes
        while self._bytes > CACHE_BYTES and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self._bytes -= old.nbytes

    def walk(self, first: int, last: int) -> Iterator[tuple[int, Image]]:
        """The frames from first to last, both included; backward in blocks that fit into the memory of the cache."""
        if last >= first:
            for k in range(first, last + 1):
                yield k, self[k]
            return
        block = max(4, min(256, CACHE_BYTES // 2 // max(self.width * self.height * 3, 1)))
        for end in range(first, last - 1, -block):
            begin = max(end - block + 1, last)
            held = [self[k] for k in range(begin, end + 1)]
            for k in range(end, begin - 1, -1):
                yield k, held[k - begin]

    def close(self) -> None:
        """Give back file and memory; safe to call twice."""
        with self._lock:
            self._cache.clear()
            self._bytes = 0


class ImageFrames(_Base):
    """Image files as frames, in the order of `open_source`."""

    def __init__(self, spec: str) -> None:
        super().__init__()
        with open_source(spec, live=False) as source:
            self._files: list[Path] = list(getattr(source, "_paths", []))
            self.width, self.height = source.info.width, source.info.height
        self.path, self.rate = spec, None

    def __len__(self) -> int:
        return len(self._files)

    def _decode(self, index: int) -> Image:
        try:
            return read_image(self._files[index])
        except ImageError as error:
            raise SourceError(f"{self.path} failed at frame {index}: {error}") from None


class VideoFrames(_Base):
    """A video file. Its packets are read through once when it is opened (no decoding); after that a seek costs one
    group of pictures.

    Args:
        path: The file.

    Raises:
        SourceError: It can't be opened, or has no time stamps to seek by (such files are read from the start instead).
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        with VideoFileSource(Path(path)) as check:  # the same sentences for files that aren't videos
            self.width, self.height, self.rate = check.info.width, check.info.height, check.info.frame_rate
        self.path = path
        self._container: Any = av.open(path)
        self._stream: Any = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = self.rate or frame_rate(self._stream)
        stamps: list[int] = []
        keys: list[int] = []
        self._sought = self._container.format.name != "avi"
        for packet in self._container.demux(self._stream):
            if packet.size and not packet.is_discard:
                if packet.pts is None:
                    self._sought = False
                stamps.append(packet.pts if packet.pts is not None else len(stamps))
                if packet.is_keyframe and packet.pts is not None:
                    keys.append(packet.pts)
        self._stamps = sorted(stamps)
        self._keys = sorted(bisect.bisect_left(self._stamps, k) for k in keys)
        self._reader: Iterator[tuple[int, Image]] | None = None
        self._next = 0
        self._turn: Any = None
        self._turn_known = False

    def __len__(self) -> int:
        return len(self._stamps)

    def _decode(self, index: int) -> Image:
        key = self._keys[max(bisect.bisect_right(self._keys, index) - 1, 0)] if self._keys else 0
        ahead = index - self._next
        if self._reader is None or ahead < 0 or (ahead > NEAR and key > self._next):
            self._reader = self._from(index)
        try:
            for number, image in self._reader:
                self._next = number + 1
                if number == index:
                    return image
                if index - number <= NEAR // 4:
                    self._keep(number, image)
                if number > index:
                    break
        except (av.FFmpegError, OSError) as error:
            self._reader = None
            raise SourceError(
                f"{self.path} failed at frame {index}: {getattr(error, 'strerror', None) or error}."
            ) from None
        self._reader = None
        raise SourceError(
            f"{self.path} has no picture for frame {index}: the data is damaged there; leave that frame out."
        )

    def _from(self, index: int) -> Iterator[tuple[int, Image]]:
        """Decoded frames from the key frame before `index` on, with their numbers."""
        if not self._sought:
            self._container.close()
            with VideoFileSource(Path(self.path)) as source:
                for frame in source:
                    yield frame.index, frame.image
            return
        self._container.seek(self._stamps[index], stream=self._stream, backward=True)
        for frame in self._container.decode(self._stream):
            if frame.pts is None:
                continue
            number = bisect.bisect_left(self._stamps, frame.pts)
            if number >= len(self._stamps) or self._stamps[number] != frame.pts or number < index - NEAR // 4:
                continue
            yield number, self._image(frame)

    def _image(self, frame: Any) -> Image:
        image: Any = np.ascontiguousarray(frame.to_ndarray(format="bgr24"))
        if not self._turn_known:
            self._turn, self._turn_known = turn(frame), True
        return self._turn(image) if self._turn else image

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._reader = None
        self._container.close()


def open_frames(spec: str | Path) -> Frames:
    """The frames of a video file, a folder of images, a glob or a pattern, by number.

    Raises:
        SourceError: It can't be opened; cameras and streams have no frames to go back to.
    """
    text = str(spec).strip().removeprefix("file://")
    if text.isdigit() or "://" in text:
        raise SourceError(f"{text} is live, and can't be annotated: it has no frames to go back to; record it first.")
    check_there(text)
    path = Path(text).expanduser()
    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return VideoFrames(str(path))
    return ImageFrames(text)
