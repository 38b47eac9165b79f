"""Video files through FFmpeg's libraries (PyAV): exact rates and time stamps, rotation, exact start frames."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData

from tracker.errors import SourceError
from tracker.media.containers import file_address, is_cut_short, video_stream
from tracker.media.sources.base import Source
from tracker.media.sources.decode import Converter, DamagedError, Decoder, Stamps, is_sideways, pixel_aspect, reason
from tracker.types import Frame, Image, VideoInfo

logger = logging.getLogger(__name__)

CREDIBLE, FASTEST = 1000, 20_000
"""Limits in frames per second for a container's nominal and average rates; larger values are the unit of its time
stamps rather than a rate."""


def frame_rate(stream: Any) -> Fraction | None:
    """Exact frames per second of a PyAV video stream, or None if no sensible value is stored.

    The container's nominal rate (30000/1001) is used if the measured average agrees within half a per cent, since the
    average suffers from rounded time stamps; otherwise the frame rate varies, and the average is used.
    """
    average, nominal = stream.average_rate, stream.base_rate
    if average and nominal and abs(average / nominal - 1) < 0.005:
        average = nominal
    if average and 0 < average <= FASTEST:
        return Fraction(average)
    return Fraction(nominal) if nominal and 0 < nominal <= CREDIBLE else None


def turn(frame: Any) -> Callable[[Image], Image] | None:
    """The rotation of a file according to its display matrix (phones record sideways), or None.

    The matrix maps (x, y) to (a x + c y, b x + d y), 16.16 fixed point (ISO 14496-12, 8.3.2); only quarter turns and
    mirroring are supported.
    """
    # By key: iteration yields the data up to PyAV 18, the keys from 19 on.
    data = frame.side_data.get(SideData.DISPLAYMATRIX)
    if data is None:
        return None
    a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(data)[:20], np.int32))
    if (b or c) and not (a or d):
        return lambda image: np.ascontiguousarray(
            image.transpose(1, 0, 2)[:: 1 if b > 0 else -1, :: 1 if c > 0 else -1]
        )
    if b or c:
        logger.warning(
            "The file asks for a turn by %s degrees; only quarter turns are followed, so it is left out.",
            frame.rotation,
        )
        return None
    if a > 0 and d > 0:
        return None
    return lambda image: np.ascontiguousarray(image[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1])


class VideoFileSource(Source):
    """A video file, with constant memory however long it is.

    A frame's number is its position among all decodable frames, so a start frame is reached by decoding all frames
    before it (without converting them to images): time stamps and seek tables don't determine it in every container.

    Args:
        path: The file.
        start: Index of the first frame to deliver.

    Attributes:
        damaged: Number of frames dropped because their data is damaged.

    Raises:
        SourceError: Not a video, nothing to decode, or no frame `start`.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self._path, self._start, self._delivered = path, start, 0
        try:
            self._empty = not path.stat().st_size
            self._open("AUTO")
        except _FAULTS as error:
            raise SourceError(f"Can't open {path}: {self._reason(error)}.") from None
        try:
            self._begin(start)
        except BaseException:
            self._container.close()
            raise

    def _open(self, threads: str) -> None:
        self._container = av.open(file_address(self._path))
        try:
            self._stream = video_stream(self._container, str(self._path))
            strict, self._cut = threads == "AUTO", is_cut_short(self._path)
            self._decoder = Decoder(
                self._container, self._stream, str(self._path), threads=threads, strict=strict, cut=self._cut
            )
        except BaseException:
            self._container.close()
            raise

    @property
    def damaged(self) -> int:
        return self._decoder.damaged

    @property
    def format(self) -> str:
        """FFmpeg's name of the container."""
        return str(self._container.format.name)

    def count(self) -> int:
        """The number of frames of the file: decodes the rest without converting it to images."""
        try:
            while True:
                self._advance()
        except (StopIteration, *_FAULTS):
            return self._index + 1

    def _begin(self, start: int) -> None:
        stream: Any = self._stream
        self._rate = frame_rate(stream)
        # AVI stores no display times, only a constant rate: what FFmpeg guesses for reordered frames is not monotonic.
        self._stamps = Stamps(self._rate, stream.time_base, self.format != "avi")
        self._frames, self._index = self._decode(), -1
        self._time: float | None = None
        at = f" at frame {start}" if start else ""
        try:
            for _ in range(start + 1):
                self._held: Any = self._advance()
        except StopIteration:
            has = (
                f"it has only {self._index + 1} frames" if self._index >= 0 else "it holds no frame that can be decoded"
            )
            raise SourceError(f"Can't open {self._path}{at}: {has}.") from None
        except _FAULTS as error:
            raise SourceError(f"Can't open {self._path}{at}: {self._reason(error)}.") from None
        stream = self._stream  # a new one if damage made it reopen the file
        turned = turn(self._held)
        self._image = Converter(str(self._path), turned)
        height, width = self._image(self._held).shape[:2]
        aspect = pixel_aspect(stream, is_sideways(turned))
        self.info = VideoInfo(str(self._path), width, height, self._rate, stream.frames or None, pixel_aspect=aspect)

    def _decode(self) -> Iterator[Any]:
        """Decodes the frames; a file that ends earlier than its container declares is an error, not an end.

        After the first damage a single thread decodes, from the start: with several, FFmpeg loses good frames next to a
        damaged one, and which ones depends on the number of processors.
        """
        given = 0
        try:
            for frame in self._whole():
                yield frame
                given += 1
        except DamagedError:
            self._container.close()
            self._open("NONE")
            yield from itertools.islice(self._whole(), given, None)
        if self._cut:
            raise CutShortError("the file is cut short: its end is missing")

    def _whole(self) -> Iterator[Any]:
        """The frames up to the point at which a file is truncated.

        Frames that wait for missing ones before them (B-frames are stored after the frame that they reference) would
        take their numbers; a jump of the time stamps reveals them. The last frame of a GIF has no duration of its
        own.
        """
        if not self._cut:
            yield from self._decoder
            return
        gap = 1.5 / (self._rate * self._stream.time_base) if self._rate else float("inf")
        gif, held = self.format == "gif", None
        last: int | None = None
        for frame in self._decoder:
            if self._decoder.draining and last is not None and frame.pts is not None and frame.pts - last > gap:
                return
            last = frame.pts
            if not gif:
                yield frame
            elif held is not None:
                yield held
            held = frame

    def _advance(self) -> Any:
        frame = next(self._frames)
        self._index += 1
        self._time = self._stamps(frame.pts, self._index)
        return frame

    def _reason(self, error: BaseException) -> str:
        return str(error) if isinstance(error, CutShortError) else reason(error, self._empty)

    def __next__(self) -> Frame:
        try:
            raw, self._held = self._held, None
            image = self._image(raw if raw is not None else self._advance())
        except _FAULTS as error:
            at, done = self._start + self._delivered, self._delivered
            self.close()
            raise SourceError(
                f"{self._path} failed at frame {at}, after {done} were delivered: {self._reason(error)}."
            ) from None
        self._delivered += 1
        return Frame(image, self._index, self._time)

    def close(self) -> None:
        self._held, self._frames = None, iter(())
        self._container.close()


class CutShortError(OSError):
    """Internal: the file ended earlier than its container declares."""


_FAULTS = (av.FFmpegError, OSError, ValueError)
