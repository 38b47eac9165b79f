"""Network streams whose frames are converted to images only on demand: with newest-frame delivery most are dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from tracker.errors import SourceError
from tracker.media.sources.stream import ends_by_itself, hide_password
from tracker.types import Frame, VideoInfo

OPENING = {"analyzeduration": "1000000", "probesize": "500000", "fpsprobesize": "0"}
"""FFmpeg options that open a stream with its first key frame. By default FFmpeg reads twenty more frames to estimate a
frame rate, which is not needed here, and `fflags=nobuffer` would discard the key frame that was read. What is late
after opening is decoded at once, and the newest frame is used."""

ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
"""Converts a frame on the thread that asks. PyAV before 17 does so always, and refuses the option."""

BEHIND, DRAINED, DRIFT = 1.0, 2.0, 1e-5
"""Seconds that decoding may lag; seconds in which all buffered data is read, undecoded; and seconds by which the least
lag of a stream may rise with each packet, for clocks that drift."""


class LiveReader:
    """A URL opened by FFmpeg, as raw decoded frames.

    One decoding thread per stream: with many streams the cores are busy anyway, and frame threads delay frames.

    Args:
        url: The address.
        timeout: Seconds to wait for opening, and for each read.
        decode: cpu, or an FFmpeg device (cuda, vaapi, ...); FFmpeg's software decoder is the fallback.

    Attributes:
        info: `live` says whether the address has no end; a video file on a web server has one, and gives no frames here
            (`tracker.media.sources.stream.StreamSource` reads it).
        skipped: Number of frames dropped undecoded because decoding lagged.

    Raises:
        SourceError: Nothing answers, it has no video, or this build doesn't know the device.
    """

    def __init__(self, url: str, timeout: float, decode: str = "cpu") -> None:
        self._name, self._timeout, self._opened = hide_password(url), timeout, time.monotonic()
        options = dict(OPENING)
        if url.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        self._container: Any = None
        self.skipped = 0
        self._held: Any = None
        try:
            self._container = av.open(url, options=options, timeout=(timeout, timeout), hwaccel=_accelerator(decode))
            if not self._container.streams.video:
                raise SourceError(f"Can't open {self._name}: it carries no video.")
            stream: Any = self._container.streams.video[0]
            self._frames: Iterator[Any] = iter(())
            self.info = VideoInfo(
                self._name, stream.width, stream.height, None, None, not ends_by_itself(self._container)
            )
            if not self.info.live:
                return
            stream.thread_type = "SLICE"
            stream.codec_context.thread_count = 1
            self._frames = self._decode(stream)
            self._held = next(self._frames)
        except StopIteration:
            self.close()
            raise SourceError(f"Can't open {self._name}: it ended before its first frame.") from None
        except (av.FFmpegError, OSError, NotImplementedError) as error:
            self.close()
            raise SourceError(f"Can't open {self._name}: {self._reason(error)}.") from None
        except BaseException:
            self.close()
            raise
        self._reformatter = VideoReformatter()
        self._time_base = stream.time_base
        self._origin = self._held.pts
        self.info = VideoInfo(self._name, self._held.width, self._held.height, None, None, True)

    def _decode(self, stream: Any) -> Iterator[Any]:
        """Decoded frames; if decoding lags, packets are dropped up to a key frame that is on time."""
        least, since = float("inf"), None  # type: tuple[float, float | None]
        for packet in self._container.demux(stream):
            stamp, now = packet.dts if packet.dts is not None else packet.pts, time.monotonic()
            if stamp is not None:
                lag = now - float(stamp * packet.time_base)
                # Skipping for so long can't be a full buffer: the stream's own clock has jumped.
                jumped = since is not None and now - since > DRAINED
                least = lag if lag < least or jumped else least + DRIFT
                if lag > least + BEHIND:
                    since = now if since is None else since
                elif packet.is_keyframe:
                    since = None
            if since is not None and packet.size:
                self.skipped += 1
                continue
            yield from packet.decode()

    def __iter__(self) -> Iterator[Any]:
        """Raw frames (`av.VideoFrame`) until the stream ends.

        Raises:
            SourceError: It broke.
        """
        try:
            held, self._held = self._held, None
            if held is not None:
                yield held
            del held
            yield from self._frames
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self._name} broke off: {self._reason(error)}.") from None

    def converted(self, raw: Any, index: int, came: float) -> Callable[[], Frame]:
        """A function that converts a raw frame to a Frame, callable from any thread; its time stamp is the stream's own
        if it has one."""
        stamp = came - self._opened
        if raw.pts is not None:
            if self._origin is None:  # RTSP may have time stamps only after the first few frames
                self._origin = raw.pts - round(stamp / self._time_base)
            stamp = float((raw.pts - self._origin) * self._time_base)

        def convert() -> Frame:
            try:
                picture: Any = self._reformatter.reformat(raw, format="bgr24", **ONE_THREAD).to_ndarray()
            except (av.FFmpegError, OSError, ValueError) as error:
                raise SourceError(f"{self._name} sent a picture that can't be converted: {error}.") from None
            return Frame(np.ascontiguousarray(picture), index, stamp)

        return convert

    def _reason(self, error: BaseException) -> str:
        text = getattr(error, "strerror", None) or str(error)
        if isinstance(error, TimeoutError) or "exit requested" in text.lower():
            return f"nothing came for {self._timeout:g} seconds"
        return text

    def close(self) -> None:
        """Closes the connection."""
        self._frames, self._held = iter(()), None
        if self._container is not None:
            self._container.close()


def _accelerator(decode: str) -> Any:
    if decode == "cpu":
        return None
    from av.codec.hwaccel import HWAccel, hwdevices_available

    there = hwdevices_available()
    if decode not in there:
        raise SourceError(
            f"workers.decode is {decode!r}, which this build of FFmpeg does not know; it is cpu or one of "
            f"{', '.join(there)}."
        )
    return HWAccel(device_type=decode, allow_software_fallback=True)
