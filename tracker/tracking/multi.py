"""Several targets at once: distributed over the cores (on a GPU: in one network call), and no two on the same object.

A target that is far from the others gets exactly the result of a tracker of its own. Where the search windows of
several targets show the same positions (look-alikes that cross), positions are assigned jointly: the sum of score and
agreement with each target's motion is maximised, a position is given to one target only, and a target without one
counts as occluded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tracker.errors import SiamTrackError, shown
from tracker.geometry import rows_of
from tracker.media.images import to_bgr8
from tracker.model.checkpoint import fingerprint
from tracker.tracking.assignment import (
    HIDDEN,
    SAME,
    Hypothesis,
    assign,
    clash,
    groups_of,
    hypothesis,
    in_contest,
    places_of,
)
from tracker.tracking.lifecycle import Lifecycle
from tracker.tracking.motion import CameraMotion
from tracker.tracking.observation import Observation
from tracker.tracking.parallel import ParallelTargets
from tracker.tracking.peaks import box_of, outside
from tracker.tracking.readout import at_cell
from tracker.tracking.target import Target
from tracker.tracking.template_memory import KnownTarget
from tracker.tracking.tracker import NetworkViews, SiamTracker, carried_track, network_views, next_index, track_of
from tracker.types import Box, Image, Timing, Track

CHOICES = 3
"""Number of positions that a target may choose from."""


class MultiTracker:
    """Tracks several targets; each has a permanent id.

    Args:
        single: The tracker whose model, engine and configuration are used.
        threads: CPU threads that the targets are distributed over; None: the engine's `parallel_threads`, which is all
            cores unless the engine was built with a number of threads, or OMP_NUM_THREADS is set. Engines on a GPU and
            torch use one batch instead.

    Attributes:
        observer, lifecycle: `SiamTracker.for_many` of `single`.
        parallel: Distributes them over threads.
        targets: id -> target, in the order in which they were added.
        views: The network's views of the first target, or None.
        camera: The camera's motion.
        skips: Whether frames may be skipped: on a CPU; on a GPU one more window in a batch costs less.
    """

    may_skip = True

    def __init__(self, single: SiamTracker, threads: int | None = None) -> None:
        self.name, self.device, self.engine = single.name, single.device, single.engine
        self.config = single.config
        self.lifecycle = single.for_many()
        self.observer = self.lifecycle.observer
        self.parallel = ParallelTargets(self.lifecycle, threads or self.engine.parallel_threads)
        self.targets: dict[int, Target] = {}
        self.views: NetworkViews | None = None
        self.camera = CameraMotion()
        self.skips = self.lifecycle.skips and self.may_skip and self.device == "cpu"
        self._next = 0
        self._turn = self._index = 0

    @classmethod
    def from_pretrained(cls, *args: Any, threads: int | None = None, **kwargs: Any) -> MultiTracker:
        """As `SiamTracker.from_pretrained`, with `threads` as above."""
        return cls(SiamTracker.from_pretrained(*args, **kwargs), threads)

    def init(self, image: ArrayLike, boxes: Sequence[Box] | ArrayLike) -> None:
        """Starts to track these boxes, with the ids 0, 1, ...; earlier targets are dropped.

        Args:
            image: H x W x 3 BGR uint8; gray, BGRA and 16-bit are converted.
            boxes: (n, 4) xywh in pixels.

        Raises:
            ImageError, BoxError: With the value, the reason and the next step.
        """
        frame = to_bgr8(image)
        targets = [self.lifecycle.start(frame, box) for box in rows_of(boxes)]  # all checks before anything is dropped
        self.reset()
        self._watch(frame)
        for target in targets:
            self._follow(target)

    def add(self, image: ArrayLike, box: ArrayLike) -> int:
        """Adds one more target from this frame on.

        Returns:
            Its id; ids are not reused until `reset`.

        Raises:
            ImageError, BoxError: With the value, the reason and the next step.
        """
        frame = to_bgr8(image)
        target = self.lifecycle.start(frame, box)
        self._watch(frame)
        return self._follow(target)

    def _watch(self, frame: Image) -> None:
        """Starts to observe the camera's motion if there was no target before."""
        if not self.targets:
            self.camera = CameraMotion()
            self.lifecycle.predict([], frame, self.camera)

    def _predict(self, targets: Sequence[Target], frame: Image) -> None:
        """Predicts the positions of the targets in this frame."""
        self.lifecycle.predict(targets, frame, self.camera)

    def _follow(self, target: Target) -> int:
        """Adds a target, and assigns its id."""
        number, self._next = self._next, self._next + 1
        self.targets[number] = target
        if len(self.targets) > 1:
            self.parallel.prepare()
        if self.views is None:
            picture = target.bank.views[0].picture
            self.views = NetworkViews(picture, picture, np.zeros((1, 1), np.float32))
        return number

    def expect(self, image: ArrayLike, known: KnownTarget) -> int:
        """Searches for a known target from this frame on; it is LOST until it is found (`SiamTracker.find` for one).

        Returns:
            Its id.

        Raises:
            ImageError: The image can't be read.
        """
        frame = to_bgr8(image)
        target = self.lifecycle.expect(frame, known, fingerprint(self.observer.model))
        self._watch(frame)
        number, self._next = self._next, self._next + 1
        self.targets[number] = target
        return number

    def drop(self, number: int) -> None:
        """Stops tracking a target.

        Raises:
            SiamTrackError: There is none of that id.
        """
        if not isinstance(number, int) or number not in self.targets:
            raise SiamTrackError(
                f"There is no target {shown(number)}; those followed are {sorted(self.targets) or 'none'}."
            )
        del self.targets[number]

    def reset(self) -> None:
        """Drops all targets and starts with id 0 again."""
        self.targets, self.views, self._next, self._turn = {}, None, 0, 0
        self._index = 0

    def update(self, image: ArrayLike, *, index: int | None = None, timestamp: float | None = None) -> list[Track]:
        """Tracks every target in the next frame.

        Args:
            image: As in `init`.
            index: Frame index for the tracks; None: one more than before (`init` was frame 0).
            timestamp: Seconds, passed on to the tracks.

        Returns:
            A track for each target, in the order of their ids; none if there are no targets.
        """
        frame = to_bgr8(image)
        index = self._index = next_index(self._index, index, timestamp)
        if not self.targets:
            return []
        tracks = self._carry(frame, index, timestamp)
        tracks |= self._look([number for number in self.targets if number not in tracks], frame, index, timestamp)
        return [tracks[number] for number in self.targets]

    def _carry(self, frame: Image, index: int, timestamp: float | None) -> dict[int, Track]:
        """The tracks of the targets that points move in this frame."""
        if not self.skips:
            return {}
        begun = time.perf_counter()
        carried = self.parallel.carry(list(self.targets.values()), frame)
        timing = Timing(decode=(time.perf_counter() - begun) / len(carried))
        return {
            number: carried_track(self.targets[number], timing, index, timestamp, number)
            for number, was in zip(self.targets, carried, strict=True)
            if was
        }

    def _look(self, numbers: Sequence[int], frame: Image, index: int, timestamp: float | None) -> dict[int, Track]:
        """The tracks of the targets that the network observes."""
        if not numbers:
            self.camera.pass_over()
            return {}
        targets = [self.targets[number] for number in numbers]
        self._predict(targets, frame)
        observed = self.parallel.observe(targets, frame)
        near, begun = observed.observations, time.perf_counter()
        chosen = self._share_out(targets, near)
        searching = self._searching(targets)
        copy = cache(frame.copy)

        def settle(some: Sequence[int], lifecycle: Lifecycle) -> list[Observation]:
            shown = {k: lifecycle.hide(targets[k], near[k], frame) for k in some if chosen[k] is None}
            seen = {k: choice for k in some if (choice := chosen[k]) is not None}
            mine = [targets[k] for k in seen]
            shown |= zip(seen, lifecycle.settle(mine, list(seen.values()), frame, searching, copy), strict=True)
            for k in seen:
                lifecycle.mark(targets[k], shown[k], frame)
            return [shown[k] for k in some]

        # On one thread all together; on several, a search for a LOST target must not keep others waiting.
        shares = [range(len(targets))] if self.parallel.threads == 1 else [range(k, k + 1) for k in range(len(targets))]
        settled = [one for some in self.parallel.each([partial(settle, share) for share in shares]) for one in some]
        self.lifecycle.finish()
        if numbers[0] == next(iter(self.targets)):
            self.views = network_views(targets[0], observed.regions[0], near[0])
        share = 1 / len(targets)
        timing = observed.timing.and_decode(time.perf_counter() - begun, share)
        return {
            number: track_of(t, observation, seen, timing, index, timestamp, number)
            for number, t, observation, seen in zip(numbers, targets, settled, near, strict=True)
        }

    def _searching(self, targets: Sequence[Target]) -> Target | None:
        """The target whose turn it is: one LOST target per frame searches, so that ten of them don't stall a live
        video."""
        lost = [target for target in targets if target.lost]
        self._turn += 1
        return lost[self._turn % len(lost)] if lost else None

    def _share_out(self, targets: Sequence[Target], near: Sequence[Observation]) -> list[Observation | None]:
        """The observation assigned to each target; None: occluded by another.

        Targets without competition keep their observation.
        """
        result: list[Observation | None] = list(near)
        numbers = [k for k, target in enumerate(targets) if not target.lost]
        contested = in_contest([near[k].centre for k in numbers], [targets[k].size for k in numbers])
        if contested:  # otherwise no second position is needed
            first = {k: hypothesis(targets[k], near[k]) for k in numbers}
            options = {numbers[k]: self._hypotheses(targets[numbers[k]], first[numbers[k]]) for k in contested}
            for k in numbers:
                if k not in options and any(clash(first[k], other) for some in options.values() for other in some):
                    options[k] = self._hypotheses(targets[k], first[k])
            involved = sorted(options)
            for group in groups_of([options[k] for k in involved]):
                mine = [involved[k] for k in group]
                for k, choice in zip(mine, assign([options[k] for k in mine]), strict=True):
                    result[k] = choice.observation
        # A LOST target must not be re-detected at the position of a tracked one.
        lost = [k for k, target in enumerate(targets) if target.lost]
        if lost and len(lost) < len(self.targets):
            followed = [near[k].place for k in numbers]
            looked = {id(target) for target in targets}
            followed += [(t.centre, t.size) for t in self.targets.values() if id(t) not in looked]  # moved by points
            centres, sides = places_of(followed)
            for k in lost:
                (centre,), side = places_of([near[k].place])
                if (np.hypot(*(centres - centre).T) < SAME * np.minimum(sides, side)).any():
                    result[k] = replace(near[k], score=0.0)
        return result

    def _hypotheses(self, target: Target, first: Hypothesis) -> list[Hypothesis]:
        """The best positions for a target, its first observation, and being occluded."""
        choices, observation = [first], first.observation
        assert observation is not None
        if observation.weighed is not None:
            values, crop = observation.weighed.mixed.copy(), observation.crop
            size, found = observation.size * crop.scale, observation.found
            while len(choices) < CHOICES:
                clear = outside(values.shape, box_of(found, size, crop.size), self.observer.stride, crop.size)
                values = np.where(clear, values, -np.inf).astype(np.float32)
                values[found.cell] = -np.inf
                if not np.isfinite(values).any():
                    break
                other = at_cell(self.observer, target, observation, int(np.argmax(values)))
                found = other.found
                choices.append(hypothesis(target, other))
        return [*choices, Hypothesis(None, target.centre + target.velocity, 0.0, HIDDEN)]
