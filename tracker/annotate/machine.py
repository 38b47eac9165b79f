"""The machine's part of an annotation: which stretches lie between key boxes, and the tracking of each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.annotate.frames import Frames
from tracker.annotate.retrack import Follower, Pass, Tick, alone, follow, join
from tracker.geometry import Boxes
from tracker.types import Box

REMEMBERED = 64
"""Passes that are kept, so that a correction tracks from the new box alone: what was tracked from its neighbours is cut
to size."""


@dataclass(frozen=True)
class Stretch:
    """The frames between two neighbouring key boxes.

    Attributes:
        start, end: The key frames; None: from the first frame of the clip, or to the last.
        first, last: The frames between, keys excluded.
    """

    start: int | None
    end: int | None
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def stretches(keys: Mapping[int, Box | None], frames: int) -> list[Stretch]:
    """What lies before, between and after the key boxes of a target; empty ones are left out."""
    at: list[int | None] = [None, *sorted(keys), None]
    out = []
    for a, b in itertools.pairwise(at):
        if a is None and b is None:
            continue
        one = Stretch(a, b, 0 if a is None else a + 1, frames - 1 if b is None else b - 1)
        if one.length > 0:
            out.append(one)
    return out


def stretch_at(keys: Mapping[int, Box | None], frame: int, frames: int) -> tuple[int, int]:
    """First and last frame of all that a key at `frame` has a say in: from after its neighbour to before the next."""
    before = max((k for k in keys if k < frame), default=-1)
    after = min((k for k in keys if k > frame), default=frames)
    return before + 1, after - 1


Result = tuple[Boxes, NDArray[np.float64], NDArray[np.bool_]]


class Machine:
    """Tracks the stretches of one clip.

    Args:
        frames: The clip.
        tracker: `SiamTracker`, or anything with `init` and `update`.
    """

    def __init__(self, frames: Frames, tracker: Follower) -> None:
        self.frames, self.tracker = frames, tracker
        self._passes: dict[tuple[int, tuple[float, ...], bool], Pass] = {}
        self.tracked = 0
        """Frames that were tracked, for progress and for the cost of a correction."""

    def track(self, keys: Mapping[int, Box | None], stretch: Stretch, tick: Tick | None = None) -> Result:
        """Boxes, scores and occlusion of the frames `stretch.first` to `stretch.last`.

        From a key that says "out of the picture" nothing is tracked until the next key; before such a key, the track
        runs from the key box before it, and a target that isn't lost on the way is shown up to there.

        Raises:
            BoxError, Stopped: As `follow`.
        """
        start = None if stretch.start is None else keys[stretch.start]
        end = None if stretch.end is None else keys[stretch.end]
        n = stretch.length
        if stretch.start is not None and start is None:
            return np.full((n, 4), np.nan), np.ones(n), np.zeros(n, bool)
        first = stretch.first - (start is not None)
        last = stretch.last + (end is not None)
        if start is not None and end is not None:
            boxes, scores, occluded = join(self._follow(first, start, last, tick), self._follow(last, end, first, tick))
        elif start is not None:
            boxes, scores, occluded = alone(
                self._follow(first, start, last, tick), self.frames.width, self.frames.height
            )
        elif end is not None:
            boxes, scores, occluded = alone(self._follow(last, end, first, tick), self.frames.width, self.frames.height)
        else:
            return np.full((n, 4), np.nan), np.full(n, np.nan), np.zeros(n, bool)
        inner = slice(stretch.first - first, stretch.last - first + 1)
        return boxes[inner], scores[inner], occluded[inner]

    def _follow(self, key: int, box: Box, end: int, tick: Tick | None) -> Pass:
        name = (key, tuple(float(v) for v in box), end >= key)
        known = self._passes.get(name)
        if known is not None and known.first <= end < known.first + len(known.boxes):
            cut = slice(0, end - known.first + 1) if end >= key else slice(end - known.first, None)
            return Pass(min(key, end), known.boxes[cut], known.scores[cut], known.lost[cut])
        made = follow(self.frames, self.tracker, key, box, end, tick)
        self.tracked += abs(end - key)
        self._passes.pop(name, None)
        self._passes[name] = made
        while len(self._passes) > REMEMBERED:
            self._passes.pop(next(iter(self._passes)))
        return made
