"""Information from a video container: which of its streams is the video, and whether the file is complete."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import IO, Any

from tracker.errors import SourceError

logger = logging.getLogger(__name__)

COVER = 0x0400 | 0x0800
"""FFmpeg's dispositions of streams that are images rather than video: attached_pic, timed_thumbnails
(libavformat/avformat.h)."""

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .3gp .mkv .webm .avi .mpg .mpeg .m2v .vob .ts .mts .m2ts .wmv .flv .ogv .mxf .gif".split()
    + ".h264 .264 .hevc .265 .mjpeg .mjpg".split()
)
"""File name suffixes that count as videos when a folder is searched (lower case); a file given by name may have any."""

MP4_BOXES = frozenset(
    {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot", b"sidx", b"uuid"}
)


def file_address(path: Path) -> str:
    """A path in the form that FFmpeg needs: with its protocol, or a name like `a:b.mp4` would be parsed as protocol
    `a`."""
    return f"file:{path}"


def video_stream(container: Any, name: str) -> Any:
    """The stream that players show: the one that the container marks as default or FFmpeg ranks best, never a cover
    image.

    Raises:
        SourceError: There is none.
    """
    if container.format.name == "tty":  # FFmpeg renders text files like a terminal, which is never wanted here
        raise SourceError(f"Can't open {name}: it is text, not a video.")
    # An enum.Flag, which can't be compared with a number, in PyAV 15; an IntFlag from 16 on.
    videos = [s for s in container.streams.video if not getattr(s.disposition, "value", 0) & COVER]
    if not videos:
        others = (
            f"only a cover picture and {len(container.streams)} streams in all"
            if container.streams.video
            else "only other streams"
        )
        raise SourceError(
            f"Can't open {name}: it has no video, {others if len(container.streams) else 'and no stream at all'}."
        )
    best = container.streams.best("video")
    stream = next((s for s in videos if best is not None and s.index == best.index), videos[0])
    if len(videos) > 1:
        logger.warning("%s holds %d videos; number %d of its streams is read.", name, len(videos), stream.index)
    return stream


def is_cut_short(path: Path) -> bool:
    """Whether a file ends earlier than its container declares: MP4 by its boxes (ISO/IEC 14496-12, 4.2), Matroska by
    the size of its segment (RFC 8794, 6), AVI by its RIFF chunks, GIF and PNG by their trailers, FLV by the size of its
    last tag, YUV4MPEG2 by the size of a frame, concatenated JPEGs by the end of the last. Containers that declare no
    size (MPEG-TS and -PS, raw streams) never count as cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        if head[4:8] in MP4_BOXES:
            return _mp4_is_cut(file, size)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return _matroska_is_cut(file, size)
        if head[:4] == b"RIFF":
            return _riff_is_cut(file, size)
        if head[:4] == b"GIF8":
            return not _tail(file, size, 64).rstrip(b"\0").endswith(b"\x3b")
        if head.startswith(b"\x89PNG"):
            return b"IEND\xae\x42\x60\x82" not in _tail(file, size, 1 << 16)
        if head.startswith(b"FLV\x01"):
            return _flv_is_cut(file, size)
        if head.startswith(b"YUV4MPEG2 "):
            return _yuv4mpeg_is_cut(file, size)
        if head.startswith(b"\xff\xd8\xff"):
            tail = _tail(file, size, 1 << 22)
            return tail.rfind(b"\xff\xd9") < tail.rfind(b"\xff\xd8\xff")
    return False


def _tail(file: IO[bytes], size: int, count: int) -> bytes:
    file.seek(max(0, size - count))
    return file.read()


def _flv_is_cut(file: IO[bytes], size: int) -> bool:
    """Each tag is followed by its size (Adobe Flash Video File Format 10.1, E.3)."""
    length = int.from_bytes(_tail(file, size, 4), "big")
    if not 11 <= length <= size - 4:
        return True
    file.seek(size - 4 - length)
    head = file.read(4)
    return head[0] & 0x1F not in (8, 9, 18) or 11 + int.from_bytes(head[1:], "big") != length


def _yuv4mpeg_is_cut(file: IO[bytes], size: int) -> bool:
    """Frames have one size, each after a line FRAME (yuv4mpeg(5)); False if that line has parameters."""
    file.seek(0)
    header = file.readline(4096)
    words = {word[:1]: word[1:] for word in header.split()[1:]}
    if file.readline(80) != b"FRAME\n" or not (words.get(b"W", b"").isdigit() and words.get(b"H", b"").isdigit()):
        return False
    width, height, kind = int(words[b"W"]), int(words[b"H"]), words.get(b"C", b"420")
    half_w, half_h = (width + 1) // 2, (height + 1) // 2
    planes = {b"420": 2 * half_w * half_h, b"422": 2 * half_w * height, b"444": 2 * width * height, b"mono": 0}
    bare = next((name for name in planes if kind.startswith(name)), b"")
    if not bare or kind.startswith(b"444alpha"):
        return False
    deep = kind[len(bare) :].startswith((b"p1", b"1"))
    return (size - len(header)) % ((width * height + planes[bare]) * (2 if deep else 1) + 6) != 0


def _mp4_is_cut(file: IO[bytes], size: int) -> bool:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: to the end of the file; other values are invalid
            return False
        if at + length > size:
            return kind in (b"mdat", b"moof", b"moov")
        at += length
    return False


def _matroska_is_cut(file: IO[bytes], size: int) -> bool:
    file.seek(4)
    length = _vint(file)
    if length is None:
        return False
    file.seek(length, 1)
    if file.read(4) != b"\x18\x53\x80\x67":
        return False
    length = _vint(file)
    return length is not None and file.tell() + length > size


def _vint(file: IO[bytes]) -> int | None:
    """A variable-length integer of EBML (RFC 8794, 4), or None if it is "unknown" or invalid."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    count = 8 - first[0].bit_length()
    mask = (1 << (7 - count)) - 1
    value = int.from_bytes(bytes([first[0] & mask]) + file.read(count), "big")
    return None if value == (1 << (7 * (count + 1))) - 1 else value


def _riff_is_cut(file: IO[bytes], size: int) -> bool:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)
        if head[:4] != b"RIFF":
            return False
        at += 8 + int.from_bytes(head[4:], "little")
        at += at % 2
    return at > size + 8
