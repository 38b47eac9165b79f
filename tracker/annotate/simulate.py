"""How many boxes a person must draw: a simulated annotator corrects the worst frame until the mean overlap is high
enough."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tracker.annotate.clip import interpolate
from tracker.annotate.frames import ClipFrames
from tracker.annotate.retrack import Follower
from tracker.annotate.stretches import StretchTracker, stretches
from tracker.datasets.base import SequenceData
from tracker.geometry import Boxes, iou, is_valid
from tracker.types import Box, Image, Track, TrackState

Filler = Callable[[dict[int, Box]], Boxes]
"""Key boxes -> (frames, 4) boxes of all frames; NaN where there is none."""


@dataclass
class Outcome:
    """The number of boxes that a method needs.

    Attributes:
        drawn: Boxes drawn until the mean overlap reached the goal, including the first; None: the limit was reached.
        curve: Mean overlap after 1, 2, ... boxes.
    """

    drawn: int | None = None
    curve: list[float] = field(default_factory=list)


def annotate_like_a_person(truth: Boxes, fill: Filler, goal: float = 0.8, most: int = 200) -> Outcome:
    """Draws the first box, then, while the mean IoU over all annotated frames is below the goal, the true box of the
    worst frame.

    Args:
        truth: (frames, 4) xywh; frames without a valid box don't count.
        fill: Computes boxes of all frames from those drawn.
        goal: Mean IoU to reach.
        most: Greatest number of boxes.
    """
    counts = is_valid(truth)
    first = int(np.flatnonzero(counts)[0])
    keys: dict[int, Box] = {first: truth[first]}
    out = Outcome()
    while True:
        overlap = np.where(counts, iou(fill(keys), truth), np.nan)
        out.curve.append(float(np.nanmean(overlap)))
        if out.curve[-1] >= goal:
            out.drawn = len(keys)
            return out
        left = [k for k in np.flatnonzero(counts) if int(k) not in keys]
        if len(keys) >= most or not left:
            return out
        # Of several equally bad frames (lost from here on: all 0) the middle one of the longest run, where a person who
        # scrubs through the video would stop.
        worst = min(overlap[left])
        bad = [k for k in left if overlap[k] <= worst + 1e-9]
        groups = np.split(np.asarray(bad), np.flatnonzero(np.diff(bad) > 1) + 1)
        longest = max(groups, key=len)
        frame = int(longest[len(longest) // 2])
        keys[frame] = truth[frame]


def by_interpolation(frames: int) -> Filler:
    """Linear interpolation between the key boxes, as in label tools; the nearest box before the first and after the
    last."""

    def fill(keys: dict[int, Box]) -> Boxes:
        at = sorted(keys)
        out = np.empty((frames, 4))
        out[: at[0]], out[at[-1] :] = keys[at[0]], keys[at[-1]]
        for a, b in itertools.pairwise(at):
            out[a : b + 1] = interpolate(a, keys[a], b, keys[b])
        out[at[0]] = keys[at[0]]
        return out

    return fill


def by_tracking(frames: ClipFrames, tracker: Follower) -> tuple[Filler, StretchTracker]:
    """The method of `siamtrack annotate`; `StretchTracker.tracked` counts the frames."""
    machine = StretchTracker(frames, tracker)

    def fill(keys: dict[int, Box]) -> Boxes:
        out = np.full((len(frames), 4), np.nan)
        for key, box in keys.items():
            out[key] = box
        for stretch in stretches(keys, len(frames)):
            out[stretch.first : stretch.last + 1] = machine.track(keys, stretch)[0]
        return out

    return fill, machine


class OpenCVFollower:
    """A tracker of OpenCV as a `Follower`.

    Args:
        tracker: `tracker.evaluation.baselines.OpenCVBaseline` or similar: `init`, `update -> box`, `lost`.
    """

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker

    def init(self, image: Image, box: ArrayLike) -> None:
        self._tracker.init(image, np.asarray(box, dtype=np.float64))

    def update(self, image: Image, *, index: int = 0, timestamp: float | None = None) -> Track:
        """The box with OpenCV's score, if it has one."""
        box = self._tracker.update(image)
        inner: Any = getattr(self._tracker, "_tracker", None)
        score = float(inner.getTrackingScore()) if hasattr(inner, "getTrackingScore") else 1.0
        state = TrackState.LOST if self._tracker.lost else TrackState.TRACKING
        return Track(np.asarray(box, dtype=np.float64), min(max(score, 0.0), 1.0), state, index, timestamp)


def table(rows: Sequence[tuple[str, Sequence[Outcome]]], names: Sequence[str], most: int) -> str:
    """A markdown table: a row per clip, a column per method, the sum, and the ratio to the last column below."""
    lines = ["| clip | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    total = [0] * len(names)
    for clip, outcomes in rows:
        cells = []
        for n, one in enumerate(outcomes):
            total[n] += one.drawn if one.drawn is not None else len(one.curve)
            cells.append(str(one.drawn) if one.drawn is not None else f"> {most}")
        lines.append(f"| {clip} | " + " | ".join(cells) + " |")
    lines.append("| **sum** | " + " | ".join(f"**{t}**" for t in total) + " |")
    return "\n".join(lines)


class SequenceFrames(ClipFrames):
    """The frames of a benchmark's sequence, held in memory."""

    def __init__(self, sequence: SequenceData) -> None:
        super().__init__()
        self._images = list(sequence.images())
        self.path, self.rate = sequence.name, None
        self.height, self.width = self._images[0].shape[:2]

    def __len__(self) -> int:
        return len(self._images)

    def _decode(self, index: int) -> Image:
        return self._images[index]
