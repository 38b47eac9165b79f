"""Conversion of all kinds of images to BGR uint8, and their encoding; the only module that does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.errors import ImageError, OutputError
from tracker.media.damage import scan_fault, structure_fault
from tracker.types import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""File name suffixes of the images of a folder (lower case)."""


def to_bgr8(image: Any) -> Image:
    """Converts an image to the format of the trackers.

    Gray becomes three equal channels, alpha is dropped, bool becomes 0 and 255. 16-bit values are divided by 257, so
    that
    0..65535 fills 0..255: a fixed scale, because one fitted to each frame would make the brightness of a video flicker.
    Float images are refused: whether a dark one runs to 1 or to 255 can't be told from its values.

    Args:
        image: H x W, H x W x 1, H x W x 3 (BGR) or H x W x 4 (BGRA) array of bool, uint8 or uint16; a PIL image (RGB is
            turned into BGR); or a torch tensor of uint8, BGR, H x W x 3 or 3 x H x W.

    Returns:
        H x W x 3 BGR uint8, contiguous; the array itself, not a copy, if it already has this format.

    Raises:
        ImageError: Not such an array, or without pixels.
    """
    if not isinstance(image, np.ndarray):
        image = _array_of(image)
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size and image.flags.c_contiguous:
        return image  # the case of every video frame
    shape = " x ".join(str(n) for n in image.shape) or "scalar"
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        hint = (
            " It looks channels-first: use image.transpose(1, 2, 0)."
            if image.ndim == 3 and image.shape[0] in (1, 3, 4)
            else ""
        )
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


def _array_of(image: Any) -> NDArray[Any]:
    """The array of a PIL image or a torch tensor, recognised by their methods, so that neither package is imported."""
    if hasattr(image, "convert") and hasattr(image, "getbands"):
        return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    if hasattr(image, "detach") and hasattr(image, "cpu"):
        array = np.asarray(image.detach().cpu().numpy())
        channels_first = array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3
        return np.ascontiguousarray(array.transpose(1, 2, 0)) if channels_first else array
    raise ImageError(
        f"The image is a {type(image).__name__}, not a numpy array; give H x W x 3 BGR uint8, a PIL image or a torch "
        "tensor."
    )


def read_image(path: str | Path) -> Image:
    """Reads an image file as BGR uint8, rotated according to its EXIF orientation; all images are read by it.

    Args:
        path: A file in any format that OpenCV decodes: gray, palette, 16-bit, with alpha.

    Returns:
        H x W x 3 BGR uint8.

    Raises:
        ImageError: The file can't be read, isn't an image, is damaged or truncated, or contains several images; the
            sentence names it.
    """
    return decode_image(_bytes_of(path), f"The image {path}")


def decode_image(data: bytes, name: str, *, thorough: bool = True) -> Image:
    """Decodes the bytes of an image file to BGR uint8, with the checks of `read_image`.

    Args:
        data: The file.
        name: Start of an error message, for example "The image a.jpg".
        thorough: Whether to look for damage inside a JPEG too, not only for its end; not needed for data that we
            encoded.

    Returns:
        H x W x 3 BGR uint8.

    Raises:
        ImageError: As `read_image`.
    """
    # ANYDEPTH | COLOR, not UNCHANGED: only then OpenCV applies the EXIF orientation and expands palettes.
    image = _decode(data, name, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    fault = scan_fault(data, image) if thorough else ""
    if fault:
        raise ImageError(f"{name} can't be used: {fault}; copy or export it again.")
    try:
        return to_bgr8(image)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None


def read_alpha(path: str | Path) -> NDArray[np.uint8]:
    """Reads an image file with an alpha channel as H x W x 4 BGRA uint8; without EXIF rotation, which such files do not
    have.

    Raises:
        ImageError: As `read_image`, or it has no alpha channel.
    """
    image = _decode(_bytes_of(path), f"The image {path}", cv2.IMREAD_UNCHANGED)
    if image.ndim != 3 or image.shape[2] != 4:
        raise ImageError(f"The image {path} has no alpha channel; save it as PNG or WebP with transparency.")
    return np.ascontiguousarray(
        image if image.dtype == np.uint8 else (image.astype(np.uint32) + 128) // 257, dtype=np.uint8
    )


def read_labels(path: str | Path) -> NDArray[Any]:
    """The stored values of a mask file, H x W or H x W x C of uint8 or uint16, palette colours in BGR order.

    Raises:
        ImageError: As `read_image`.
    """
    return _decode(_bytes_of(path), f"The mask {path}", cv2.IMREAD_UNCHANGED)


def _bytes_of(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise ImageError(f"The image {path} can't be read: {getattr(error, 'strerror', None) or error}.") from None


def _decode(data: bytes, name: str, flags: int) -> NDArray[Any]:
    fault = structure_fault(data)
    if fault:
        raise ImageError(f"{name} can't be used: {fault}.")
    try:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(f"{name} can't be decoded: it is damaged, empty or not an image ({len(data)} bytes).")
    return np.asarray(image)


def encode_image(image: Image, suffix: str = ".jpg", quality: int = 95) -> bytes:
    """An image as the bytes of a file.

    Args:
        image: BGR uint8.
        suffix: The format, as the suffix of a file name.
        quality: JPEG only: 0 to 100.

    Raises:
        OutputError: It can't be encoded.
    """
    done, data = cv2.imencode(suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else [])
    if not done:
        raise OutputError(f"A picture of {image.shape[1]} x {image.shape[0]} pixels can't be encoded as {suffix}.")
    return data.tobytes()


def fit_into(image: Image, width: int, height: int) -> Image:
    """The image scaled to fit a width x height picture, centred, with black bars where its shape differs."""
    scale = min(width / image.shape[1], height / image.shape[0])
    w, h = max(1, min(width, round(image.shape[1] * scale))), max(1, min(height, round(image.shape[0] * scale)))
    out = np.zeros((height, width, 3), np.uint8)
    x, y = (width - w) // 2, (height - h) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out[y : y + h, x : x + w] = image if scale == 1 else cv2.resize(image, (w, h), interpolation=how)
    return out
