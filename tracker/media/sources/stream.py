"""Cameras (OpenCV) and network streams (FFmpeg through PyAV), every frame in order; `latest.py` keeps only the
newest."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from tracker.errors import SourceError
from tracker.media.containers import video_stream
from tracker.media.sources.base import Source
from tracker.types import Frame, VideoInfo

LOW_DELAY = {"fflags": "nobuffer", "analyzeduration": "1000000", "probesize": "500000"}
"""FFmpeg options for network streams: no input buffer, at most a second of video for format detection. The decoder
keeps its reorder delay (none for cameras, which send no B-frames): without it a stream with B-frames would arrive in
the wrong order."""

PLAYLISTS = frozenset({"hls", "dash", "applehttp", "rtsp", "sdp"})
"""Formats whose size is that of a list of addresses, not of the video."""

JOIN_SECONDS = 30.0
"""Time that a stream joined between two key frames may take until the next one."""


def hide_password(url: str) -> str:
    """The URL for display: rtsp://user:***@host/path."""
    scheme, mark, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}{mark}{user}:***@{place}" if at and colon and "/" not in login else url


class StreamSource(Source):
    """A URL opened by FFmpeg: rtsp, http(s), udp, tcp, rtmp, srt, ...

    A video file on a web server has an end and its own time stamps: it is recognised by a duration, or by a size
    reported by the server. Anything else is live, and its time stamps are seconds since it was opened. Data before the
    first key frame is skipped.

    Args:
        url: The address.
        timeout: Seconds to wait for opening, and for each read.
        hurry: Whether to discard a live stream's first frames, which were read to detect its format, for less delay.

    Attributes:
        damaged: Number of frames dropped because their data is damaged.

    Raises:
        SourceError: Nothing answers, or it has no video.
    """

    def __init__(self, url: str, timeout: float = 10.0, hurry: bool = True) -> None:
        import av

        from tracker.media.sources.decode import Decoder

        self._name, self._timeout, self._errors = hide_password(url), timeout, (av.FFmpegError, OSError, ValueError)
        options = dict(LOW_DELAY) if hurry else {}
        if url.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # UDP loses packets behind most routers, which smears the image
        self._container: Any = None
        self._opened = time.monotonic()
        try:
            self._container = av.open(url, options=options, timeout=(timeout, timeout))
            self._finite = ends_by_itself(self._container)
            if self._finite and hurry:
                # A video file on a web server: low delay is not needed, and `nobuffer` loses all frames of an MP4 if
                # the server can't seek.
                self._container.close()
                self._container = av.open(url, timeout=(timeout, timeout))
            stream: Any = video_stream(self._container, self._name)
            # Frame threads would delay the output by as many frames as there are threads.
            self._decoder = Decoder(
                self._container, stream, self._name, threads="SLICE", patience=max(timeout, JOIN_SECONDS)
            )
            self._frames: Iterator[Any] = iter(self._decoder)
            self._held: Any = next(self._frames)
        except StopIteration:
            self.close()
            raise SourceError(f"Can't open {self._name}: it ended before its first frame.", passing=True) from None
        except self._errors as error:
            self.close()
            raise SourceError(
                f"Can't open {self._name}: {self._reason(error)}.", passing=_may_pass(error, url)
            ) from None
        except BaseException:
            self.close()
            raise
        self._begin(stream)

    def _begin(self, stream: Any) -> None:
        """Sets rotation and timing from the first frame."""
        from tracker.media.sources.decode import Converter, Stamps, is_sideways, pixel_aspect
        from tracker.media.sources.video import frame_rate, turn

        turned = turn(self._held)
        self._image, self._index = Converter(self._name, turned), 0
        rate = frame_rate(stream)
        self._stamps = Stamps(rate, stream.time_base)
        height, width = self._image(self._held).shape[:2]
        count = stream.frames or None if self._finite else None
        aspect = pixel_aspect(stream, is_sideways(turned))
        self.info = VideoInfo(self._name, width, height, rate, count, not self._finite, aspect)

    @property
    def damaged(self) -> int:
        return self._decoder.damaged

    def _reason(self, error: BaseException) -> str:
        from tracker.media.sources.decode import reason

        text = reason(error)
        if isinstance(error, TimeoutError) or "exit requested" in text.lower():
            return f"nothing came for {self._timeout:g} seconds; check the address and that the server is running"
        return text

    def __next__(self) -> Frame:
        try:
            raw, self._held = self._held, None
            if raw is None:
                raw = next(self._frames)
            image: Any = self._image(raw)
        except self._errors as error:
            at = self._index
            self.close()
            raise SourceError(
                f"{self._name} failed at frame {at}, after {at} were delivered: {self._reason(error)}."
            ) from None
        stamp = self._stamps(raw.pts, self._index) if self._finite else time.monotonic() - self._opened
        self._index += 1
        return Frame(image, self._index - 1, stamp)

    def close(self) -> None:
        self._held, self._frames = None, iter(())
        if self._container is not None:
            self._container.close()


