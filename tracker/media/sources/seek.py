"""Random access to the frames of a video file: by seeking with the container's time stamps if they identify frames,
otherwise by decoding from the start."""

from __future__ import annotations

import bisect
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from tracker.errors import SourceError
from tracker.media.containers import file_address, is_cut_short, video_stream
from tracker.media.sources.decode import Converter, DamagedError, Decoder, reason
from tracker.media.sources.video import VideoFileSource, turn
from tracker.types import Image

logger = logging.getLogger(__name__)

PROBE = 24
"""Number of frames at the start that are decoded to check that time stamps identify frame numbers."""
NO_STAMPS = frozenset({"avi", "gif", "apng", "h264", "hevc", "mjpeg", "m4v", "mpegvideo", "yuv4mpegpipe"})
"""FFmpeg's names of formats without stored display times: what FFmpeg returns is made up while reading, and right only
in AVI without reordered frames."""
VP8_SHOWN = 0x10
"""Bit of a VP8 frame's first byte: it is displayed (RFC 6386, 9.1)."""


class FrameSeeker:
    """A video file with access to frames by number, each bit-identical to decoding from the start.

    Opening reads all packets once, without decoding them, and lists their time stamps. These are used for seeking if
    each frame has its own and the first frames decode to the first stamps, in order; otherwise the file is decoded from
    its start each time, which is slow but exact.

    Args:
        path: The file.

    Attributes:
        info: Size, rate and number of frames.
        sought: Whether time stamps identify frame numbers.

    Raises:
        SourceError: It can't be opened or decoded.
    """

    def __init__(self, path: Path) -> None:
        with VideoFileSource(path) as source:  # for its error messages on files that are not videos
            self.info, self._format = source.info, source.format
        self._path, self._threads = path, "AUTO"
        self._convert: Converter | None = None
        self._cut = is_cut_short(path)
        self._stamps: list[int] = []
        self._keys: list[int] = []
        self._open()
        try:
            self.sought = self._list() and self._agrees()
            if not self.sought:
                logger.info("%s: its time stamps don't identify its frames; it is decoded from its start.", path)
                with VideoFileSource(path) as source:
                    self._count = source.count()
        except BaseException:
            self.close()
            raise
        if self.sought:
            self._count = len(self._stamps)

    def __len__(self) -> int:
        return self._count

    def frames(self, index: int, before: int = 0) -> Iterator[tuple[int, Image]]:
        """Frames with their numbers, starting at most `before` frames before `index`, to the end of the file.

        Damaged frames are left out. A further call invalidates the iterator of the previous one.

        Raises:
            SourceError: The file can't be read any more.
        """
        first = max(0, index - before)
        try:
            if not self.sought:
                with VideoFileSource(self._path, first) as source:
                    for frame in source:
                        yield frame.index, frame.image
                return
            for number, raw in self._raw(index):
                if number >= first:
                    yield number, self._image(raw)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{self._path} failed at frame {index}: {reason(error)}.") from None

    def is_nearer(self, index: int, at: int) -> bool:
        """Whether seeking to frame `index` is faster than reading on to it from frame `at`."""
        return self.sought and self._keys[max(bisect.bisect_right(self._keys, index) - 1, 0)] > at

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._container.close()

    def _open(self) -> None:
        self._container: Any = av.open(file_address(self._path))
        self._stream: Any = video_stream(self._container, str(self._path))
        self._decoder = _FromKey(
            self._container, self._stream, str(self._path), threads=self._threads, strict=self._threads == "AUTO"
        )

    def _list(self) -> bool:
        """Lists the time stamps of all frames; False if they can't identify frame numbers."""
        form = self._format.split(",")[0]
        if form in NO_STAMPS and not (form == "avi" and self._stream.codec_context.codec.intra_only):
            return False
        stamps: list[int] = []
        keys: list[int] = []
        latest = None
        vp8 = self._stream.codec_context.name == "vp8"
        try:
            for packet in self._container.demux(self._stream):
                if not packet.size or packet.is_discard or (self._cut and packet.is_corrupt):
                    continue
                if packet.pts is None:
                    return False
                if vp8 and not memoryview(packet)[0] & VP8_SHOWN:
                    continue
                if not keys and not packet.is_keyframe:
                    continue  # a recording that begins between two key frames
                if packet.is_keyframe:
                    if latest is not None and packet.pts <= latest:
                        return False  # the stamps start again: concatenated recordings
                    keys.append(packet.pts)
                if packet.pts >= keys[0]:
                    stamps.append(packet.pts)
                    latest = packet.pts if latest is None else max(latest, packet.pts)
        except (av.FFmpegError, OSError):
            return False
        self._stamps = sorted(stamps)
        self._keys = sorted(bisect.bisect_left(self._stamps, key) for key in set(keys))
        return bool(stamps) and all(a < b for a, b in itertools.pairwise(self._stamps))

    def _agrees(self) -> bool:
        """Whether the first frames match the first stamps: fields and hidden frames have packets of their own."""
        wanted = min(PROBE, len(self._stamps))
        try:
            return [number for number, _ in itertools.islice(self._session(None), wanted)] == list(range(wanted))
        except (av.FFmpegError, OSError, ValueError):
            return False

    def _raw(self, index: int) -> Iterator[tuple[int, Any]]:
        """PyAV's frames with their numbers, from a key frame at or before `index`."""
        for place in self._places(index):
            frames = self._session(place, index)
            found = next(frames, None)
            if found is None or found[0] > index:  # a seek may end too late, or frames may need earlier data
                continue
            yield found
            yield from frames
            return

    def _places(self, index: int) -> Iterator[int | None]:
        """Key frames to start from, nearest first; None is the start of the file."""
        last, back = bisect.bisect_right(self._keys, index) - 1, 0
        while last - back > 0:
            yield self._keys[last - back]
            back = 2 * back or 1
        yield None

    def _session(self, place: int | None, index: int = 0) -> Iterator[tuple[int, Any]]:
        """PyAV's frames with their numbers from a key frame on; nothing if the seek ended after `index`.

        After the first damage a single thread decodes, as in `VideoFileSource`.
        """
        given = -1
        for _ in range(2):
            try:
                for number, frame in self._decoded(place, index):
                    if number > given:
                        yield number, frame
                        given = number
                return
            except DamagedError:
                self._threads = "NONE"

    def _decoded(self, place: int | None, index: int) -> Iterator[tuple[int, Any]]:
        if place is None or self._threads != self._decoder.threads:
            self._container.close()
            self._open()
        if place is not None:
            self._container.seek(self._stamps[place], stream=self._stream, backward=True)
        self._decoder.restart(self._stamps[index] if place is not None else None)
        for frame in self._decoder:
            first = self._decoder.first
            if frame.pts is None or first is None or frame.pts < first:
                continue  # precedes the key frame in display order, and needs earlier data
            number = bisect.bisect_left(self._stamps, frame.pts)
            if number < len(self._stamps) and self._stamps[number] == frame.pts:
                yield number, frame

    def _image(self, frame: Any) -> Image:
        if self._convert is None:
            self._convert = Converter(str(self._path), turn(frame))
        return self._convert(frame)


class _FromKey(Decoder):
    """A decoder that skips everything before the first key frame.

    Attributes:
        threads: As in `Decoder`.
        first: Time stamp of that key frame, or None before it.
    """

    def __init__(self, container: Any, stream: Any, name: str, *, threads: str, strict: bool) -> None:
        super().__init__(container, stream, name, threads=threads, strict=strict)
        self.threads = threads
        self.first: int | None = None
        self._latest: int | None = None

    def restart(self, latest: int | None) -> None:
        """Resets after a seek; a key frame after `latest` ends the iteration."""
        self.first, self._latest, self._any, self.draining, self._error = None, latest, False, False, None

    def _packets(self) -> Iterator[Any]:
        for packet in super()._packets():
            if self.first is None and packet.size:
                if not packet.is_keyframe:
                    continue
                self.first = packet.pts
                if self._latest is not None and packet.pts is not None and packet.pts > self._latest:
                    return
            yield packet
