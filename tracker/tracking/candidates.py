"""Distractors followed as targets of their own: what was seen beside the target keeps its identity when the target fades.

The highest peak of a response jumps to a look-alike as soon as that answers better for a frame, or the target is covered. So all
peaks of a frame are associated with those of the frames before, by place (KeepTrack: Mayer et al., "Learning Target Candidate
Association to Keep Track of What Not to Track", ICCV 2021; here without a learnt association). A peak where a known distractor is
expected, that answers about as that distractor does, is not the target: the best of the remaining places is taken instead.
numpy and OpenCV only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop
from tracker.tracking.decode import Weighed
from tracker.tracking.motion import Shift

Vector = NDArray[np.float64]

LEAST_PEAK = 0.05
"""Response after the penalties and with the online filter from which on a peak is a candidate (KeepTrack, section 3.2: 0.05)."""
MOST_PEAKS = 6
"""Candidates of a frame besides the target, the strongest."""
APART = 0.6
"""Distance from the target, in sqrt(w h), from which on another peak is another object."""
REACH = 0.4
"""How far from where a distractor is expected it may be, in sqrt(w h)."""
KNOWN_FRAMES = 3
"""Frames in which a distractor was seen beside the target before it counts."""
FORGET_FRAMES = 8
"""Frames without a peak after which a distractor is forgotten."""
SMOOTH = 0.6
"""Share of the past in a distractor's step and in its usual response."""
ANSWERS_BETTER = 1.0
"""Logits above its usual response from which on a peak is not the distractor alone: the target may have got there."""
AHEAD_LOGITS, AHEAD_FRAMES = 1.0, 8
"""A distractor that answers better than the target by so much, in so many frames in a row, may be the target: it is forgotten."""


@dataclass
class Distractor:
    """One thing beside the target.

    Attributes:
        centre: (2,) where it was seen last, or is expected, frame pixels.
        step: (2,) its smoothed motion against the background, pixels a frame.
        logit: What it usually answers.
        seen: Frames in which it was seen while the target was.
        missed: Frames since it was seen.
        ahead: Frames in a row in which it answered clearly better than the target.
    """

    centre: Vector
    logit: float
    step: Vector = field(default_factory=lambda: np.zeros(2))
    seen: int = 1
    missed: int = 0
    ahead: int = 0
    start: Vector = field(default_factory=lambda: np.zeros(2))

    @property
    def known(self) -> bool:
        return self.seen >= KNOWN_FRAMES