def ends_by_itself(container: Any) -> bool:
    """Whether an open PyAV container is a file, not a stream: it has a duration, or the server reports its size."""
    if container.duration is not None:
        return True
    return container.format.name not in PLAYLISTS and (container.size or 0) > 0


def _may_pass(error: BaseException, url: str) -> bool:
    """Whether an address that can't be opened may become available within seconds."""
    import av

    lasting = (
        "ProtocolNotFoundError",
        "DecoderNotFoundError",
        "HTTPUnauthorizedError",
        "HTTPForbiddenError",
        "HTTPBadRequestError",
    )
    if isinstance(error, tuple(getattr(av.error, name) for name in lasting if hasattr(av.error, name))):
        return False
    return not (isinstance(error, av.error.InvalidDataError) and url.lower().startswith("http"))


class CameraSource(Source):
    """A camera by its number, through OpenCV.

    Args:
        index: 0 for the first camera of this machine.

    Raises:
        SourceError: There is none with this number, it is in use, or it delivers no image.
    """

    def __init__(self, index: int) -> None:
        import cv2

        from tracker.media.images import to_bgr8

        self._to_bgr8, self._camera_index = to_bgr8, index
        there = not sys.platform.startswith("linux") or Path(f"/dev/video{index}").exists()
        self._capture: Any = (
            cv2.VideoCapture(index) if there else None
        )  # OpenCV prints messages of its own if there is no camera
        if self._capture is None or not self._capture.isOpened():
            raise SourceError(f"Can't open camera {index}: {_cameras_here()}.", passing=there)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._opened, self._index = time.monotonic(), 0
        ok, image = self._capture.read()
        if not ok:
            self._capture.release()
            sentence = f"Can't open camera {index}: it is there but gives no picture; is another program using it?"
            raise SourceError(sentence, passing=True)
        self._held: Any = image
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        exact = Fraction(rate).limit_denominator(1001) if 0 < rate <= 1000 else None
        self.info = VideoInfo(f"camera {index}", image.shape[1], image.shape[0], exact, None, True)

    def __next__(self) -> Frame:
        image, self._held = self._held, None
        if image is None:
            ok, image = self._capture.read()
            if not ok:
                at = self._index
                self.close()
                raise SourceError(
                    f"Camera {self._camera_index} failed at frame {at}, after {at} were delivered: unplugged or "
                    "taken away?"
                )
        self._index += 1
        return Frame(self._to_bgr8(image), self._index - 1, time.monotonic() - self._opened)

    def close(self) -> None:
        self._capture.release()


def _cameras_here() -> str:
    if not sys.platform.startswith("linux"):
        return "no camera has this number, or another program uses it"
    found = sorted(p.name.removeprefix("video") for p in Path("/dev").glob("video*"))
    return (
        f"this machine has the cameras {', '.join(found)}; is it in use?"
        if found
        else "this machine has no camera (no /dev/video*)"
    )


def skip(source: Source, start: int) -> Source:
    """Reads and drops the first `start` frames of a source.

    Raises:
        SourceError: It has fewer.
    """
    for k in range(start):
        try:
            next(source)
        except StopIteration:
            source.close()
            raise SourceError(f"{source.info.source} has no frame {start}: it ended after {k}.") from None
    return source
