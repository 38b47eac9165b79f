"""Whether the bytes of a picture are whole: decoders fill what is missing with grey and say nothing."""

from __future__ import annotations

import zlib

import numpy as np

from tracker.types import Image

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
ZEROS = bytes(32)
"""A run of zeros inside a JPEG's scan: a sector that was never written. Rare in whole files, so it only arouses suspicion."""


def structure_fault(data: bytes) -> str:
    """What is wrong with a picture file as its container tells without decoding; "" where nothing is.

    JPEG: its end marker is there. PNG: every chunk is there with its checksum (ISO/IEC 15948, 5.3). WebP: as long as its header
    says. An animation is no single picture.
    """
    if data.startswith(JPEG):
        return "" if data.find(b"\xff\xd9", scan_start(data)) >= 0 else "it is cut short: its end is missing"
    if data.startswith(PNG):
        return _png_fault(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        if len(data) < 8 + int.from_bytes(data[4:8], "little"):
            return "it is cut short: its end is missing"
        return ANIMATED if is_animated(data) else ""
    return ""


ANIMATED = "it is an animation, not one picture; give the file by itself as the source, or take its pictures apart"


def is_animated(data: bytes) -> bool:
    """Whether the first bytes of a PNG or WebP file announce an animation."""
    if data.startswith(PNG):
        image_data = data.find(b"IDAT")
        return 0 <= data.find(b"acTL", 0, image_data if image_data >= 0 else len(data)) < len(data)
    return data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) > 20 and bool(data[20] & 0x02)


def scan_start(data: bytes) -> int:
    """Where a JPEG's first scan begins: behind the header's segments, whose thumbnails have end markers of their own."""
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
        critical = not kind[0] & 0x20  # the bit that tells which chunks a reader can't do without
        if critical and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return f"it is damaged: the checksum of its part {kind.decode('latin-1')} is wrong"
        if kind == b"IEND":
            return ""
        at = end
    return "it is cut short: its end is missing"


def scan_fault(data: bytes, image: Image) -> str:
    """What is wrong inside a JPEG that has its end marker; "" where nothing is found.

    libjpeg goes on with zeros where a scan ends early, which leaves the last block without any detail. Only where it has none,
    where zeros fill a part of the scan, or where the scans are progressive, the file is decoded once more by FFmpeg, which
    tells. A changed byte that leaves as many blocks as before can't be told from another picture.

    Args:
        data: The file.
        image: H x W x 3, its picture, not turned or turned by quarters.
    """
    if not data.startswith(JPEG):
        return ""
    corners = (image[-8:, -8:], image[:8, -8:], image[-8:, :8], image[:8, :8])  # whichever is last in the file
    plain = any(np.ptp(block.reshape(-1, block.shape[-1]), axis=0).max() <= 1 for block in corners)
    progressive = b"\xff\xc2" in data[: scan_start(data)]
    if not (plain or progressive or ZEROS in data[scan_start(data) :]):
        return ""
    return "it is damaged: a part of its picture is missing" if _ffmpeg_refuses(data) else ""


def _ffmpeg_refuses(data: bytes) -> bool:
    """Whether FFmpeg's JPEG decoder finds an error in the scans (and knows the kind of JPEG at all)."""
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
