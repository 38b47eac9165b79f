"""Where a target is expected in the next frame: the camera's shift, the target's own velocity, and which of them to
trust.

The camera's motion is a similarity between two small gray pictures, from corners of the background followed by pyramid
Lucas-Kanade (Bouguet 2001) and fitted by RANSAC, as in the motion compensation of multi-object trackers (BoT-SORT,
Aharon et al. 2022, section 3.2). Four simple predictions compete for each target, with and without the camera's shift
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
"""Longer side of the small gray picture, pixels."""
CORNERS, LEAST_CORNERS = 80, 8
"""Corners that are followed, and those that have to agree."""
APART = 3
"""Least distance of two corners in a picture of half the size: there they are found in half the time, and the shifts
differ from those of others by no more than other corners make them differ."""
REFINED = 3
"""Steps of the fit to the corners that agree: more change nothing, and OpenCV's ten take twice as long."""
FLOW: dict[str, Any] = {
    "winSize": (9, 9),
    "maxLevel": 2,
    "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03),
}
"""Of the flow: more steps, or smaller ones, change a shift by 0.002 pixels and take a fifth more time; a window of 15
pixels changes it by less than other corners do (97 % of frames: by 0.05 of a target's side) and takes as long again."""
STILL = 0.7
"""Mean change of the small picture, gray levels, below which the camera stands."""
MEMORY = 0.75
"""Share of the past in a prediction's mean error."""
SMOOTH = 0.6
"""Share of the past in a velocity."""
PRICES = (0.0, 0.02, 0.04, 0.04)
"""What each prediction must be better by, as a share of sqrt(w h): a velocity is a bolder guess than the camera's
shift."""
LEAST_ERROR, CLEARLY = 0.05, 0.75
"""The last place serves while it is wrong by less than that share of sqrt(w h), or another isn't clearly better."""

RESTLESS = 0.08
"""From this error of the last place on, as a share of sqrt(w h), the camera's shift is looked for; 0: in every
frame."""
WATCHFUL = 0.06
"""From this error on a frame's small picture is made, for the shift to the next one: it takes a tenth of a small
window."""


@dataclass(frozen=True)
class Shift:
    """A similarity between the pixels of two frames: x' = matrix @ (x, y, 1)."""

    matrix: NDArray[np.float64]

    def __call__(self, point: Vector) -> Vector:
        """(..., 2) x, y in the frame before -> (..., 2) in this one."""
        along, down, shift = self.matrix.T
        return np.asarray(along * point[..., :1] + down * point[..., 1:] + shift)


class CameraMotion:
    """The camera's motion from one frame to the next."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] | None = None

    def pass_over(self) -> None:
        """Leaves a frame out: the shift from it to the next one is not known."""
        self._before = None

    def update(self, frame: Image, wanted: bool = True, watched: bool = True) -> Shift | None:
        """Takes the next frame.

        No target is masked out: the same frames give the same shift, however many targets are followed, and where a
        target fills the picture its own motion is the one to know.

        Args:
            frame: BGR uint8 H x W x 3.
            wanted: Whether anybody needs the shift; it takes as long as a third of a small window.
            watched: Whether anybody may need the shift to the next frame.

        Returns:
            The shift of the background since the frame before; None where the camera stands or its motion is not known.
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
    """(N, 1, 2) x and y of corners, or None where there are none."""
    size = (max(picture.shape[1] // 2, 1), max(picture.shape[0] // 2, 1))
    found = cv2.goodFeaturesToTrack(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), CORNERS, 0.01, APART)
    if found is None:
        return None
    return (found + 0.5) * np.divide(picture.shape[1::-1], size, dtype=np.float32) - 0.5  # pixel centres


def _small(frame: Image) -> NDArray[np.uint8]:
    """The frame's green channel, its longer side `SIDE` pixels: half of the rows and columns that it takes are
    skipped. It goes through twice that size: OpenCV averages squares of two by two in a tenth of the time of others."""
    step = max(max(frame.shape[:2]) // (2 * SIDE), 1)
    part: NDArray[Any] = cv2.extractChannel(frame, 1) if step == 1 else np.ascontiguousarray(frame[::step, ::step, 1])
    factor = SIDE / max(part.shape)
    size = (max(round(part.shape[1] * factor), 16), max(round(part.shape[0] * factor), 16))
    twice = cv2.resize(part, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(twice, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


@dataclass
class MotionModel:
    """Predicts the centre of one target: it stays, moves as the camera, goes on in the picture, or goes on against the
    background.

    Attributes:
        apparent, own: (2,) smoothed steps in the picture, and against the background, pixels a frame.
        errors: (4,) recent mean distance between each prediction and where the target was found, as a share of sqrt(w
            h).
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
        """Whether the last place may soon not serve as a prediction, so that the camera's shift is worth its time."""
        return bool(self.errors[0] >= RESTLESS)

    def predict(self, centre: Vector, shift: Shift | None) -> Vector:
        """(2,) where the centre is expected.

        Args:
            centre: (2,) where it is now, frame pixels.
            shift: The camera's, where it is known.
        """
        return np.array(predict([self], [centre], [centre if shift is None else shift(centre)]))

    def observe(self, before: Vector, centre: Vector, side: float) -> None:
        """Takes where the target was seen.

        Args:
            before, centre: (2,) its centre in the frame before and in this one, frame pixels.
            side: sqrt(w h) of its box.
        """
        observe([self], before.tolist(), centre.tolist(), side)

    def forget(self) -> None:
        """Resets velocities and errors."""
        self.apparent, self.own, self.errors, self.predictions = np.zeros(2), np.zeros(2), np.zeros(4), None


def predict(
    models: Sequence[MotionModel], centres: Sequence[Vector], carried: Sequence[Vector]
) -> tuple[Number, Number]:
    """Where the centres of N targets are expected: x and y, frame pixels.

    Args:
        models: Their motion; keep what they predict.
        centres: N times (2,) where they are now.
        carried: N times (2,) where the camera's shift takes these; the same where it is not known.
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
    """Takes where N targets were seen; those that predicted nothing learn nothing.

    Args:
        models: Changed in place.
        before, centres: x and y in the frame before and in this one.
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
