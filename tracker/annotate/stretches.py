"""The automatic part of an annotation: the intervals between key boxes, and the tracking of each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.annotate.frames import ClipFrames
from tracker.annotate.retrack import REACH, Follower, Pass, Running, Tick, alone, join
from tracker.geometry import Boxes
from tracker.types import Box

REMEMBERED = 64
"""Number of tracking passes kept, so that after a correction only the new box is tracked from: passes from its
neighbours are cut to length."""


@dataclass(frozen=True)
class Stretch:
    """The frames between two neighbouring key boxes.

    Attributes:
        start, end: The key frames; None: from the first frame of the clip, or to the last.
        first, last: The frames between, excluding the keys.
    """

    start: int | None
    end: int | None
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    @property
    def open_end(self) -> bool:
        """Whether it extends to the clip's first or last frame without a key box there."""
        return self.start is None or self.end is None


def stretches(keys: Mapping[int, Box | None], frames: int) -> list[Stretch]:
    """The intervals before, between and after the key boxes of a target; empty ones are omitted."""
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
    """First and last frame affected by a key at `frame`: from after its left neighbour to before the right one."""
    before = max((k for k in keys if k < frame), default=-1)
    after = min((k for k in keys if k > frame), default=frames)
    return before + 1, after - 1


Result = tuple[Boxes, NDArray[np.float64], NDArray[np.bool_]]


class StretchTracker:
    """Tracks the intervals of one clip.

    Args:
        frames: The clip.
        tracker: `SiamTracker`, or anything with `init` and `update`.
    """

    def __init__(self, frames: ClipFrames, tracker: Follower) -> None:
        self.frames, self.tracker = frames, tracker
        self._passes: dict[tuple[int, tuple[float, ...], bool], Running] = {}
        self.tracked = 0
        """Number of frames tracked, for progress and for the cost of a correction."""

    def track(self, keys: Mapping[int, Box | None], stretch: Stretch, tick: Tick | None = None) -> Result:
        """Boxes, scores and occlusion of the frames `stretch.first` to `stretch.last`.

        After a key "absent" nothing is tracked until the next key; before such a key, the track starts at the previous
        key box, and a target that isn't lost on the way is shown up to it.

        If `tick` stopped it, the next call continues from there.

        Raises:
            BoxError, Stopped: As `Running.advance`.
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

    def known(self, keys: Mapping[int, Box | None], stretch: Stretch) -> int:
        """Number of frames of finished passes over an interval; key boxes are counted if both passes are needed."""
        ends = [(k, keys[k], ahead) for k, ahead in ((stretch.start, True), (stretch.end, False)) if k is not None]
        done = [
            self._passes[n].count
            for k, box, ahead in ends
            if box is not None and (n := _name(k, box, ahead)) in self._passes
        ]
        return sum(min(n - (len(ends) == 1), stretch.length + (len(ends) == 2)) for n in done)

    def reached(self, keys: Mapping[int, Box | None], stretch: Stretch) -> int:
        """For an interval with an open end: the frame that its pass has reached; the key frame if it hasn't started."""
        key = stretch.end if stretch.start is None else stretch.start
        assert key is not None
        box = keys[key]
        running = None if box is None else self._passes.get(_name(key, box, stretch.start is not None))
        return running.reached if running is not None and running.count else key

    def part(self, keys: Mapping[int, Box | None], stretch: Stretch, first: int, last: int) -> Result:
        """For an interval with an open end: the finished frames from first to last; as `track` returns them."""
        key = stretch.end if stretch.start is None else stretch.start
        assert key is not None
        box = keys[key]
        assert box is not None
        running = self._passes[_name(key, box, stretch.start is not None)]
        one = running.until(running.reached)
        # A smoothed box depends on its neighbours, not on the pieces in which the track is written.
        near = slice(max(first - one.first - REACH, 0), last - one.first + 1 + REACH)
        part = Pass(one.first + near.start, one.boxes[near], one.scores[near], one.lost[near])
        boxes, scores, occluded = alone(part, self.frames.width, self.frames.height)
        rows = slice(first - part.first, last - part.first + 1)
        return boxes[rows], scores[rows], occluded[rows]

    def _follow(self, key: int, box: Box, end: int, tick: Tick | None) -> Pass:
        name = _name(key, box, end >= key)
        running = self._passes.pop(name, None) or Running(self.frames, self.tracker, key, box, end >= key)
        self._passes[name] = running
        while len(self._passes) > REMEMBERED:
            self._passes.pop(next(iter(self._passes)))
        before = max(running.count, 1)
        try:
            running.advance(end, tick)
        finally:
            self.tracked += max(running.count - before, 0)
        return running.until(end)


def _name(key: int, box: Box, ahead: bool) -> tuple[int, tuple[float, ...], bool]:
    return key, tuple(float(v) for v in box), ahead
