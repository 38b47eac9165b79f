"""Point tracking: points inside a box are tracked from one frame to a later one and move the box, with a measure of
agreement.

A grid of points is tracked by pyramid Lucas-Kanade (Bouguet 2001) forward and backward; those with a small
forward-backward error determine shift and scale, as in the median flow of Kalal, Mikolajczyk and Matas (ICPR 2010), by
RANSAC instead of medians. It uses a small gray image around the box, so the size of the frame doesn't matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tracker.tracking.scene import Scene

Vector = NDArray[np.float64]

GRID = 5
"""Points per row and column of the grid."""
PLACES = np.linspace(-1, 1, GRID)
INNER = 0.8
"""Fraction of the box, per side, that the grid covers: its border shows background."""
BOX_SIDE = 48
"""Approximate longer side of the box in the gray image, pixels; a smaller box is not enlarged."""
MARGIN, REACH = 0.3, 5
"""Margin of the gray image around the box: a fraction of sqrt(w h), plus pixels for the window of the optical flow."""
FLOW: dict[str, Any] = {
    "winSize": (9, 9),
    "maxLevel": 2,
    "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03),
}
RETURNS = 1.0
"""Greatest forward-backward error of a usable point, pixels of the gray image."""
APART = 1.0
"""Greatest distance of an agreeing point from the fitted motion, pixels of the gray image."""
REFINED = 3
"""Iterations of the fit to the agreeing points: the ten of OpenCV change nothing and take twice as long."""
LEAST_POINTS = 8
"""Least number of usable points."""
LEAST_SHOWN, LEAST_SIDE = 0.8, 6
"""Least fraction of the box inside the frame, and least side of the gray image in pixels."""


@dataclass(frozen=True)
class Carried:
    """The box moved by the points.

    Attributes:
        centre, size: (2,) x, y and w, h in frame pixels.
        agree: Fraction of all points that are usable and agree.
        likeness: Normalised cross-correlation of the box's gray images in both frames.
    """

    centre: Vector
    size: Vector
    agree: float
    likeness: float


class KeyFrame:
    """The image of a target in a frame from which points are tracked into later ones.

    Attributes:
        centre, size: (2,) its box in that frame.
        usable: Whether enough of it is inside the frame.
    """

    def __init__(self, scene: Scene, centre: Vector, size: Vector) -> None:
        self.centre, self.size, self._extent = centre, size, scene.extent
        (x, y), (w, h) = centre.tolist(), size.tolist()
        width, height = scene.extent
        shrink = round(max(w, h) / BOX_SIDE)
        self._halve = shrink > 1
        self._step = step = max(shrink // 2, 1)
        pixel = step * (2 if self._halve else 1)  # of the gray image, in frame pixels
        margin = MARGIN * math.sqrt(w * h) + REACH * pixel
        left, right = max(int(x - w / 2 - margin), 0), min(math.ceil(x + w / 2 + margin), width)
        top, bottom = max(int(y - h / 2 - margin), 0), min(math.ceil(y + h / 2 + margin), height)
        shown = (min(x + w / 2, width) - max(x - w / 2, 0), min(y + h / 2, height) - max(y - h / 2, 0))
        self.usable = min(shown) >= LEAST_SIDE * pixel and shown[0] * shown[1] >= LEAST_SHOWN * w * h
        if not self.usable:
            return
        self._window = (left, top, right, bottom)
        self._picture, self._pixel = scene.small_green(self._window, step, self._halve), pixel
        middle = ((x - left) / pixel - 0.5, (y - top) / pixel - 0.5)
        self._middle = middle
        across, down = (INNER * side / 2 / pixel * PLACES for side in (w, h))
        self._points = np.empty((GRID, GRID, 2), np.float32)
        self._points[..., 0], self._points[..., 1] = middle[0] + across, (middle[1] + down)[:, None]
        self._points = self._points.reshape(-1, 1, 2)
        self._patch = (int(w / pixel), int(h / pixel))
        self._shown = _standardised(cv2.getRectSubPix(self._picture, self._patch, middle))

    def carry(self, scene: Scene, expected: Vector) -> Carried | None:
        """Tracks the points into a later frame.

        Args:
            scene: That frame.
            expected: (2,) predicted centre there.

        Returns:
            None if too few points are usable.
        """
        if not self.usable or scene.extent != self._extent:
            return None
        # The window moves by whole pixels, and stays in the frame, so that both images are equal for a target at rest.
        left, top, right, bottom = self._window
        ahead = (expected - self.centre).tolist()
        across = min(max(round(ahead[0]), -left), self._extent[0] - right)
        down = min(max(round(ahead[1]), -top), self._extent[1] - bottom)
        window = (left + across, top + down, right + across, bottom + down)
        picture = scene.small_green(window, self._step, self._halve)
        points = self._points
        moved, seen, _ = cv2.calcOpticalFlowPyrLK(self._picture, picture, points, None, **FLOW)  # type: ignore[call-overload]
        back, seen_back, _ = cv2.calcOpticalFlowPyrLK(picture, self._picture, moved, None, **FLOW)  # type: ignore[call-overload]
        off = np.abs(back - points).max(axis=2)
        good = ((seen & seen_back) > 0) & (off <= RETURNS)
        if np.count_nonzero(good) < LEAST_POINTS:
            return None
        matrix, inliers = cv2.estimateAffinePartial2D(
            points[good], moved[good], ransacReprojThreshold=APART, maxIters=100, confidence=0.99, refineIters=REFINED
        )
        if matrix is None:
            return None
        (a, _, x), (b, _, y) = matrix.tolist()
        u, v = self._middle
        place = (a * u - b * v + x, b * u + a * v + y)
        if not (math.isfinite(place[0]) and math.isfinite(place[1])):
            return None
        now = _standardised(cv2.getRectSubPix(picture, self._patch, place))
        shift = np.array([(place[0] - u) * self._pixel + across, (place[1] - v) * self._pixel + down])
        agree = int(np.count_nonzero(inliers)) / len(points)
        return Carried(self.centre + shift, self.size * math.hypot(a, b), agree, float(self._shown @ now))


def _standardised(picture: NDArray[Any]) -> NDArray[np.float32]:
    """The pixels in one row, with mean 0 and norm 1: the product of two is their normalised cross-correlation."""
    values = picture.ravel().astype(np.float32)
    values -= values.mean()
    return values / np.float32(max(math.sqrt(float(values @ values)), 1e-6))
