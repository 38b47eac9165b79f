"""Annotated video: H.264 in MP4, VP9 in WebM, or a GIF; playable even if the process is killed while writing."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tracker.errors import OutputError
from tracker.files import Growing, atomic_path
from tracker.media.draw import draw_tracks
from tracker.media.images import fit_into
from tracker.media.sinks.base import Sink, check_writable, whole
from tracker.media.sinks.encoders import (
    GIF_STEP,
    PaletteFrames,
    container_options,
    encoder_options,
    gif_size,
    pick_encoder,
)
from tracker.media.sinks.open import check_video_name
from tracker.types import Frame, Image, Track, VideoInfo

logger = logging.getLogger(__name__)

Render = Callable[[Frame, Sequence[Track]], Image]

DEFAULT_RATE = Fraction(25)
LIVE_CLOCK = 90_000
QUEUE = 8
SNAP = 0.1


class Clock:
    """Time stamps of the written frames in ticks: those of the source, snapped to the grid of its frame rate where they
    match it.

    Args:
        rate: Frames per second, or None for a live source: real time stamps at 90 kHz.
    """

    def __init__(self, rate: Fraction | None) -> None:
        self.rate = rate
        if rate is not None and rate.numerator > 1_000_000:
            rate = rate.limit_denominator(1001)
        fine = 1000 if rate and rate.numerator < 10_000 else 1
        self.base = Fraction(1, rate.numerator * fine) if rate else Fraction(1, LIVE_CLOCK)
        self.step = rate.denominator * fine if rate else LIVE_CLOCK // 30
        self._first: Frame | None = None
        self._last = -1

    def ticks(self, frame: Frame) -> int:
        """Ticks since the first frame, strictly increasing."""
        first = self._first = self._first or frame
        if frame.timestamp is None or first.timestamp is None:
            ticks = (frame.index - first.index) * self.step
        else:
            exact = (frame.timestamp - first.timestamp) / self.base
            frames = round(exact / self.step)
            # A container that rounds to milliseconds must not make a constant rate jitter.
            ticks = (
                frames * self.step if self.rate and abs(exact - frames * self.step) < SNAP * self.step else round(exact)
            )
        self._last = max(ticks, self._last + 1)
        return self._last


class VideoSink(Sink):
    """A video of annotated frames; encoding runs in a thread beside the tracker.

    Size and time base are those of the first frame. Odd sizes are padded by one line (H.264's chroma requires even
    ones); a frame of another size is fitted into the first one's with black bars. The pixel aspect ratio of the source
    is kept.

    Args:
        path: .mp4, .m4v, .mov, .mkv, .webm or .gif.
        info: The source, for its frame rate; without one, or for a folder, it is 25 per second. Live: real time stamps.
        render: Draws the output image from frame and tracks; default `tracker.media.draw.draw_tracks`.
        overwrite: Whether an existing file may be replaced.
        quality: Constant rate factor of x264 (mapped for VP9): 18 looks lossless, 23 is usual, 30 is small.

    Raises:
        OutputError: The path can't be written; from `write` or `close`: the encoder failed or the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        info: VideoInfo | None = None,
        *,
        render: Render | None = None,
        overwrite: bool = False,
        quality: int = 23,
    ) -> None:
        self.path, self.frames, self.left_out = check_writable(check_video_name(path), overwrite), 0, 0
        self._suffix = self.path.suffix.lower()
        self.encoder = pick_encoder(self._suffix)
        self._render, self._quality = render or draw_tracks, quality
        live = info is not None and info.live
        self._aspect = info.pixel_aspect if info is not None else Fraction(1)
        self._clock = Clock(None if live else (info.frame_rate if info and info.frame_rate else DEFAULT_RATE))
        self._queue: queue.Queue[tuple[Image, int] | None] = queue.Queue(QUEUE)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._container: Any = None
        self._closed = self._reported = False
        self._growing = Growing(self.path)
        self._palette: PaletteFrames | None = None

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        if self._closed:
            raise OutputError(f"{self.path} is closed: no frame can be added.")
        image, ticks = self._render(frame, tracks), self._clock.ticks(frame)
        if self._thread is None:
            self._open(image.shape[1], image.shape[0])
            self._thread = threading.Thread(target=self._run, name="siamtrack-encode", daemon=True)
            self._thread.start()
        if image is frame.image:  # nothing was drawn: copy, since the caller may reuse its image
            image = image.copy()
        self._put((image, ticks))
        self.frames += 1

    def _put(self, item: tuple[Image, int] | None) -> None:
        while True:
            self._check()
            try:
                return self._queue.put(item, timeout=0.5)
            except queue.Full:
                continue

    def _check(self) -> None:
        if self._error is not None:
            raise self._failed(self._error) from self._error

    def _failed(self, error: BaseException) -> OutputError:
        """Closes the file after a failure and returns the error, saying what is complete in it. A file without any
        frame is removed."""
        self._reported = True
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()
        frames = count_frames(self._growing.now)
        if not frames:
            self._growing.discard()
        return OutputError(
            f"Writing {self.path} failed: {getattr(error, 'strerror', None) or error}; "
            f"{whole(frames, self._growing.where)}."
        )

    def _open(self, width: int, height: int) -> None:
        self._size = (width + width % 2, height + height % 2)
        try:
            self._container = av.open(str(self._growing.now), "w", options=container_options(self.path))
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"Can't write {self.path}: {error.strerror or error}.") from None
        rate = self._clock.rate or Fraction(30)
        if self._suffix == ".gif":
            return self._open_gif(*gif_size(width, height), rate)
        options = encoder_options(self.encoder, self._quality)
        stream: Any = self._container.add_stream(self.encoder, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *self._size, "yuv420p"
        context = stream.codec_context
        if self._aspect != 1:
            context.sample_aspect_ratio = self._aspect
        context.time_base, context.gop_size = self._clock.base, max(1, round(2 * rate))
        context.thread_count = min(4, os.cpu_count() or 1)
        # OpenCV converts by BT.601 in limited range; this is declared in the stream, since players assume BT.709 for
        # large frames.
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = 6, 1, 1, 1
        self._stream = stream

    def _open_gif(self, width: int, height: int, rate: Fraction) -> None:
        self._size, self._palette, self._due = (width, height), PaletteFrames(width, height), 0
        self._stream = self._container.add_stream("gif", rate=rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "pal8"
        self._stream.codec_context.time_base = PaletteFrames.BASE

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                self._encode(*item) if self._palette is None else self._encode_gif(*item)
            if self._palette is not None:
                self._mux_gif(None)
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        except BaseException as error:  # passed to the calling thread, which raises it
            self._error = error

    def _encode(self, image: Image, ticks: int) -> None:
        width, height = self._size
        if image.shape[0] + image.shape[0] % 2 != height or image.shape[1] + image.shape[1] % 2 != width:
            image = fit_into(image, width, height)
        if image.shape[:2] != (height, width):
            image = np.asarray(
                cv2.copyMakeBorder(image, 0, height - image.shape[0], 0, width - image.shape[1], cv2.BORDER_REPLICATE)
            )
        planes: Any = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = ticks, self._clock.base
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _encode_gif(self, image: Image, ticks: int) -> None:
        hundredths = round(ticks * self._clock.base / PaletteFrames.BASE)
        if hundredths < self._due:
            self.left_out += 1
            return
        # Frames at 30 per second are 3 or 4 hundredths apart: the next one is due by the clock, not by the last rounded
        # time.
        self._due = max(self._due + GIF_STEP, hundredths + GIF_STEP - 1)
        self._mux_gif(fit_into(image, *self._size) if self._shape(image) else image, hundredths)

    def _shape(self, image: Image) -> bool:
        """Whether an image has another shape than the first."""
        return gif_size(image.shape[1], image.shape[0]) != self._size

    def _mux_gif(self, image: Image | None, ticks: int = 0) -> None:
        assert self._palette is not None
        for frame in self._palette(image, ticks):
            for packet in self._stream.encode(frame):
                self._container.mux(packet)

    def close(self, complete: bool = True) -> None:
        """Finishes the file and reads it again to check that every frame is present; then it replaces an existing one.

        Args:
            complete: False: the run was interrupted; an old file stays and the new one is left beside it.

        Raises:
            OutputError: The encoder failed, or the file holds another number of frames than were written.
        """
        if self._closed:
            return
        if self._thread is None:
            self._closed = True
            logger.warning("No frame came, so %s was not written.", self.path)
            return
        try:
            if self._reported:  # by `write`
                return
            if self._error is None:
                self._put(None)
                self._thread.join()
            self._check()
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from None
        finally:
            self._closed = True
        now = self._growing.now
        if self._suffix not in (".mkv", ".webm", ".gif"):
            _defragment(now)
        found, wanted = count_frames(now), self.frames - self.left_out
        if found != wanted:
            raise OutputError(f"{now} holds {found} frames, but {wanted} were written; is the disk full?")
        try:
            self._growing.finish(complete)
        except OSError as error:
            raise OutputError(f"Can't put {now} in the place of {self.path}: {error.strerror or error}.") from None


def _defragment(path: Path) -> None:
    """Rewrites a fragmented MP4 with its index in front, without re-encoding; left as it is (and playable) if that
    fails."""
    try:
        with (
            atomic_path(path) as part,
            av.open(str(path)) as source,
            av.open(str(part), "w", options={"movflags": "faststart"}) as target,
        ):
            stream = source.streams.video[0]
            out = target.add_stream_from_template(stream)
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = out
                    target.mux(packet)
    except (av.FFmpegError, OSError, OutputError) as error:
        logger.warning("%s stays a fragmented MP4 (it plays all the same): rewriting it failed: %s", path, error)


def count_frames(path: str | Path) -> int:
    """Number of complete frames in a video file, counted from its packets (not read from its header); 0 if it is not a
    video."""
    found = 0
    with contextlib.suppress(av.FFmpegError, OSError, IndexError), av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            found += packet.size > 0 and not packet.is_corrupt
    return found
