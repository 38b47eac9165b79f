"""Decoding of one video stream, for files and for the network; the only module in which packets become images."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from tracker.types import Image

logger = logging.getLogger(__name__)

STRICT = {"mjpeg": "explode", "png": "crccheck+explode", "apng": "crccheck+explode", "ffv1": "crccheck+explode"}
"""Codecs with independent frames: a damaged one is dropped, where FFmpeg would fill it with grey or black."""

HOPELESS = 50
"""This many consecutive container errors without a packet in between end the stream."""

NOT_DAMAGE = (av.error.DecoderNotFoundError, av.error.ExitError, MemoryError, TimeoutError, ConnectionError)


class DamagedError(Exception):
    """Internal: the first damage in a multi-threaded decoder."""


class Decoder:
    """The frames of a stream in display order; damaged ones are dropped and counted.

    Args:
        container, stream: Open PyAV objects.
        name: For the log.
        threads: "AUTO" (as many frames in parallel as there are processors), "SLICE" (no frame waits for a later one)
            or "NONE".
        patience: Seconds after which a stream that sends packets but no key frame is given up.
        strict: Whether the first damage raises `DamagedError`: which frames survive is deterministic only without frame
            threads.
        cut: The file is known to be truncated: incomplete packets are dropped without counting them.

    Attributes:
        draining: No packets are left: further frames were held back for reordering.
        damaged: Number of frames dropped since the first one was decoded.
    """

    def __init__(
        self,
        container: Any,
        stream: Any,
        name: str,
        *,
        threads: str = "AUTO",
        strict: bool = False,
        cut: bool = False,
        patience: float = float("inf"),
    ) -> None:
        self.damaged, self.draining, self._any, self._cut = 0, False, False, cut
        self._error: av.FFmpegError | OSError | None = None
        self._container, self._stream, self._name, self._strict = container, stream, name, strict
        self._deadline = time.monotonic() + patience
        context = stream.codec_context
        stream.thread_type = threads
        if threads == "NONE":
            context.thread_count = 1
        if context.name in STRICT:
            context.options = {"err_detect": STRICT[context.name]}

    def __iter__(self) -> Iterator[Any]:
        """Yields PyAV's video frames.

        Raises:
            av.FFmpegError, OSError: Nothing could be decoded, or reading failed.
        """
        for packet in self._packets():
            self.draining = not packet.size
            if self._cut and packet.is_corrupt:
                continue
            try:
                frames = packet.decode()
            except EOFError:
                continue
            except NOT_DAMAGE:
                raise
            except (av.FFmpegError, ValueError) as error:
                self._hurt(error)
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._hurt(None)
                    continue
                self._any = True
                yield frame
            if not self._any and time.monotonic() > self._deadline:
                raise self._error or TimeoutError(110, "it sends no key frame to begin with")
        if not self._any and self._error is not None:
            raise self._error

    def _packets(self) -> Iterator[Any]:
        """Packets of the stream, skipping what the container can't parse."""
        failures = 0
        while True:
            try:
                for packet in self._container.demux(self._stream):
                    failures = 0
                    yield packet
                return
            except NOT_DAMAGE:
                raise
            except av.error.InvalidDataError as error:
                failures += 1
                if failures >= HOPELESS:
                    raise
                if failures == 1:
                    self._hurt(error)

    def _hurt(self, error: BaseException | None) -> None:
        """Counts a lost frame; none is counted before the first one (a stream may begin between two key frames)."""
        self._error = error if isinstance(error, (av.FFmpegError, OSError)) else self._error
        if not self._any:
            return
        if self._strict:
            raise DamagedError
        self.damaged += 1
        if self.damaged == 1:
            logger.warning("%s: a damaged frame is left out; further ones are counted in silence.", self._name)


class Converter:
    """Converts PyAV frames to BGR uint8, rotated as the file asks, in stored pixels (never resampled, even if they
    aren't square).

    Args:
        name: For the log.
        turn: The value of `video.turn` for the first frame.
    """

    def __init__(self, name: str, turn: Callable[[Image], Image] | None) -> None:
        self._name, self._turn, self._size = name, turn, (0, 0)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> Image:
        size = (frame.width, frame.height)
        if size != self._size:
            if self._size[0]:
                logger.warning(
                    "%s: its size changes from %d x %d to %d x %d on the way.", self._name, *self._size, *size
                )
            self._size = size
        image: Any = np.ascontiguousarray(self._reformatter.reformat(frame, format="bgr24").to_ndarray())
        return self._turn(image) if self._turn else image


class Stamps:
    """Seconds since the first frame, strictly increasing.

    Args:
        rate: Frames per second, or None.
        base: Duration in seconds of a tick of the frames' time stamps.
        trusted: False if the container stores none: they are computed from the rate.
    """

    def __init__(self, rate: Fraction | None, base: Fraction, trusted: bool = True) -> None:
        self._rate, self._base, self._trusted = rate, base, trusted
        self._origin: int | None = None
        self._last: float | None = None

    def __call__(self, pts: int | None, index: int) -> float | None:
        """The time of frame `index`; to be called for each frame in turn, including skipped ones."""
        if index == 0:
            self._origin = pts
        time: float | None = None
        if self._trusted and pts is not None and self._origin is not None:
            time = float((pts - self._origin) * self._base)
        elif self._rate:
            time = float(index / self._rate)
        if self._last is not None and (time is None or time <= self._last):  # duplicated, missing, or decreasing
            time = self._last + float(1 / self._rate) if self._rate else None
        self._last = time if time is not None else self._last
        return time


def reason(error: BaseException, empty: bool = False) -> str:
    """FFmpeg's reason for a read error, as the end of a sentence."""
    if isinstance(error, av.error.InvalidDataError):
        return "the data is damaged, cut short, or not a video" + (" (the file is empty)" if empty else "")
    if isinstance(error, av.error.DecoderNotFoundError):
        return "it uses a codec that this build of FFmpeg can't decode; convert it to H.264 first"
    return getattr(error, "strerror", None) or str(error)


def is_sideways(turn: Callable[[Image], Image] | None) -> bool:
    """Whether the value of `video.turn` swaps width and height."""
    return turn is not None and turn(np.zeros((1, 2, 3), np.uint8)).shape[0] == 2


def pixel_aspect(stream: Any, sideways: bool) -> Fraction:
    """Width to height of a pixel as the image is delivered, after rotation; 1 if no sensible value is stored."""
    for holder in (stream, stream.codec_context):
        ratio = holder.sample_aspect_ratio
        if ratio and 0 < ratio:
            ratio = Fraction(ratio)
            return 1 / ratio if sideways else ratio
    return Fraction(1)
