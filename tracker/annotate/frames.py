"""Fast random access to the frames of a clip: time stamps of all frames are listed once and used for seeking."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from tracker.errors import ImageError, SourceError
from tracker.media.addresses import check_path, local, parse
from tracker.media.images import read_image
from tracker.media.sources.images import is_picture
from tracker.media.sources.open import open_source
from tracker.media.sources.seek import FrameSeeker
from tracker.types import Image

CACHE_BYTES = 256 << 20
"""Memory for decoded frames of one clip; a frame of 4K video takes 25 MB."""
NEAR = 48
"""Distance in frames up to which frames are decoded in sequence rather than sought."""


class ClipFrames(ABC):
    """The frames of a clip by number; the newest are cached."""

    path: str
    width: int
    height: int
    rate: Fraction | None

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self._bytes = 0

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _decode(self, index: int) -> Image: ...

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
        """The frames from first to last, both included; backward in blocks that fit into the cache."""
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
        """Releases file and memory; safe to call twice."""
        with self._lock:
            self._cache.clear()
            self._bytes = 0


class ImageFrames(ClipFrames):
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


class VideoFrames(ClipFrames):
    """A video file, its frames numbered and rotated as `tracker.media` reads them; a seek decodes at most one group of
    pictures.

    Args:
        path: The file.

    Raises:
        SourceError: It can't be opened.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._video = FrameSeeker(Path(path))
        info = self._video.info
        self.path, self.width, self.height, self.rate = path, info.width, info.height, info.frame_rate
        self._reader: Iterator[tuple[int, Image]] | None = None
        self._next = 0

    def __len__(self) -> int:
        return len(self._video)

    def _decode(self, index: int) -> Image:
        ahead = index - self._next
        if self._reader is None or ahead < 0 or (ahead > NEAR and self._video.is_nearer(index, self._next)):
            self._reader = self._video.frames(index, NEAR // 4)
        for number, image in self._reader:
            self._next = number + 1
            if number == index:
                return image
            if index - number <= NEAR // 4:
                self._keep(number, image)
            if number > index:
                break
        self._reader = None
        raise SourceError(
            f"{self.path} has no picture for frame {index}: the data is damaged there; leave that frame out."
        )

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._reader = None
        self._video.close()


def open_frames(spec: str | Path) -> ClipFrames:
    """The frames of a video file, a folder of images, a glob or a pattern, by number.

    Raises:
        SourceError: It can't be opened; cameras and streams have no random access.
    """
    kind, text = parse(spec)
    if kind != "path":
        raise SourceError(f"{text} is live, and can't be annotated: it has no frames to go back to; record it first.")
    check_path(text)
    path = local(text)
    if path.is_file() and not is_picture(path):
        return VideoFrames(str(path))
    return ImageFrames(text)
