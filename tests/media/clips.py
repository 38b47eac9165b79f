"""Small video files for the tests of the media room, written with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest


def numbered(index: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A frame whose left half says its number in eight black or white bars (survives compression); the right is
    textured."""
    image = np.zeros((height, width, 3), np.uint8)
    for bit in range(8):
        image[bit * height // 8 : (bit + 1) * height // 8] = 255 * (index >> bit & 1)
    image[:, width // 2 :] = np.random.default_rng(0).integers(0, 255, (height, width - width // 2, 1), dtype=np.uint8)
    return image


def number_of(image: np.ndarray) -> int:
    """The number that `numbered` wrote."""
    height, width = image.shape[:2]
    return sum(
        1 << bit for bit in range(8) if image[(2 * bit + 1) * height // 16, width // 8 : width // 4].mean() > 127
    )


def write_clip(
    path: Path,
    images: Sequence[np.ndarray],
    rate: Fraction = Fraction(25),
    *,
    stamps: Sequence[int] | None = None,
    base: Fraction | None = None,
    options: dict[str, str] | None = None,
    rotate: int = 0,
    codec: str = "libx264",
    more: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    form: str | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Encode images; `stamps` in units of `base` make the rate variable, `rotate` writes a display matrix, `more` goes
    to the encoder."""
    plain = {"crf": "12", "preset": "veryfast"} if codec == "libx264" else {}
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options={**plain, **(more or {})})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotate and path.suffix not in TRACK_HEADERS:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV can't write a turn into such a file")
            stream.set_display_rotation(rotate)
        stream.codec_context.gop_size = 20
        stream.codec_context.time_base = base or 1 / rate
        for k, image in enumerate(images):
            if pix_fmt == "yuv420p":
                frame = av.VideoFrame.from_ndarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), format="yuv420p")
            else:
                frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = (stamps[k] if stamps else k), base or 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if rotate and path.suffix in TRACK_HEADERS:
        write_rotation(path, rotate)
    return path


TRACK_HEADERS = (".mp4", ".mov")
"""Suffixes of files whose track header holds the turn."""


def write_rotation(path: Path, degrees: int) -> None:
    """Writes a turn to the left into an MP4's track header (ISO 14496-12, 8.3.2): not every PyAV has a call for it."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # behind type, version 0, times, number, duration, layer and volume
    cosine, sine = round(65536 * np.cos(np.radians(degrees))), round(65536 * np.sin(np.radians(degrees)))
    data[at : at + 36] = np.array([cosine, -sine, 0, sine, cosine, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)
