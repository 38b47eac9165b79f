"""The search for a LOST target: windows in a growing ring around its last position, then over the whole frame, a few
per frame.

The matcher is fully convolutional, so a window may be larger than the usual search crop; the frame is tiled by such
windows at the scale at which the target had its usual size, with an overlap of one template. The nearest come first.
Every second sweep searches for a larger or smaller target. Candidates have to be confirmed by
`tracker.tracking.redetection`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker.config import TrackingConfig
from tracker.crops import Crop
from tracker.tracking.decode import sigmoid, weigh_boxes

Vector = NDArray[np.float64]
LONGEST_SWEEP = 128
"""Greatest number of windows per sweep; distant ones in a huge frame with a tiny target are left out."""

APART = 0.6
"""Distance from a distractor, in sqrt(w h), below which a position belongs to it."""
CLEAR = 0.75
"""Distance from the best position, in its sqrt(w h), above which a position is another object."""
FEW = 0.5
"""Overlap of two windows, in template windows, if there is one per frame or less: enough for a target with part of its
surroundings."""

LEAST_HOPE = 0.1
"""Candidates with a lower score are not verified."""
JUMP = 0.75
"""Step of a LOST target's best guess, in sqrt(w h), above which it may have moved to another object."""


class WeighedPlaces(NamedTuple):
    """The N cells of some windows as candidate positions.

    Attributes:
        scores: (N,) in [0, 1], after the penalty on the size.
        centres, sizes: (N, 2) frame pixels.
    """

    scores: Vector
    centres: Vector
    sizes: Vector


@dataclass(frozen=True)
class Candidate:
    """A candidate position of the target.

    Attributes:
        centre, size: (2,) frame pixels.
        logit: Logit there after the penalty on its size.
        margin: Margin over the best other position in the same windows, in logits.
    """

    centre: Vector
    size: Vector
    logit: float
    margin: float


