"""Video files through FFmpeg's libraries (PyAV): exact rates and time stamps, rotation, exact start frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter

from tracker.errors import SourceError
from tracker.media.sources import SourceBase
from tracker.types import Frame, Image, VideoInfo

logger = logging.getLogger(__name__)

SEEK_FROM = 120
"""From this start frame on a seek is worth it; before, frames are decoded and thrown away."""

REORDER = 32
"""Packets to look past a frame before its place in display order is certain (H.264 and HEVC reorder at most 16)."""


def frame_rate(stream: Any) -> Fraction | None:
    """Exact frames per second of a PyAV video stream, or None where it says nothing sensible.

    The container's nominal rate (30000/1001) is taken where the measured average agrees within half a per cent, since the
    average suffers from rounded time stamps; otherwise the frame rate varies, and the average is what it has.
    """
    average, nominal = stream.average_rate, stream.base_rate
    if average and nominal and abs(average / nominal - 1) < 0.005:
        average = nominal
    rate = average or nominal
    return Fraction(rate) if rate and 0 < rate <= 1000 else None


def turn(frame: Any) -> Callable[[Image], Image] | None:
    """How to turn the pictures of a file as its display matrix says (phones record sideways), or None.

    The matrix maps (x, y) to (a x + c y, b x + d y), 16.16 fixed point (ISO 14496-12, 8.3.2); only quarter turns and mirror
    images are followed.
    """
    # By key: what iterating the container gives is the data up to PyAV 18, the keys from 19 on.
    data = frame.side_data.get(SideData.DISPLAYMATRIX)
    if data is None:
        return None
    a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(data)[:20], np.int32))
    if (b or c) and not (a or d):
        return lambda image: np.ascontiguousarray(image.transpose(1, 0, 2)[:: 1 if b > 0 else -1, :: 1 if c > 0 else -1])
    if b or c:
        logger.warning("The file asks for a turn by %s degrees; only quarter turns are followed, so it is left out.", frame.rotation)
        return None
    if a > 0 and d > 0:
        return None
    return lambda image: np.ascontiguousarray(image[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1])


class VideoFileSource(SourceBase):
    """A video file; memory stays constant however long it is.

    Args:
        path: The file.
        start: Index of the first frame to deliver, exactly (frames before the next key frame are decoded and dropped).

    Raises:
        SourceError: Not a video, nothing to decode, or no frame `start`.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self._path, self._start, self._delivered = path, start, 0
        self._reformatter = VideoReformatter()
        try:
            self._container = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"Can't open {path}: {_reason(error, path)}.") from None
        try:
            self._open(start)
        except BaseException:
            self._container.close()
            raise

    def _open(self, start: int) -> None:
        if self._container.format.name == "tty":  # FFmpeg draws text files as a terminal would; nobody wants to track in that
            raise SourceError(f"Can't open {self._path}: it is text, not a video.")
        if not self._container.streams.video:
            raise SourceError(f"Can't open {self._path}: it has no video, only {len(self._container.streams)} other streams.")
        stream: Any = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        self._stream, self._rate = stream, frame_rate(stream)
        self._origin: int | None = None
        # AVI stores no display times, only a constant rate: what FFmpeg guesses for reordered frames goes back and forth.
        self._stamped = self._container.format.name != "avi"
        target = self._seek(start) if start >= SEEK_FROM else None
        self._frames = self._decode()
        self._index = start if target is not None else 0
        try:
            first = next(f for f in self._frames if target is None or (f.pts is not None and f.pts >= target))
            if target is None:
                self._origin = first.pts
                for _ in range(start):
                    first = next(self._frames)
                    self._index += 1
        except StopIteration:
            has = f"it has only {self._index + 1} frames" if self._index else "it holds no frame that can be decoded"
            raise SourceError(f"Can't open {self._path}{f' at frame {start}' if start else ''}: {has}.") from None
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"Can't open {self._path}{f' at frame {start}' if start else ''}: {_reason(error, self._path)}.") from None
        self._held: Any = first
        self._turn = turn(first)
        height, width = self._image(first).shape[:2]
        self.info = VideoInfo(str(self._path), width, height, self._rate, stream.frames or None)

    def _seek(self, start: int) -> int | None:
        """Find the time stamp of frame `start` from the packets alone (fast), and go to the key frame before it."""
        stamps: list[int] = []
        if not self._stamped:
            return None
        for packet in self._container.demux(self._stream):
            if packet.size and not packet.is_discard:
                if packet.pts is None:
                    logger.info("%s has no time stamps: frame %d is reached by decoding all before it.", self._path, start)
                    stamps.clear()
                    break
                stamps.append(packet.pts)
                if len(stamps) > start + REORDER:
                    break
        stamps.sort()
        if stamps and len(stamps) <= start:
            raise SourceError(f"Can't open {self._path} at frame {start}: it has only {len(stamps)} frames.")
        target = stamps[start] if stamps else None
        if target is not None:
            self._origin = stamps[0]
        self._container.seek(target if target is not None else 0, stream=self._stream, backward=True)
        return target

    def _decode(self) -> Iterator[Any]:
        """Decoded frames; a file that ends before its index says so is an error, not an end."""
        broken, last, gap = False, None, 0
        for packet in self._container.demux(self._stream):
            if packet.size:
                broken = packet.is_corrupt
                gap = abs(packet.pts - last.pts) if last is not None and None not in (packet.pts, last.pts) else 0
                last = packet
            yield from packet.decode()
        if broken or (last is not None and last.pts is not None and self._cut_short(last, gap)):
            raise _CutShort("the file is cut short: its end is missing")

    def _cut_short(self, last: Any, gap: int) -> bool:
        """Whether the container promised more than its last packet (MP4 by its index, Matroska by its duration tag).

        `gap` is the time between the last two packets: muxers take it for the duration of the last frame.
        """
        names = self._container.format.name
        if "mp4" in names:
            entries: Any = getattr(self._stream, "index_entries", None)  # recent PyAV only
            return bool(entries) and last.dts is not None and last.dts < entries[len(entries) - 1].timestamp
        tag = self._stream.metadata.get("DURATION", "")
        if "matroska" in names and tag.count(":") == 2:
            hours, minutes, seconds = (float(part) for part in tag.split(":"))
            return float((last.pts + gap) * last.time_base) < hours * 3600 + minutes * 60 + seconds - 0.5
        return False

    def _image(self, frame: Any) -> Image:
        image: Any = np.ascontiguousarray(self._reformatter.reformat(frame, format="bgr24").to_ndarray())
        return self._turn(image) if self._turn else image

    def __next__(self) -> Frame:
        try:
            raw, self._held = self._held, None
            if raw is None:
                raw = next(self._frames)
            image = self._image(raw)
        except (av.FFmpegError, OSError) as error:
            at = self._start + self._delivered
            self.close()
            raise SourceError(
                f"{self._path} failed at frame {at}, after {self._delivered} were delivered: {_reason(error, self._path)}."
            ) from None
        time = None
        if self._stamped and raw.pts is not None and self._origin is not None:
            time = float((raw.pts - self._origin) * self._stream.time_base)
        elif self._rate:
            time = float(self._index / self._rate)
        out = Frame(image, self._index, time)
        self._index += 1
        self._delivered += 1
        return out

    def close(self) -> None:
        self._held, self._frames = None, iter(())
        self._container.close()


class _CutShort(OSError):
    """The file ended before its own index says."""


def _reason(error: BaseException, path: Path) -> str:
    if isinstance(error, _CutShort):
        return str(error)
    if isinstance(error, av.error.InvalidDataError):
        return "the data is damaged, cut short, or not a video" + ("" if path.stat().st_size else " (the file is empty)")
    if isinstance(error, av.error.DecoderNotFoundError):
        return "it uses a codec that this build of FFmpeg can't decode; convert it to H.264 first"
    return getattr(error, "strerror", None) or str(error)
