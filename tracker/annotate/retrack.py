"""Boxes between the key boxes of a person: tracked forward from one and backward from the other, and joined.

The result is smoothed: sizes and positions are averaged over some frames before and after.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.annotate.clip import interpolate, runs
from tracker.annotate.frames import ClipFrames
from tracker.geometry import Boxes, check_box, clip_box, cxcywh_to_xywh, iou, xywh_to_cxcywh
from tracker.types import Box, Image

AGREE = 0.4
"""Least overlap of a pass with the key box at its far end: below it, the pass has lost the target on the way."""
TOGETHER = 0.5
"""Least overlap of both passes in a frame: below it, at most one of them is right there."""
SURE = 0.5
"""Least score at which a box is trusted."""

Tick = Callable[[int, Box, float, bool], bool]
"""Called after each frame: its number, box, score and whether the target is lost; False stops."""


class Follower(Protocol):
    """The required interface of a tracker: `SiamTracker`, or anything with these two methods.

    It is copied by `copy.copy` for each pass: the state of its target must be in attributes that `init` or `update`
    replace, or it needs its own `__copy__`.
    """

    def init(self, image: Image, box: ArrayLike) -> None: ...

    def update(self, image: Image, *, index: int = 0, timestamp: float | None = None) -> Any: ...


@dataclass(frozen=True)
class Pass:
    """A track from one key box in one direction.

    Attributes:
        first: Frame of the first row; rows are in frame order, whatever the direction of tracking.
        boxes: (n, 4) xywh; the last known box while the target is lost.
        scores: (n,) in [0, 1].
        lost: (n,) bool.
    """

    first: int
    boxes: Boxes
    scores: NDArray[np.float64]
    lost: NDArray[np.bool_]


class Cancelled(Exception):
    """The work was cancelled, because its purpose no longer exists."""


class Running:
    """A pass that is tracked in pieces: it can be continued where it stopped.

    Args:
        frames: The clip.
        tracker: A copy of it (`copy.copy`) is initialised with `box` in the frame `key`, so that several passes can
            run.
        key: The first frame.
        box: (4,) xywh.
        ahead: Forward, or backward.
    """

    def __init__(self, frames: ClipFrames, tracker: Follower, key: int, box: Box, ahead: bool) -> None:
        self._frames, self._tracker, self._key, self._box = frames, copy.copy(tracker), key, box
        self._step = 1 if ahead else -1
        most = len(frames) - key if ahead else key + 1
        self._boxes, self._scores, self._lost = np.empty((most, 4)), np.empty(most), np.zeros(most, bool)
        self.count = 0
        """Number of finished frames, including the first."""

    @property
    def reached(self) -> int:
        """The last tracked frame; one before the first if there is none."""
        return self._key + self._step * (self.count - 1)

    def advance(self, end: int, tick: Tick | None = None) -> None:
        """Continues tracking until the frame `end` is finished.

        Args:
            end: Frame number.
            tick: Called after each frame.

        Raises:
            BoxError: The box can't be tracked.
            Stopped: `tick` returned False; finished frames are kept.
        """
        if (end - self.reached) * self._step <= 0:
            return
        for k, image in self._frames.walk(self.reached + self._step, end):
            n = self.count
            if n == 0:
                self._tracker.init(image, check_box(self._box, self._frames.width, self._frames.height))
                self._boxes[0], self._scores[0] = self._box, 1.0
            else:
                track = self._tracker.update(image, index=k)
                self._boxes[n], self._scores[n], self._lost[n] = track.box, track.score, not track.visible
            self.count += 1
            if tick is not None and not tick(k, self._boxes[n], float(self._scores[n]), bool(self._lost[n])):
                raise Cancelled

    def until(self, end: int) -> Pass:
        """The pass up to a finished frame, in frame order."""
        n = abs(end - self._key) + 1
        boxes, scores, lost = self._boxes[:n], self._scores[:n], self._lost[:n]
        if self._step < 0:
            boxes, scores, lost = boxes[::-1], scores[::-1], lost[::-1]
        return Pass(min(self._key, end), boxes.copy(), scores.copy(), lost.copy())


def bend(boxes: Boxes, ramp: NDArray[np.float64], at: int, goal: Box) -> Boxes:
    """Deforms the boxes of a pass gradually so that row `at` becomes the key box there.

    A tracker's boxes differ from a person's by an error that grows slowly (a size that drifts, a part that is left
    out). Where the difference is known at both ends, it can be interpolated: the shift of the centre is linear in time,
    and so is the logarithm of the size.

    Args:
        boxes: (n, 4) xywh.
        ramp: (n,) fraction of the difference to apply: 0 where the pass began, 1 at its far end.
        at: Row of the far end.
        goal: (4,) xywh, the key box there.
    """
    centres, aim = xywh_to_cxcywh(boxes), xywh_to_cxcywh(goal)
    shift = ramp[:, None] * (aim[:2] - centres[at, :2])
    scale = np.exp(ramp[:, None] * np.log(np.maximum(aim[2:], 1e-3) / np.maximum(centres[at, 2:], 1e-3)))
    return cxcywh_to_xywh(np.concatenate([centres[:, :2] + shift, centres[:, 2:] * scale], axis=1))


def join(ahead: Pass, back: Pass) -> tuple[Boxes, NDArray[np.float64], NDArray[np.bool_]]:
    """Combines both passes between two key boxes into one track.

    Args:
        ahead: Forward from the first key box to the frame of the second.
        back: Backward from the second to the first, over the same frames.

    Returns:
        (n, 4) boxes, (n,) scores, (n,) occluded, for the frames of both. The first and the last row are the key boxes.
        A score is that of the passes, and at most their agreement.
    """
    n = len(ahead.boxes)
    one, two = ahead.boxes[0], back.boxes[-1]
    time = np.linspace(0, 1, n)
    through_f = not ahead.lost[-1] and float(iou(ahead.boxes[-1], two)) >= AGREE
    through_b = not back.lost[0] and float(iou(back.boxes[0], one)) >= AGREE
    fore = bend(ahead.boxes, time, n - 1, two) if through_f else ahead.boxes
    rear = bend(back.boxes, 1 - time, 0, one) if through_b else back.boxes
    overlap = iou(fore, rear)
    # Weight of each pass in each frame: higher near its own key box, low where its score is low, almost zero where it
    # is lost or, if it missed the key box at its far end, after the frame where it diverged from the other.
    worth_f = (1 - time) * np.where(ahead.lost, 1e-3, ahead.scores) + 1e-6
    worth_b = time * np.where(back.lost, 1e-3, back.scores) + 1e-6
    if through_f != through_b:
        worth_f, worth_b = (worth_f, worth_b * 1e-3) if through_f else (worth_f * 1e-3, worth_b)
    elif not through_f:
        cut = _part(ahead, back, overlap)
        worth_f, worth_b = np.where(np.arange(n) <= cut, worth_f, 0.0), np.where(np.arange(n) > cut, worth_b, 0.0)
    share = worth_b / np.maximum(worth_f + worth_b, 1e-12)
    share = np.where(overlap >= TOGETHER, share, np.round(share))  # no mean of two different positions
    boxes = (1 - share[:, None]) * fore + share[:, None] * rear
    scores = (1 - share) * ahead.scores + share * back.scores
    trusted = through_f or through_b
    scores = np.where((overlap >= TOGETHER) | trusted, scores, np.minimum(scores, overlap))
    boxes, scores, occluded = _bridge(boxes, scores, ahead, back, trusted, overlap)
    boxes[0], boxes[-1], scores[0], scores[-1] = one, two, 1.0, 1.0
    occluded[[0, -1]] = False
    return boxes, np.clip(scores, 0, 1), occluded


def _part(ahead: Pass, back: Pass, overlap: NDArray[np.float64]) -> int:
    """Last row to use from the forward pass, if neither pass reaches the other's key box: where they agree best and
    both scores are high."""
    sure_f, sure_b = np.where(ahead.lost, 0, ahead.scores), np.where(back.lost, 0, back.scores)
    if overlap.max() >= TOGETHER:
        return int((overlap * np.minimum(sure_f, sure_b)).argmax())
    before = np.cumsum(sure_f)
    after = np.cumsum(sure_b[::-1])[::-1]
    return int((before[:-1] + after[1:]).argmax())


def _bridge(
    boxes: Boxes, scores: NDArray[np.float64], ahead: Pass, back: Pass, trusted: bool, overlap: NDArray[np.float64]
) -> tuple[Boxes, NDArray[np.float64], NDArray[np.bool_]]:
    """Linear interpolation where neither pass sees the target: it is occluded there, and reappeared at the key box."""
    unseen = (ahead.lost | (ahead.scores < SURE / 2)) & (back.lost | (back.scores < SURE / 2))
    if not trusted and overlap.max() < TOGETHER:
        # The passes never meet: each is trusted while its score is high, and in between the target moved from one to
        # the other.
        sure_f = np.logical_and.accumulate(~ahead.lost & (ahead.scores >= SURE))
        sure_b = np.logical_and.accumulate((~back.lost & (back.scores >= SURE))[::-1])[::-1]
        if not (sure_f & sure_b).any():
            unseen |= ~(sure_f | sure_b)
    unseen[[0, -1]] = False
    # Each interval of boxes separately: while the target is lost, a pass stays at the last known position.
    boxes = np.where(unseen[:, None], boxes, calm(np.where(unseen[:, None], np.nan, boxes)))
    occluded = np.zeros(len(boxes), bool)
    for first, end in runs(unseen):
        boxes[first - 1 : end + 1] = interpolate(first - 1, boxes[first - 1], end, boxes[end])
        occluded[first:end] = ahead.lost[first:end] & back.lost[first:end]
        scores[first:end] = np.minimum(scores[first:end], 0.3)
    return boxes, scores, occluded


def alone(one: Pass, width: int, height: int) -> tuple[Boxes, NDArray[np.float64], NDArray[np.bool_]]:
    """The track before the first or after the last key box: one pass, and no box where it is lost.

    Returns:
        As `join`; a box that has left the frame is removed.
    """
    inside = clip_box(one.boxes, width, height)
    gone = one.lost | ~((inside[:, 2] > 0) & (inside[:, 3] > 0))
    return calm(np.where(gone[:, None], np.nan, one.boxes)), one.scores.copy(), np.zeros(len(one.boxes), bool)


SIZE, STILL, FAST = 4.0, 2.0, 0.7
"""Standard deviations of the smoothing weights, in frames: of sizes, and of the position of a slow and of a fast
target."""
QUICK = 0.1
"""Speed, in target sizes per frame, above which a target counts as fast: its turns must not be smoothed away."""
LEAST = 5
REACH = 40
"""Greatest distance in frames that influences a smoothed box."""


def calm(boxes: Boxes) -> Boxes:
    """Boxes with sizes and centres smoothed by a Gaussian over time, each interval of boxes separately.

    A tracker's boxes jitter from frame to frame more than the target moves. Ends are preserved, and so is a track on a
    straight line: beyond the ends the values are continued by point reflection.

    Args:
        boxes: (n, 4) xywh; NaN where there is none.

    Returns:
        (n, 4).
    """
    out = np.array(boxes, dtype=np.float64)
    for first, end in runs(np.asarray(np.isfinite(out).all(axis=1))):
        if end - first < LEAST:
            continue
        values = xywh_to_cxcywh(out[first:end])
        centres, sizes = values[:, :2], np.log(np.maximum(values[:, 2:], 1e-3))
        step = np.hypot(*np.gradient(_averaged(centres, STILL), axis=0).T) / np.exp(sizes.mean(axis=1))
        slow = np.clip(1 - _averaged(step[:, None], STILL) / QUICK, 0, 1)
        centres = slow * _averaged(centres, STILL) + (1 - slow) * _averaged(centres, FAST)
        out[first:end] = cxcywh_to_xywh(np.concatenate([centres, np.exp(_averaged(sizes, SIZE))], axis=1))
    return out


def _averaged(values: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """(n, m): each column, smoothed by a Gaussian over time."""
    reach = min(round(3 * deviation), len(values) - 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    before = 2 * values[0] - values[1 : reach + 1][::-1]
    after = 2 * values[-1] - values[-reach - 1 : -1][::-1]
    padded = np.concatenate([before, values, after])
    columns = [np.convolve(column, weights / weights.sum(), "valid") for column in padded.T]
    return np.stack(columns, axis=1)
