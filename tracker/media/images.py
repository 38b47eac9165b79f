"""Pictures of any kind to BGR uint8, in the one place where that happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tracker.errors import ImageError
from tracker.types import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""File name endings that a folder of images is made of (lower case)."""


def to_bgr8(image: Any) -> Image:
    """A picture as the trackers read it.

    Gray becomes three equal channels, alpha is dropped, bool becomes 0 and 255. 16-bit values are divided by 257, so that
    0..65535 fills 0..255: a fixed scale, because one fitted to each frame would make the brightness of a video flicker.
    Float images are refused: whether a dark one runs to 1 or to 255 can't be told from its values.

    Args:
        image: H x W, H x W x 1, H x W x 3 (BGR) or H x W x 4 (BGRA) array of bool, uint8 or uint16.

    Returns:
        H x W x 3 BGR uint8, contiguous; the array itself, not a copy, when it is that already.

    Raises:
        ImageError: Not such an array, or without pixels.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(f"The image is a {type(image).__name__}, not a numpy array; give H x W x 3 BGR uint8.")
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size and image.flags.c_contiguous:
        return image  # what every frame of a video is
    shape = " x ".join(str(n) for n in image.shape) or "scalar"
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        hint = " It looks channels-first: use image.transpose(1, 2, 0)." if image.ndim == 3 and image.shape[0] in (1, 3, 4) else ""
        raise ImageError(f"The image has shape {shape}; give H x W (gray), H x W x 3 (BGR) or H x W x 4 (BGRA).{hint}")
    if image.size == 0:
        raise ImageError(f"The image has shape {shape}: no pixels; give at least 1 x 1.")
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    elif image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise ImageError(
            f"The image has {image.dtype} values, which are not scaled by guess; convert it first: "
            "(image * 255).astype('uint8') if it runs from 0 to 1, image.astype('uint8') if it runs from 0 to 255."
        )
    if image.ndim == 2 or image.shape[2] == 1:
        return np.ascontiguousarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2BGR))
    return np.ascontiguousarray(image[..., :3])


def read_image(path: str | Path) -> Image:
    """An image file as BGR uint8, turned as its EXIF orientation says.

    Args:
        path: A file of any kind that OpenCV decodes: gray, palette, 16-bit, with alpha.

    Returns:
        H x W x 3 BGR uint8.

    Raises:
        ImageError: The file can't be read, isn't an image, or is cut short; the sentence names it.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"The image {path} can't be read: {error.strerror or error}.") from None
    if is_cut_short(data):
        raise ImageError(f"The image {path} is cut short: its end is missing; copy or export it again.")
    # ANYDEPTH | COLOR, not UNCHANGED: OpenCV turns by EXIF and expands palettes only then.
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(f"The image {path} can't be decoded: it is damaged or not an image ({len(data)} bytes).")
    try:
        return to_bgr8(image)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def is_cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG ends before its end marker; OpenCV would show the missing part gray, with no error."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in data
    if not data.startswith(b"\xff\xd8"):
        return False
    # Walk the header's segments to the start of scan: thumbnails in them have end markers of their own.
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) < 0


def fit_into(image: Image, width: int, height: int) -> Image:
    """The image scaled to fit a width x height picture, centred, with black bars where its shape differs."""
    scale = min(width / image.shape[1], height / image.shape[0])
    w, h = max(1, min(width, round(image.shape[1] * scale))), max(1, min(height, round(image.shape[0] * scale)))
    out = np.zeros((height, width, 3), np.uint8)
    x, y = (width - w) // 2, (height - h) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out[y : y + h, x : x + w] = image if scale == 1 else cv2.resize(image, (w, h), interpolation=how)
    return out
