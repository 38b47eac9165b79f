"""Detection of damaged images: decoders fill missing parts with grey without reporting it."""

from __future__ import annotations

import zlib
from typing import Any

from tracker.types import Image

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
GREY = 128
"""Value that libjpeg leaves where a scan ends early."""

UNWRITTEN = bytes(64)
"""A run of this many zero bytes is either sectors that were never written, or a flat part of the image."""


def structure_fault(data: bytes) -> str:
    """The fault of an image file that its container reveals without decoding; "" if there is none.

    JPEG: the end marker is present. PNG: every chunk is present with its checksum (ISO/IEC 15948, 5.3). WebP: the
    length matches the header. Animations and TIFF files with several pages are refused, since they are not a single
    image.
    """
    if data.startswith(JPEG):
        return "" if data.rfind(b"\xff\xd9", scan_start(data)) >= 0 else "it is cut short: its end is missing"
    if data.startswith(PNG):
        return _png_fault(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        if len(data) < 8 + int.from_bytes(data[4:8], "little"):
            return "it is cut short: its end is missing"
        return ANIMATED if is_animated(data) else ""
    if data[:4] in TIFF and tiff_pages(data) > 1:
        return f"it holds {tiff_pages(data)} pages, not one picture; save each page as a file of its own"
    return ""


TIFF = {b"II*\0": "little", b"MM\0*": "big"}


def tiff_pages(data: bytes) -> int:
    """Pages of a TIFF file (TIFF 6.0, section 2) without reduced copies; 1 if its directories are invalid."""
    order: Any = TIFF[data[:4]]

    def value(at: int, length: int) -> int:
        return int.from_bytes(data[at : at + length], order)

    pages, at, seen = 0, value(4, 4), set[int]()
    while at and at not in seen and at + 2 <= len(data):
        seen.add(at)
        count = value(at, 2)
        entries = range(at + 2, at + 2 + 12 * count, 12)
        reduced = any(value(entry, 2) == 254 and value(entry + 8, 4) & 1 for entry in entries)  # NewSubfileType
        pages += not reduced
        at = value(at + 2 + 12 * count, 4)
    return max(pages, 1)


ANIMATED = "it is an animation, not one picture; give the file by itself as the source, or take its pictures apart"


def is_animated(data: bytes) -> bool:
    """Whether the first bytes of a PNG or WebP file announce an animation."""
    if data.startswith(PNG):
        image_data = data.find(b"IDAT")
        return 0 <= data.find(b"acTL", 0, image_data if image_data >= 0 else len(data)) < len(data)
    return data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) > 20 and bool(data[20] & 0x02)


def scan_start(data: bytes) -> int:
    """Offset of a JPEG's first scan: after the header's segments, whose thumbnails have end markers of their own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def _png_fault(data: bytes) -> str:
    at = len(PNG)
    view = memoryview(data)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            break
        if kind == b"acTL":
            return ANIMATED
        critical = not kind[0] & 0x20  # the bit that marks critical chunks
        if critical and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return f"it is damaged: the checksum of its part {kind.decode('latin-1')} is wrong"
        if kind == b"IEND":
            return ""
        at = end
    return "it is cut short: its end is missing"


def scan_fault(data: bytes, image: Image) -> str:
    """The fault inside a JPEG that has its end marker; "" if none is found.

    libjpeg leaves blocks grey where a scan ends early. Only if the last block is grey, if zeros fill a part of the
    scan, or if the scans are progressive, the file is decoded again by FFmpeg, which reports errors. A changed byte
    that leaves the number of blocks unchanged can't be detected.

    Args:
        data: The file.
        image: H x W x 3, the decoded image, possibly rotated by quarter turns.
    """
    if not data.startswith(JPEG):
        return ""
    start = scan_start(data)
    last = [image[-4:, -4:]]
    if data.find(b"Exif", 0, start) >= 0:  # the image may have been rotated: check the corner that is last in the file
        last += [image[:4, -4:], image[-4:, :4], image[:4, :4]]
    grey = any(bool((block == GREY).all()) for block in last)
    progressive, zeros = data.find(b"\xff\xc2", 0, start) >= 0, data.find(UNWRITTEN, start) >= 0
    if not (grey or progressive or zeros):
        return ""
    unwritten = zeros and not progressive and not _zeros_mean_flat(data[:start])
    return "it is damaged: a part of its picture is missing" if unwritten or _ffmpeg_refuses(data) else ""


def _zeros_mean_flat(header: bytes) -> bool:
    """Whether zero bits encode blocks without detail in a JPEG: the all-zero code of each AC table is "end of block".

    In the usual table for luminance it is "a coefficient of 1", so that a run of zeros would be a pattern that no real
    image has (ITU-T T.81, F.1.2.2, K.3).
    """
    at = 2
    while at + 4 <= len(header):
        kind, length = header[at + 1], int.from_bytes(header[at + 2 : at + 4], "big")
        inside, end = at + 4, at + 2 + length
        while kind == 0xC4 and inside + 18 <= end:
            count = sum(header[inside + 1 : inside + 17])
            if header[inside] >> 4 and count and header[inside + 17]:
                return False
            inside += 17 + count
        at = end
    return True


def _ffmpeg_refuses(data: bytes) -> bool:
    """Whether FFmpeg's JPEG decoder finds an error in the scans (and supports this kind of JPEG)."""
    import av

    context = av.CodecContext.create("mjpeg", "r")
    context.options = {"err_detect": "explode"}
    context.thread_count = 1
    try:
        context.decode(av.Packet(data))  # type: ignore[attr-defined]
    except av.error.InvalidDataError:
        return True
    except av.FFmpegError:
        return False
    return False
