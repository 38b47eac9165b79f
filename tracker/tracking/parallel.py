"""Distribution of several targets over the machine's cores.

A batch saves little on a core that one window keeps busy already, and one small window gains nothing from a second
core. So each thread takes few targets at a time through all steps of a frame, on an engine that uses one thread per
call; a thread that has finished takes the next ones. The result for a target does not depend on the others in a
batch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

from tracker.tracking.assignment import stand_clear
from tracker.tracking.lifecycle import Lifecycle
from tracker.tracking.observation import FrameObservations
from tracker.tracking.observer import Observer
from tracker.tracking.target import Target
from tracker.types import Image, Timing

T = TypeVar("T")

TOGETHER = 4
"""Greatest number of targets that a thread takes at once: that gains nearly all that a batch can."""


class ParallelTargets:
    """Runs the steps of a frame for several targets at once.

    Attributes:
        lifecycle: The steps of a frame, for one target or for all in one call.
        threads: Greatest number of threads, including the caller; 1 if the engine can't be called from several (on a
            GPU a batch is better).
    """

    def __init__(self, lifecycle: Lifecycle, threads: int) -> None:
        self.lifecycle = lifecycle
        self.threads = threads if lifecycle.observer.engine.concurrent else 1
        self._twin: Lifecycle | None = None
        self._pool: ThreadPoolExecutor | None = None

    def prepare(self) -> None:
        """Compiles and starts what several targets need, so that the first frame doesn't wait for it."""
        if self.threads > 1 and self._twin is None:
            single = self.lifecycle.observer
            self._twin = Lifecycle(Observer(single.model, single.engine.one_thread(), single.config))
            self._pool = ThreadPoolExecutor(self.threads - 1, "targets")

    def observe(self, targets: Sequence[Target], frame: Image) -> FrameObservations:
        """As `Observer.observe`; its timing is wall time, divided in proportion to the threads' times."""
        threads = min(self.threads, len(targets))
        if threads == 1:
            return self.lifecycle.observer.observe(targets, frame)
        begun = time.perf_counter()
        parts = [[targets[k] for k in part] for part in shares(len(targets), threads)]
        parts_observed = self.each([partial(_observe, mine, frame) for mine in parts])
        spent = [
            sum(values)
            for values in zip(*((t.crop, t.network, t.decode) for t in (s.timing for s in parts_observed)), strict=True)
        ]
        crop, network, decode = (value * (time.perf_counter() - begun) / max(sum(spent), 1e-9) for value in spent)
        regions, observations = (
            [one for observed in parts_observed for one in getattr(observed, name)]
            for name in ("regions", "observations")
        )
        return FrameObservations(regions, observations, Timing(crop, network, decode))

    def carry(self, targets: Sequence[Target], frame: Image) -> list[bool]:
        """Which targets were moved by points (`Lifecycle.carry`): of those that are far from all others, so that the
        result is that of a tracker of their own."""
        carried = [False] * len(targets)
        if any(target.skip.key for target in targets):
            mine = [k for k, clear in enumerate(stand_clear(targets)) if clear]
            for k, was in zip(mine, self.each([partial(_carry, targets[k], frame) for k in mine]), strict=True):
                carried[k] = was
        return carried

    def each(self, jobs: Sequence[Callable[[Lifecycle], T]]) -> list[T]:
        """The results of jobs, in order; they run on all threads, including this one, each as soon as one is free.

        Args:
            jobs: Each gets the steps to take, and changes targets that no other job uses. An exception of a job is
                raised here, once all threads have stopped: nothing may go on changing targets behind the caller's back.
        """
        if min(self.threads, len(jobs)) <= 1:
            return [job(self.lifecycle) for job in jobs]
        self.prepare()
        assert self._twin is not None and self._pool is not None
        lifecycle, results = self._twin, {}
        left = deque(enumerate(jobs))

        def work() -> None:
            while True:
                try:
                    k, job = left.popleft()
                except IndexError:
                    return
                results[k] = job(lifecycle)

        others = [self._pool.submit(work) for _ in range(min(self.threads, len(jobs)) - 1)]
        try:
            work()
        finally:
            left.clear()
            wait(others)
        for other in others:
            other.result()
        return [results[k] for k in range(len(jobs))]


def _observe(targets: Sequence[Target], frame: Image, lifecycle: Lifecycle) -> FrameObservations:
    return lifecycle.observer.observe(targets, frame)


def _carry(target: Target, frame: Image, lifecycle: Lifecycle) -> bool:
    return lifecycle.carry(target, frame)


def shares(count: int, threads: int) -> list[range]:
    """The indices of `count` targets, divided into the groups that threads take: as equal as possible."""
    parts = min(threads * -(-count // (threads * TOGETHER)), count)
    return [range(k * count // parts, (k + 1) * count // parts) for k in range(parts)]
