"""Smoothed boxes: a Kalman filter with a fixed look-ahead (fixed-lag smoothing).

Centre x, centre y, log width and log height each follow a constant-velocity model with random acceleration (Bar-Shalom,
Li and Kirubarajan 2001, section 6.3.2); the estimate of a frame is computed some frames later, by the backward
recursion of Rauch, Tung and Striebel (1965) over the frames since. Noise is relative to the target's size, so that
small and large targets are treated alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracker.errors import OutputError, SiamTrackError
from tracker.geometry import Boxes, cxcywh_to_xywh, xywh_to_cxcywh
from tracker.media.sinks.base import Sink
from tracker.types import Box, Frame, Track

LAG = 8
NOISE = 0.03
"""Standard deviation of a box's centre, and of the logarithm of its size, relative to the target's size."""
AGILITY = 0.004
"""Standard deviation of the acceleration, in target sizes per frame^2."""
STEP = np.array([[1.0, 1.0], [0.0, 1.0]])
PUSH = np.array([[0.25, 0.5], [0.5, 1.0]])
GATE = 16.0
"""A box farther away than this many (squared) standard deviations is a jump, not noise: smoothing starts again."""


@dataclass
class _Step:
    """One frame: predicted and filtered state of the four values; (4, 2) means, (4, 2, 2) covariances."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    ahead: NDArray[np.float64]
    ahead_spread: NDArray[np.float64]


class FixedLag:
    """Takes the box of each frame and returns the smoothed box of some frames before.

    Args:
        lag: Frames of look-ahead; boxes are delayed by as many. 0 filters without delay.
        noise, agility: See the constants of the module.

    Raises:
        SiamTrackError: A negative number.
    """

    def __init__(self, lag: int = LAG, noise: float = NOISE, agility: float = AGILITY) -> None:
        if lag < 0 or noise <= 0 or agility <= 0:
            raise SiamTrackError(
                f"Smoothing can't work with lag {lag}, noise {noise:g}, agility {agility:g}; lag is 0 or more, the "
                "others above 0."
            )
        self.lag, self._noise, self._agility = lag, noise, agility
        self._steps: deque[_Step | None] = deque()

    def push(self, box: Box | None) -> list[Box | None]:
        """The next box (None: lost, smoothing starts again after it) -> the boxes that are now final, oldest first."""
        out: list[Box | None] = []
        if box is None or not np.isfinite(box).all():
            out += self.flush()
            return [*out, None]
        step = self._next(np.asarray(box, dtype=np.float64))
        if step is None:  # a jump
            out += self.flush()
            step = self._next(np.asarray(box, dtype=np.float64))
            assert step is not None
        self._steps.append(step)
        if len(self._steps) > self.lag:
            out.append(self._back(0))
            self._steps.popleft()
        return out

    def flush(self) -> list[Box | None]:
        """The boxes that are still buffered, at the end or before a gap."""
        out: list[Box | None] = list(self._all())
        self._steps.clear()
        return out

    def _next(self, box: Box) -> _Step | None:
        value = xywh_to_cxcywh(box)
        size = float(np.sqrt(max(value[2] * value[3], 1e-9)))
        value[2:] = np.log(np.maximum(value[2:], 1e-6))
        unit = np.array([size, size, 1.0, 1.0])
        noise, push = (self._noise * unit) ** 2, (self._agility * unit) ** 2
        last = self._steps[-1] if self._steps else None
        if last is None:
            mean = np.stack([value, np.zeros(4)], axis=1)
            spread = np.zeros((4, 2, 2))
            spread[:, 0, 0], spread[:, 1, 1] = noise, (0.2 * unit) ** 2
            return _Step(mean, spread, mean, spread)
        ahead = last.mean @ STEP.T
        ahead_spread = STEP @ last.spread @ STEP.T + push[:, None, None] * PUSH
        total = ahead_spread[:, 0, 0] + noise
        off = value - ahead[:, 0]
        if (off**2 / total > GATE).any():
            return None
        gain = ahead_spread[:, :, 0] / total[:, None]
        mean = ahead + gain * off[:, None]
        spread = ahead_spread - gain[:, :, None] * ahead_spread[:, None, 0, :]
        return _Step(mean, spread, ahead, ahead_spread)

    def _all(self) -> list[Box]:
        steps = [step for step in self._steps if step is not None]
        if not steps:
            return []
        mean, out = steps[-1].mean, [steps[-1].mean]
        for now, following in zip(reversed(steps[:-1]), reversed(steps[1:]), strict=True):
            back = now.spread @ STEP.T @ np.linalg.inv(following.ahead_spread)
            mean = now.mean + np.einsum("kij,kj->ki", back, mean - following.ahead)
            out.append(mean)
        return [_box(m) for m in reversed(out)]

    def _back(self, at: int) -> Box:
        return self._all()[at]


