"""Prediction of a target's position in the next frame: the camera's motion, the target's own velocity, and the choice
between them.

The camera's motion is a similarity between two small gray images, from background corners tracked by pyramid
Lucas-Kanade (Bouguet 2001) and fitted by RANSAC, as in the motion compensation of multi-object trackers (BoT-SORT,
Aharon et al. 2022, section 3.2). Four simple predictions compete for each target, with and without the camera's motion
and a velocity; the one with the smallest recent error is used, and the static one wins a tie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.tracking.numbers import Number, module_of, numbers, vectors
from tracker.types import Image

Vector = NDArray[np.float64]

SIDE = 192
"""Longer side of the small gray image, pixels."""
CORNERS, LEAST_CORNERS = 80, 8
"""Number of corners that are tracked, and least number that has to agree."""
APART = 3
"""Least distance of two corners in an image of half the size: corners are found there in half the time, and the
resulting motion differs by no more than with other corners."""
REFINED = 3
"""Iterations of the fit to the agreeing corners: more change nothing, and the ten of OpenCV take twice as long."""
FLOW: dict[str, Any] = {
    "winSize": (9, 9),
    "maxLevel": 2,
    "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03),
}
"""Parameters of the optical flow: more iterations, or smaller steps, change a shift by 0.002 pixels and take a fifth
more time; a window of 15 pixels changes it less than other corners do (97 % of frames: by 0.05 of a target's side) and
takes twice as long."""
STILL = 0.7
"""Mean change of the small image, in gray levels, below which the camera counts as static."""
MEMORY = 0.75
"""Weight of the past in a prediction's mean error."""
SMOOTH = 0.6
"""Weight of the past in a velocity."""
PRICES = (0.0, 0.02, 0.04, 0.04)
"""Margins by which each prediction must be better, as a fraction of sqrt(w h): a velocity is riskier than the camera's
motion."""
LEAST_ERROR, CLEARLY = 0.05, 0.75
"""The last position is used while its error is below the first, as a fraction of sqrt(w h), or no prediction is better
by the second factor."""

RESTLESS = 0.12
"""Error of the last position, as a fraction of sqrt(w h), above which the camera's motion is computed; 0: in every
frame."""
WATCHFUL = 0.09
"""Error above which a frame's small image is made, for the motion to the next one: that takes a tenth of the time of a
small window."""


@dataclass(frozen=True)
class Shift:
    """A similarity between the pixels of two frames: x' = matrix @ (x, y, 1)."""

    matrix: NDArray[np.float64]

    def __call__(self, point: Vector) -> Vector:
        """(..., 2) x, y in the previous frame -> (..., 2) in this one."""
        along, down, shift = self.matrix.T
        return np.asarray(along * point[..., :1] + down * point[..., 1:] + shift)


class CameraMotion:
    """The camera's motion from one frame to the next."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] | None = None

    def pass_over(self) -> None:
        """Skips a frame: the motion to the next one is then unknown."""
        self._before = None

    def update(self, frame: Image, wanted: bool = True, watched: bool = True) -> Shift | None:
        """Processes the next frame.

        No target is masked out: the result for a frame is the same however many targets are tracked, and if a target
        fills the image, its own motion is the relevant one.

        Args:
            frame: BGR uint8 H x W x 3.
            wanted: Whether any target needs the motion; computing it takes a third of the time of a small window.
            watched: Whether any target may need the motion to the next frame.

        Returns:
            The motion of the background since the previous frame; None if the camera is static or its motion unknown.
        """
        before, small = self._before, _small(frame) if wanted or watched else None
        self._before = small
        if before is None or small is None or not wanted or before.shape != small.shape:
            return None
        if cv2.norm(before, small, cv2.NORM_L1) < STILL * small.size:
            return None
        corners = _corners(before)
        if corners is None or len(corners) < LEAST_CORNERS:
            return None
        moved, status, _ = cv2.calcOpticalFlowPyrLK(before, small, corners, None, **FLOW)  # type: ignore[call-overload]
        good = status.ravel() == 1
        count = np.count_nonzero(good)
        if count < LEAST_CORNERS:
            return None
        if count < len(good):
            corners, moved = corners[good], moved[good]
        matrix, inliers = cv2.estimateAffinePartial2D(
            corners, moved, ransacReprojThreshold=1.0, maxIters=200, confidence=0.98, refineIters=REFINED
        )
        if matrix is None or np.count_nonzero(inliers) < max(LEAST_CORNERS, 0.4 * count):
            return None
        (a, b, x), (c, d, y) = matrix.tolist()
        if not 0.8 < math.hypot(a, c) < 1.25:
            return None
        # small -> frame: conjugate by the scale, about pixel centres.
        across, down = frame.shape[1] / small.shape[1], frame.shape[0] / small.shape[0]
        return Shift(np.array([[a, across * b / down, across * x], [down * c / across, d, down * y]]))


def _corners(picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """(N, 1, 2) x and y of corners, or None if there are none."""
    size = (max(picture.shape[1] // 2, 1), max(picture.shape[0] // 2, 1))
    found = cv2.goodFeaturesToTrack(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), CORNERS, 0.01, APART)
    if found is None:
        return None
    return (found + 0.5) * np.divide(picture.shape[1::-1], size, dtype=np.float32) - 0.5  # pixel centres


def _small(frame: Image) -> NDArray[np.uint8]:
    """The frame's green channel, subsampled to a longer side of `SIDE` pixels. It is made at twice that size first:
    OpenCV averages 2 x 2 pixels in a tenth of the time of other factors."""
    step = max(max(frame.shape[:2]) // (2 * SIDE), 1)
    part: NDArray[Any] = cv2.extractChannel(frame, 1) if step == 1 else np.ascontiguousarray(frame[::step, ::step, 1])
    factor = SIDE / max(part.shape)
    size = (max(round(part.shape[1] * factor), 16), max(round(part.shape[0] * factor), 16))
    twice = cv2.resize(part, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(twice, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


@dataclass
class MotionModel:
    """Predicts the centre of one target by four hypotheses: it stays, moves with the camera, continues in the image, or
    continues relative to the background.

    Attributes:
        apparent, own: (2,) smoothed velocities in the image, and relative to the background, pixels per frame.
        errors: (4,) recent mean distance between each prediction and the observed position, as a fraction of sqrt(w h).
        predictions: (8,) x and y of each prediction for the frame, or None.
    """

    apparent: Vector = field(default_factory=lambda: np.zeros(2))
    own: Vector = field(default_factory=lambda: np.zeros(2))
    errors: Vector = field(default_factory=lambda: np.zeros(4))
    predictions: Vector | None = field(default=None, init=False)

    @property
    def watchful(self) -> bool:
        """Whether it may soon be restless."""
        return bool(self.errors[0] >= WATCHFUL)

    @property
    def restless(self) -> bool:
        """Whether the last position may be a bad prediction, so that the camera's motion is worth its time."""
        return bool(self.errors[0] >= RESTLESS)

    def predict(self, centre: Vector, shift: Shift | None) -> Vector:
        """(2,) predicted centre.

        Args:
            centre: (2,) present centre, frame pixels.
            shift: The camera's motion, if known.
        """
        return np.array(predict([self], [centre], [centre if shift is None else shift(centre)]))

    def observe(self, before: Vector, centre: Vector, side: float) -> None:
        """Updates the errors with an observed position.

        Args:
            before, centre: (2,) its centre in the previous frame and in this one, frame pixels.
            side: sqrt(w h) of its box.
        """
        observe([self], before.tolist(), centre.tolist(), side)

    def forget(self) -> None:
        """Resets velocities and errors."""
        self.apparent, self.own, self.errors, self.predictions = np.zeros(2), np.zeros(2), np.zeros(4), None


def predict(
    models: Sequence[MotionModel], centres: Sequence[Vector], carried: Sequence[Vector]
) -> tuple[Number, Number]:
    """Predicted centres of N targets: x and y, frame pixels.

    Args:
        models: Their motion models; they store the predictions.
        centres: N times (2,) present centres.
        carried: N times (2,) these moved by the camera's motion; unchanged if it is unknown.
    """
    x, y = numbers(centres)
    u, v = (x, y) if carried is centres else numbers(carried)
    (a, b), (c, d) = numbers([model.apparent for model in models]), numbers([model.own for model in models])
    places, errors = ((x, y), (u, v), (x + a, y + b), (u + c, v + d)), numbers([model.errors for model in models])
    for model, some in zip(models, vectors(x, y, u, v, *places[2], *places[3]), strict=True):
        model.predictions = some
    calm = errors[0] < LEAST_ERROR
    if np.all(calm) if len(models) > 1 else calm:
        return x, y
    where, (across, down), error, least = module_of(x).where, places[0], errors[0], errors[0] + PRICES[0]
    for own, price, place in zip(errors[1:], PRICES[1:], places[1:], strict=True):
        better = own + price < least
        least, error = where(better, own + price, least), where(better, own, error)
        across, down = where(better, place[0], across), where(better, place[1], down)
    stays = calm | (error > CLEARLY * errors[0])
    return where(stays, x, across), where(stays, y, down)


def observe(models: Sequence[MotionModel], before: Sequence[Number], centres: Sequence[Number], side: Number) -> None:
    """Updates N motion models with observed positions; models without a prediction learn nothing.

    Args:
        models: Changed in place.
        before, centres: x and y in the previous frame and in this one.
        side: sqrt(w h) of their boxes.
    """
    ready = [k for k, model in enumerate(models) if model.predictions is not None]
    if len(ready) < len(models):
        if ready:
            start, end = ([one[ready] for one in pair] for pair in (before, centres))
            observe([models[k] for k in ready], start, end, side[ready])
        return
    (x, y), xp, predictions = centres, module_of(side), numbers([m.predictions for m in models])  # type: ignore[misc]
    places = predictions[::2], predictions[1::2]
    off = [xp.sqrt((u - x) * (u - x) + (v - y) * (v - y)) / side for u, v in zip(*places, strict=True)]
    before_now = zip(numbers([model.errors for model in models]), off, strict=True)
    errors = vectors(*(MEMORY * error + (1 - MEMORY) * xp.minimum(now, 2.0) for error, now in before_now))
    (a, b), (c, d) = numbers([model.apparent for model in models]), numbers([model.own for model in models])
    apparent = vectors(*(SMOOTH * old + (1 - SMOOTH) * now for old, now in ((a, x - before[0]), (b, y - before[1]))))
    steps = (c, x - predictions[2]), (d, y - predictions[3])
    own = vectors(*(SMOOTH * old + (1 - SMOOTH) * now for old, now in steps))
    for model, *learnt in zip(models, errors, apparent, own, strict=True):
        model.errors, model.apparent, model.own = learnt
