"""The context crop around a box, and the way back to the frame. numpy and OpenCV only.

Coordinates are continuous: pixel k covers [k, k + 1), a box x, y, w, h covers [x, x + w) x [y, y + h), and an image of n
pixels has its centre at n / 2. One warp cuts, scales and pads at once: its cost depends on the size of the crop alone,
never on the size of the frame.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.types import Image

Colour = tuple[float, float, float]

LEAST_WIDENED = 0.5
"""Scale from which on a window's pixels get a fourth channel before they are warped: below, they are too many."""


_WARPING = threading.Lock()


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
        """The window of `side` frame pixels around `centre` (x, y), to be sampled to `size` crop pixels."""
        cx, cy = np.asarray(centre, dtype=np.float64)
        return cls(float(cx - side / 2), float(cy - side / 2), size / float(side), size)

    def to_crop(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """(..., 4) xywh in the frame -> xywh in the crop."""
        b = np.asarray(boxes, dtype=np.float64)
        return np.concatenate([(b[..., :2] - (self.left, self.top)) * self.scale, b[..., 2:] * self.scale], axis=-1)

    def to_frame(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """(..., 4) xywh in the crop -> xywh in the frame."""
        b = np.asarray(boxes, dtype=np.float64)
        return np.concatenate([b[..., :2] / self.scale + (self.left, self.top), b[..., 2:] / self.scale], axis=-1)

    def cut(self, image: Image, fill: Colour, out: Image | None = None) -> Image:
        """The pixels of the window.

        Args:
            image: BGR uint8 H x W x 3.
            fill: Colour (B, G, R) of what lies outside the image.
            out: A size x size x 3 uint8 array to write to, so that nothing is allocated.

        Returns:
            BGR uint8 size x size x 3, bilinear.
        """
        if self.scale < LEAST_WIDENED:
            return self._warp(image, 0, 0, fill, out)
        # OpenCV warps four channels in less than half the time of three, and the window's own pixels are few.
        (left, right), (top, bottom) = (self._span(at, n) for at, n in ((self.left, image.shape[1]), (self.top, image.shape[0])))
        part: Image = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_BGR2BGRA)  # type: ignore[assignment]
        return cv2.cvtColor(self._warp(part, left, top, (*fill, 0.0)), cv2.COLOR_BGRA2BGR, dst=out)  # type: ignore[return-value]

    def _span(self, first: float, count: int) -> tuple[int, int]:
        """First and last (exclusive) of `count` rows or columns that the window reaches, with one to spare; never none."""
        begin = min(max(math.floor(first) - 1, 0), count - 1)
        return begin, max(min(math.ceil(first + self.size / self.scale) + 2, count), begin + 1)

    def _warp(self, image: Image, left: int, top: int, fill: Sequence[float], out: Image | None = None) -> Image:
        """The window in an image whose first pixel is (left, top) of the frame."""
        inverse = 1.0 / self.scale
        # Pixel centres: crop index u stands at u + 0.5, frame index at x + 0.5.
        shift = 0.5 * inverse - 0.5
        matrix = np.array([[inverse, 0.0, self.left - left + shift], [0.0, inverse, self.top - top + shift]])
        warp = partial(
            cv2.warpAffine,
            image,
            matrix,
            (self.size, self.size),
            dst=out,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=fill,
        )
        if cv2.getNumThreads() == 1:
            return warp()  # type: ignore[return-value]
        # OpenCV deals out even so small a job: it takes as long on all its threads, which then wait for more in a busy loop. Their
        # number is that of the whole process, so it is put back at once.
        with _WARPING:
            usual = cv2.getNumThreads()
            cv2.setNumThreads(1)
            try:
                return warp()  # type: ignore[return-value]
            finally:
                cv2.setNumThreads(usual)


def context_side(width: float, height: float, context: float = 0.5) -> float:
    """Side of the square template window around a box, in frame pixels.

    sqrt((w + 2p)(h + 2p)) with 2p = context * (w + h): SiamFC (Bertinetto et al. 2016), section 3.2.
    """
    margin = context * (width + height)
    return float(np.sqrt((width + margin) * (height + margin)))


def mean_colour(image: Image) -> Colour:
    """The mean colour (B, G, R) of an image: what a crop shows outside the frame."""
    b, g, r = cv2.mean(image)[:3]
    return b, g, r
