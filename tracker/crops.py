"""The context crop around a box, and the mapping back to frame coordinates. Uses numpy and OpenCV only.

Coordinates are continuous: pixel k covers [k, k + 1), a box x, y, w, h covers [x, x + w) x [y, y + h), and an image of
n pixels has its centre at n / 2. One warp cuts, scales and pads at once: its cost depends on the size of the crop
alone, never on the size of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.types import Image

Colour = tuple[float, float, float]

LEAST_WIDENED = 0.5
"""Smallest scale at which the window's pixels are given a fourth channel before warping; at smaller scales the window
has too many pixels for this to pay."""
STRIP = 16384
"""Pixels of a crop that are warped in one call: both coordinate maps then fit in the cache, and a row stays shorter
than the 32767 that `cv2.remap` allows."""
LANES = 16
"""Columns that OpenCV's warp processes at once with AVX2."""


@dataclass(frozen=True)
class Crop:
    """A square window of the frame, sampled to `size` pixels.

    Attributes:
        left, top: Corner of the window in frame pixels (may lie outside the frame).
        scale: Crop pixels for each frame pixel.
        size: Side of the crop in crop pixels.
    """

    left: float
    top: float
    scale: float
    size: int

    @classmethod
    def around(cls, centre: ArrayLike, side: float, size: int) -> Crop:
        """The square window with a side of `side` frame pixels centred on `centre` (x, y), to be sampled to `size` crop
        pixels."""
        cx, cy = np.asarray(centre, dtype=np.float64)
        return cls(float(cx - side / 2), float(cy - side / 2), size / float(side), size)

    def to_crop(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """(..., 4) xywh in the frame -> xywh in the crop."""
        b = np.asarray(boxes, dtype=np.float64)
        return np.concatenate([(b[..., :2] - (self.left, self.top)) * self.scale, b[..., 2:] * self.scale], axis=-1)

    def cut(self, image: Image, fill: Colour, out: Image | None = None) -> Image:
        """Samples the pixels of the window.

        Args:
            image: BGR uint8 H x W x 3.
            fill: Colour (B, G, R) for pixels outside the image.
            out: A size x size x 3 uint8 array to write into, to avoid an allocation.

        Returns:
            BGR uint8 size x size x 3, bilinear.
        """
        if self.scale < LEAST_WIDENED:
            return self._warp(image, 0, 0, fill, out)
        # OpenCV warps four channels in less than half the time of three, and adding a channel is cheap because the
        # window has few pixels.
        (left, right), (top, bottom) = (
            self._span(at, n) for at, n in ((self.left, image.shape[1]), (self.top, image.shape[0]))
        )
        part: Image = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_BGR2BGRA)  # type: ignore[assignment]
        return cv2.cvtColor(self._warp(part, left, top, (*fill, 0.0)), cv2.COLOR_BGRA2BGR, dst=out)  # type: ignore[return-value]

    def cut_turned(self, image: Image, fill: Colour, angle: float) -> Image:
        """Samples the window rotated about its centre; equals `cut` where `angle` is 0.

        Args:
            image: BGR uint8 H x W x 3.
            fill: Colour (B, G, R) for pixels outside the image.
            angle: Clockwise rotation of the picture content, in degrees.

        Returns:
            BGR uint8 size x size x 3, bilinear.
        """
        if not angle:
            return self.cut(image, fill)
        step, middle = 1.0 / self.scale, self.size / 2 - 0.5  # pixel index at the middle of the crop
        cos, sin = step * math.cos(math.radians(angle)), step * math.sin(math.radians(angle))
        x, y = (at + self.size * step / 2 - 0.5 for at in (self.left, self.top))
        matrix = np.array(
            [[cos, sin, x - (cos + sin) * middle], [-sin, cos, y - (cos - sin) * middle]], dtype=np.float64
        )
        size, flags = (self.size, self.size), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        turned = cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
        return turned  # type: ignore[return-value]

    def _span(self, first: float, count: int) -> tuple[int, int]:
        """First and last (exclusive) row or column of the image that the window covers, plus one on each side; never
        empty."""
        begin = min(max(math.floor(first) - 1, 0), count - 1)
        return begin, max(min(math.ceil(first + self.size / self.scale) + 2, count), begin + 1)

    def _warp(self, image: Image, left: int, top: int, fill: Sequence[float], out: Image | None = None) -> Image:
        """Samples the window from an image whose first pixel is (left, top) of the frame.

        `cv2.warpAffine` splits even so small a job over all of OpenCV's threads, which take as long together and then
        busy-wait for more work. Their number is a setting of the whole process, so library code must not change it. The
        rows are therefore laid end to end as one row for `cv2.remap`, which does not split a single row.
        """
        size, channels = self.size, image.shape[2]
        made = out if out is not None and out.flags.c_contiguous else np.empty((size, size, channels), np.uint8)
        shift = 0.5 / self.scale - 0.5  # pixel centres: crop index u is at u + 0.5, frame index x at x + 0.5
        columns, rows = _places(1.0 / self.scale, self.left - left + shift, self.top - top + shift, size)
        step = max(min(STRIP // size, size), 1)
        across, down = np.empty((step, size), np.float32), np.empty((step, size), np.float32)
        across[:] = columns
        for first in range(0, size, step):
            count = min(step, size - first)
            down[:count] = rows[first : first + count, None]
            cv2.remap(
                image,
                across[:count].reshape(1, -1),
                down[:count].reshape(1, -1),
                cv2.INTER_LINEAR,
                dst=made[first : first + count].reshape(1, count * size, channels),
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=fill,
            )
        if out is None or out is made:
            return made
        out[:] = made
        return out


def _places(step: float, x: float, y: float, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The image coordinates of the columns and rows of a crop, rounded as `cv2.warpAffine` of OpenCV 5 rounds them.

    OpenCV uses a fused multiply-add where `LANES` columns are left, and two separate operations otherwise; numpy's
    float64 holds the product of two float32 exactly, so both can be reproduced.
    """
    index = np.arange(size, dtype=np.float32)
    product = index * np.float32(step)
    fused = (index.astype(np.float64) * np.float64(np.float32(step)) + np.float64(np.float32(x))).astype(np.float32)
    columns = product + np.float32(x)
    whole = size - size % LANES
    columns[:whole] = fused[:whole]
    return columns, product + np.float32(y)


def context_side(width: float, height: float, context: float = 0.5) -> float:
    """Side of the square template window around a box, in frame pixels.

    sqrt((w + 2p)(h + 2p)) with 2p = context * (w + h): SiamFC (Bertinetto et al. 2016), section 3.2.
    """
    return float(np.sqrt(context_area(width, height, context)))


def context_area(width: Any, height: Any, context: float = 0.5) -> Any:
    """`context_side` squared, of numbers or of arrays."""
    margin = context * (width + height)
    return (width + margin) * (height + margin)


def mean_colour(image: Image) -> Colour:
    """The mean colour (B, G, R) of an image, used to pad crops outside the frame."""
    b, g, r = cv2.mean(image)[:3]
    return b, g, r


@dataclass(frozen=True)
class SearchRegion:
    """The search windows for one target in one frame (several scales with the classic head).

    Attributes:
        crops: The windows.
        factors: Size of each window relative to the middle one.
        size: (2,) expected size of the target, frame pixels.
        frame: The image that the windows are cut from.
        fill: Padding colour outside the frame.
    """

    crops: list[Crop]
    factors: NDArray[np.float64]
    size: NDArray[np.float64]
    frame: Image
    fill: Colour

    @cached_property
    def pictures(self) -> list[Image]:
        """The crops, cut on first use: some engines cut on their device instead."""
        return [crop.cut(self.frame, self.fill) for crop in self.crops]

    @property
    def middle(self) -> int:
        return len(self.crops) // 2

    @property
    def picture(self) -> Image | None:
        """The middle crop; None if it was not cut here."""
        cut = vars(self).get("pictures")
        return None if cut is None else cut[self.middle]


def small_green(image: Image, window: tuple[int, int, int, int], step: int, halve: bool) -> NDArray[np.uint8]:
    """The green channel of a window, subsampled by an integer factor, for optical flow.

    Args:
        image: BGR uint8 H x W x 3.
        window: Left, top, right, bottom in pixels, inside the image.
        step: Take every `step`-th row and column.
        halve: Whether to halve the result once more by averaging 2 x 2 pixels, which OpenCV does in a twentieth of the
            time that other factors take.
    """
    left, top, right, bottom = window
    part: NDArray[Any] = (  # the first way takes a quarter of the time of the second
        cv2.extractChannel(image[top:bottom, left:right], 1)
        if step == 1
        else np.ascontiguousarray(image[top:bottom:step, left:right:step, 1])
    )
    if not halve:
        return part
    part = part[: part.shape[0] // 2 * 2, : part.shape[1] // 2 * 2]
    return cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
