"""Conversion of a user's images, files or texts to the input of an encoder."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracker.errors import ImageError, SourceError
from tracker.geometry import check_box
from tracker.matching.config import InputConfig
from tracker.matching.text import encode_texts
from tracker.media.images import decode_image, read_image, to_bgr8
from tracker.types import Image

Rect = tuple[float, float, float, float]
"""x, y, w, h in pixels, as a plain tuple, since a sample is used as a key."""


@dataclass(frozen=True)
class ImageSample:
    """One image as a source names it.

    Attributes:
        path: Its file, or a zip.
        member: Its name inside the zip; empty for a plain file.
        box: x, y, w, h of the relevant part, pixels; None: all of it.
    """

    path: Path
    member: str = ""
    box: Rect | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    def read(self) -> Image:
        """The image, BGR uint8, cut to the box.

        Raises:
            SourceError: It is missing or not an image.
        """
        if not self.member:
            if not self.path.is_file():
                raise SourceError(f"The picture {self.path} does not exist; correct the list or leave its line out.")
            try:
                image = _from_file(self.path)
            except ImageError as error:
                raise SourceError(str(error)) from None
        else:
            image = _from_zip(self.path, self.member)
        return image if self.box is None else cut(image, self.box, str(self))


@dataclass(frozen=True)
class Region:
    """An object in a larger image.

    Attributes:
        image: H x W x 3 BGR uint8, or a file name.
        box: x, y, w, h of the thing, pixels.
    """

    image: Any
    box: Rect


def _from_zip(path: Path, member: str) -> Image:
    try:
        data = _archive(str(path)).read(member)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"The picture {member} in {path} can't be read: {error}.") from None
    try:
        return decode_image(data, f"The picture {member} in {path}")
    except ImageError as error:
        raise SourceError(str(error)) from None


@lru_cache(16)
def _from_file(path: Path) -> Image:
    """Cached as read-only, since crops of one image share it."""
    image = read_image(path)
    image.setflags(write=False)
    return image


@lru_cache(8)
def _archive(path: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def cut(image: Image, box: Sequence[float], where: str = "the picture") -> Image:
    """The part of an image inside a box, as far as it exists.

    Raises:
        BoxError: The box has no part inside the picture.
    """
    height, width = image.shape[:2]
    x, y, w, h = check_box(box, width, height)
    left, top = max(round(x), 0), max(round(y), 0)
    right, bottom = min(round(x + w), width), min(round(y + h), height)
    return image[top : max(bottom, top + 1), left : max(right, left + 1)]


def fit(image: Image, config: InputConfig) -> Image:
    """Resizes an image to the input size of an encoder: H x W x 3 uint8.

    Args:
        image: BGR uint8.
        config: Size, and whether the aspect ratio is kept.
    """
    size = (config.width, config.height)
    if config.fit == "pad":
        height, width = image.shape[:2]
        scale = min(size[0] / width, size[1] / height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).mean(0)
        out = np.empty((size[1], size[0], 3), np.uint8)
        out[:] = border.round()
        left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
        out[top : top + inner[1], left : left + inner[0]] = resize(image, inner)
        image = out
    elif image.shape[1::-1] != size:
        image = resize(image, size)
    return image


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resizes an image to (width, height)."""
    smaller = size[0] * size[1] < image.shape[0] * image.shape[1]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8)


def stack(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Images of one size -> (B, 3, H, W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)))


def as_batch(items: Any, config: InputConfig) -> Tensor:
    """Converts a user's items to the input of an encoder.

    Args:
        items: One image (array or file name), one text, or a sequence of them.
        config: The kind of input.

    Returns:
        (B, 3, H, W) uint8 for pictures, (B, T, G) int64 for texts.

    Raises:
        ImageError, SourceError, TextError: Something that can't be read.
    """
    if config.modality == "text":
        return encode_texts([items] if isinstance(items, str) else list(items), config)
    one = isinstance(items, (str, Path, ImageSample, Region)) or (isinstance(items, np.ndarray) and items.ndim <= 3)
    pictures = [open_picture(item) for item in ([items] if one else items)]
    if not pictures:
        return torch.empty(0, 3, config.height, config.width, dtype=torch.uint8)
    return stack([fit(picture, config) for picture in pictures])


def open_picture(item: Any) -> Image:
    """Reads an array or a file as BGR uint8.

    Raises:
        ImageError, SourceError: It can't be read.
    """
    if isinstance(item, ImageSample):
        return item.read()
    if isinstance(item, Region):
        return cut(open_picture(item.image), item.box)
    return ImageSample(Path(item)).read() if isinstance(item, (str, Path)) else to_bgr8(item)