@dataclass
class Redetection:
    """The state of a search.

    Attributes:
        queue: Windows still to be searched in this sweep, nearest first, with the size factor they search for.
        sweep: Number of sweeps started.
        pending: Centre and size of a candidate that awaits confirmation.
        candidate: Centre and size of a search candidate that is to be verified.
        hits: Number of consecutive frames in which it was confirmed.
        evidence: Evidence for it in these frames: log-odds above the threshold.
        far: Whether it came from the search windows, not from the last position.
        trail: Whether the target is still tracked from where it was last seen: the best guess.
        held: Number of consecutive frames with a high score there.
        frames: Number of frames since it was lost.
        persistence: Evidence for the best guess: sum of log-odds, clipped at 0 from below.
        strayed: Whether the best guess has jumped: it may be another object from then on.
        unseen: Whether the target was never seen in this video: for a known target no best guess is accepted.
        tile_seconds: Smoothed time for one window.
    """

    queue: list[tuple[Crop, float]] = field(default_factory=list)
    sweep: int = 0
    pending: tuple[Vector, Vector] | None = None
    candidate: tuple[Vector, Vector] | None = None
    hits: int = 0
    evidence: float = 0.0
    far: bool = False
    trail: bool = False
    held: int = 0
    frames: int = 0
    persistence: float = 0.0
    strayed: bool = False
    unseen: bool = False
    tile_seconds: float = 0.0

    @property
    def jumped(self) -> bool:
        """Whether the candidate was found by search, or by a jump of the best guess: both may be another object."""
        return self.far or (self.trail and self.strayed)

    def next_windows(
        self,
        centre: Vector,
        side: float,
        frame: tuple[int, int],
        sizes: tuple[int, int],
        config: TrackingConfig,
        room: float | None = None,
    ) -> list[tuple[Crop, float]]:
        """The windows of this frame, at least one.

        Args:
            centre: (2,) last position.
            side: Side of a template window around the target, frame pixels.
            frame: (width, height) in pixels.
            sizes: Sides of a template crop and of these windows in crop pixels.
            config: Greatest number of windows, and time budget.
            room: Number of windows that the work limit of a frame allows; None: no limit.
        """
        count = max(config.redetection.tiles, 1) if room is None else min(max(int(room), 1), config.redetection.tiles)
        if config.redetection.budget_ms > 0 and self.tile_seconds > 0:
            count = int(np.clip(config.redetection.budget_ms / 1e3 / self.tile_seconds, 1, count))
        if not self.queue:
            factor = self.factor(config.redetection.scale_step)
            overlap = 1.0 if room is None and config.redetection.tiles > 1 else FEW
            self.queue = [(crop, factor) for crop in tiles(centre, side * factor, frame, sizes[0], sizes[1], overlap)]
            self.sweep += 1
        now, self.queue = self.queue[:count], self.queue[count:]
        return now

    def factor(self, step: float) -> float:
        """Size factor of the next sweep: 1, larger, 1, smaller, 1, larger twice, ..."""
        if self.sweep % 2 == 0:
            return 1.0
        turn = self.sweep // 2
        exponent = (turn // 2 % 2 + 1) * (1 if turn % 2 == 0 else -1)
        return float(step**exponent)

    def strays(self, place: Vector, last: Vector, size: Vector) -> bool:
        """Whether a move to a position (2,) is questionable: not on an unbroken trail, nor while it awaits
        confirmation."""
        if self.pending is not None:
            return False
        if self.trail:
            self.strayed = self.strayed or float(np.linalg.norm(place - last)) > JUMP * float(np.sqrt(np.prod(size)))
        return self.strayed or not self.trail

    def forget(self) -> None:
        """Drops the unconfirmed candidate."""
        self.pending, self.hits, self.evidence, self.far = None, 0, 0.0, False

    def took(self, seconds: float, count: int) -> None:
        """Records the time that `count` windows took."""
        each = seconds / max(count, 1)
        self.tile_seconds = each if self.tile_seconds == 0 else 0.7 * self.tile_seconds + 0.3 * each


def window_within(work: float, sizes: tuple[int, int], stride: int, most: int) -> int:
    """Side of the largest window of whole cells within a work limit: between a template and `most`.

    Args:
        work: In passes over the full search window.
        sizes: Sides of template and search crop in crop pixels.
        stride: Crop pixels for one cell.
        most: Crop pixels.
    """
    side = int(math.sqrt(max(work, 0.0)) * (sizes[1] - 1)) // stride * stride + 1
    return min(most, max(side, sizes[0]))


def tiles(
    centre: Vector, side: float, frame: tuple[int, int], template: int, size: int, overlap: float = 1.0
) -> list[Crop]:
    """Windows that cover the frame, nearest to `centre` first.

    Args:
        centre: (2,) x, y.
        side: Side of a template window around the target, frame pixels.
        frame: (width, height) in pixels.
        template: Side of a template crop in crop pixels.
        size: Side of the windows in crop pixels.
        overlap: Of neighbours, in template windows.
    """
    window = side * size / template
    step = max(window - overlap * side, side)

    def along(length: float) -> Vector:
        count = max(int(np.ceil((length - window) / step)) + 1, 1)
        return np.linspace(window / 2, length - window / 2, count) if count > 1 else np.array([length / 2])

    x, y = np.meshgrid(along(frame[0]), along(frame[1]))
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    order = np.argsort(np.linalg.norm(places - centre, axis=1), kind="stable")[:LONGEST_SWEEP]
    return [Crop.around(places[k], window, size) for k in order]


def best_candidate(places: WeighedPlaces, size: Vector, avoid: Sequence[Vector] = ()) -> Candidate:
    """The best position in some windows, with its margin over the next one.

    Args:
        places: From `weigh_windows`, at least one.
        size: (2,) last size of the target, frame pixels.
        avoid: Positions (2,), frame pixels; candidates closer to them than `APART` of the size are excluded.
    """
    value, centre, extent = places
    for place in avoid:
        value = np.where(np.linalg.norm(centre - place, axis=1) < APART * float(np.sqrt(np.prod(size))), 0.0, value)
    best = int(np.argmax(value))
    reach = CLEAR * float(np.sqrt(np.prod(extent[best])))
    others = value[np.linalg.norm(centre - centre[best], axis=1) > reach]
    second = float(others.max()) if len(others) else 0.0
    peak = log_odds(float(value[best]))
    return Candidate(centre[best], extent[best], peak, peak - log_odds(second))


def weigh_windows(
    scores: NDArray[np.float32],
    boxes: NDArray[np.float32] | None,
    windows: Sequence[tuple[Crop, float]],
    size: Vector,
    stride: int,
    config: TrackingConfig,
) -> WeighedPlaces:
    """Computes the scores of all cells of some windows as positions of the target.

    Args:
        scores: (T, H, W) logits.
        boxes: (T, 4, H, W) xyxy in window pixels, or None (classic head: the size stays).
        windows: T windows and their size factors, at least one.
        size: (2,) last size of the target, frame pixels.
        stride: Window pixels for one cell.
        config: Penalty on a change of size.
    """
    values, centres, extents = [], [], []
    for k, (crop, factor) in enumerate(windows):
        expected = size * factor * crop.scale
        if boxes is not None:
            value = weigh_boxes(scores[k], boxes[k], (float(expected[0]), float(expected[1])), config).weighted
            corners = boxes[k].astype(np.float64).transpose(1, 2, 0)
            middle, extent = (
                (corners[..., :2] + corners[..., 2:]) / 2,
                np.maximum(corners[..., 2:] - corners[..., :2], 1.0),
            )
        else:
            value = sigmoid(scores[k])
            rows, columns = np.indices(value.shape)
            away = np.stack([columns - (value.shape[1] - 1) / 2, rows - (value.shape[0] - 1) / 2], axis=-1)
            middle, extent = crop.size / 2 + away * stride, np.broadcast_to(expected, (*value.shape, 2))
        values.append(value.ravel())
        centres.append((middle / crop.scale + (crop.left, crop.top)).reshape(-1, 2))
        extents.append((extent / crop.scale).reshape(-1, 2))
    return WeighedPlaces(np.concatenate(values), np.concatenate(centres), np.concatenate(extents))


def within_frame(centre: Vector, size: Vector, frame: tuple[int, int], config: TrackingConfig) -> tuple[Vector, Vector]:
    """A position with its centre inside the frame, and with sides between `min_size` and the frame's.

    Args:
        centre, size: (2,) frame pixels.
        frame: (width, height) in pixels.
        config: `min_size`, which takes precedence over the frame's sides.

    Returns:
        Centre and size.
    """
    most = np.maximum(np.asarray(frame, dtype=np.float64), config.min_size)
    return np.clip(centre, 0, frame), np.clip(size, config.min_size, most)


def log_odds(p: float) -> float:
    """log(p / (1 - p)), within bounds."""
    p = float(np.clip(p, 1e-6, 1 - 1e-6))
    return float(np.log(p / (1 - p)))