def _box(mean: NDArray[np.float64]) -> Box:
    value = mean[:, 0].copy()
    value[2:] = np.exp(value[2:])
    return cxcywh_to_xywh(value)


def smooth(
    boxes: Sequence[Box | None] | Boxes, lag: int = LAG, noise: float = NOISE, agility: float = AGILITY
) -> Boxes:
    """Smoothed boxes of a whole track.

    Args:
        boxes: (n, 4) xywh; None or NaN where the target is lost.
        lag, noise, agility: As for `FixedLag`.

    Returns:
        (n, 4); NaN where there was none.
    """
    smoother, out = FixedLag(lag, noise, agility), []
    for box in boxes:
        out += smoother.push(None if box is None else np.asarray(box, dtype=np.float64))
    out += smoother.flush()
    return np.array([np.full(4, np.nan) if box is None else box for box in out], dtype=np.float64).reshape(-1, 4)


def jitter(boxes: Boxes) -> float:
    """Amount of jitter of a track: the root mean square of the centre's second difference, in per cent of the target's
    size.

    Args:
        boxes: (n, 4) xywh; NaN where there is none.

    Returns:
        Per cent; NaN if there are no three consecutive boxes.
    """
    centres = xywh_to_cxcywh(boxes)
    size = np.sqrt(centres[:, 2] * centres[:, 3])
    bend = centres[2:, :2] - 2 * centres[1:-1, :2] + centres[:-2, :2]
    part = (bend / size[1:-1, None]) ** 2
    known = np.isfinite(part).all(axis=1)
    return float(100 * np.sqrt(part[known].sum(axis=1).mean())) if known.any() else float("nan")


EMPTY = np.zeros((1, 1, 3), np.uint8)


class SmoothSink(Sink):
    """A sink that wraps another one: it delays its input by `lag` frames and smooths the boxes; the rest follows at the
    end.

    Args:
        sink: The sink that gets the smoothed boxes.
        lag: See `FixedLag`. Images aren't kept, so the inner sink must not need them.
    """

    def __init__(self, sink: Sink, lag: int) -> None:
        self._sink, self._lag, self.path = sink, lag, sink.path
        self._held: deque[tuple[Frame, list[Track]]] = deque()
        self._smoothers: dict[int, FixedLag] = {}
        self._ready: dict[int, deque[Box | None]] = {}
        self._closed = False

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Take a frame; write the frames whose boxes are final."""
        self._held.append((replace(frame, image=EMPTY), list(tracks)))
        for track in tracks:
            smoother = self._smoothers.setdefault(track.target_id, FixedLag(self._lag))
            self._ready.setdefault(track.target_id, deque()).extend(smoother.push(track.box if track.visible else None))
        try:
            self._write()
        except OutputError:
            self._held.clear()  # nothing more can be written
            raise

    def _write(self) -> None:
        while self._held and all(self._ready[t.target_id] for t in self._held[0][1]):
            frame, tracks = self._held.popleft()
            calm = []
            for track in tracks:
                box = self._ready[track.target_id].popleft()
                calm.append(track if box is None else replace(track, box=box))
            self._sink.write(frame, calm)

    @property
    def where(self) -> Path:
        """The file that the inner sink writes to now."""
        return self._sink.where

    def close(self, complete: bool = True) -> None:
        """Write what is buffered, and close the inner sink; safe to call twice."""
        if not self._closed:
            self._closed = True
            for number, smoother in self._smoothers.items():
                self._ready[number].extend(smoother.flush())
            try:
                self._write()
            finally:
                self._sink.close(complete)