@dataclass
class Distractors:
    """What stands beside one target.

    Attributes:
        known: Those that are followed.
    """

    members: list[Distractor] = field(default_factory=list)

    def predict(self, shift: Shift | None) -> None:
        """Expects each where the camera's motion and its own take it."""
        for one in self.members:
            one.start = one.centre if shift is None else shift(one.centre)
            one.centre = one.start + one.step

    def choose(self, weighed: Weighed, crop: Crop, expected: Vector, side: float) -> tuple[int, int]:
        """The cell of the target: the best that is not a known distractor's.

        Args:
            weighed: Maps of the search window.
            crop: The window.
            expected: (2,) where the target is expected, frame pixels.
            side: sqrt(w h) of the target, frame pixels.

        Returns:
            (row, column). The best of all where each is a distractor's.
        """
        columns = weighed.mixed.shape[1]
        best = divmod(int(np.argmax(weighed.mixed)), columns)
        if not any(one.known for one in self.members):
            return best
        cell, left = best, weighed.mixed
        for _ in range(len(self.members)):
            centre = _centre(weighed, crop, cell)
            owner = self._owner(centre, float(weighed.logits[cell]), expected, side)
            if owner is None:
                return cell
            if left is weighed.mixed:
                left = weighed.mixed.copy()
            left[_distances(weighed, crop, centre) < APART * side] = -1.0
            cell = divmod(int(np.argmax(left)), columns)
            if left[cell] < 0:
                return best
        return best if self._owner(_centre(weighed, crop, cell), float(weighed.logits[cell]), expected, side) else cell

    def _owner(self, centre: Vector, logit: float, expected: Vector, side: float) -> Distractor | None:
        """The known distractor that a peak belongs to; None where the target is nearer or it answers better than that one does."""
        away = math.dist(centre.tolist(), expected.tolist())
        for one in self.members:
            if not one.known or logit > one.logit + ANSWERS_BETTER:
                continue
            off = math.dist(centre.tolist(), one.centre.tolist())
            if off < REACH * side and off < away:
                return one
        return None

    def observe(self, weighed: Weighed, crop: Crop, cell: tuple[int, int], side: float, sure: bool) -> None:
        """Takes a frame in which the target was told at `cell`: all other peaks are distractors, known ones or new.

        Args:
            weighed, crop: As of `choose`.
            cell: (row, column) of the target.
            side: sqrt(w h) of the target, frame pixels.
            sure: Whether the target surely was there: only then new ones are taken.
        """
        target = _centre(weighed, crop, cell)
        own = float(weighed.logits[cell])
        free = list(self.members)
        for place, logit in _peaks(weighed, crop, target, side):
            distances = [math.dist(place.tolist(), one.centre.tolist()) for one in free]
            nearest = int(np.argmin(distances)) if distances else -1
            if nearest < 0 or distances[nearest] > REACH * side:
                if sure and len(self.members) < 2 * MOST_PEAKS:
                    self.members.append(Distractor(place, logit, start=place))
                continue
            one = free.pop(nearest)
            one.step = SMOOTH * one.step + (1 - SMOOTH) * (place - one.start)
            one.logit = SMOOTH * one.logit + (1 - SMOOTH) * logit
            one.ahead = one.ahead + 1 if logit > own + AHEAD_LOGITS else 0
            one.centre, one.start, one.missed = place, place, 0
            one.seen += sure
        for one in free:
            one.missed += 1
        self.members = [m for m in self.members if m.missed <= FORGET_FRAMES and m.ahead < AHEAD_FRAMES]

    def forget(self) -> None:
        """Nothing is known any more: the target was found at another place."""
        self.members.clear()


def _centre(weighed: Weighed, crop: Crop, cell: tuple[int, int]) -> Vector:
    left, top, right, bottom = weighed.boxes[:, cell[0], cell[1]].tolist()
    return np.array([crop.left + (left + right) / 2 / crop.scale, crop.top + (top + bottom) / 2 / crop.scale])


def _distances(weighed: Weighed, crop: Crop, centre: Vector) -> NDArray[np.float64]:
    """(H, W) from a place to the centre of each cell's box, frame pixels."""
    x = crop.left + (weighed.boxes[0] + weighed.boxes[2]) / 2 / crop.scale - centre[0]
    y = crop.top + (weighed.boxes[1] + weighed.boxes[3]) / 2 / crop.scale - centre[1]
    return np.hypot(x, y)


def _peaks(weighed: Weighed, crop: Crop, target: Vector, side: float) -> list[tuple[Vector, float]]:
    """Centre and logit of the peaks that are clear of the target and of each other, strongest first."""
    values = weighed.chosen
    tops = (values >= cv2.dilate(values, np.ones((3, 3), np.uint8))) & (values > LEAST_PEAK)
    rows, columns = np.nonzero(tops)
    found: list[tuple[Vector, float]] = []
    taken = [target]
    for k in np.argsort(-values[rows, columns]).tolist():
        cell = (int(rows[k]), int(columns[k]))
        place = _centre(weighed, crop, cell)
        if all(math.dist(place.tolist(), other.tolist()) >= APART * side for other in taken):
            found.append((place, float(weighed.logits[cell])))
            taken.append(place)
            if len(found) == MOST_PEAKS:
                break
    return found
