"""Several targets dealt out to the machine's cores.

A batch saves little on a core that one window keeps busy already, and one small window gains nothing from a second
core. So each thread takes few targets at a time through all steps of a frame, on an engine that uses one thread for a
call; who is done takes the next ones. What a target gets does not depend on who its neighbours in a batch are.
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
"""Targets that a thread takes at once, at most: nearly all that a batch saves."""


class ParallelTargets:
    """Runs the steps of a frame for several targets at once.

    Attributes:
        lifecycle: The steps of a frame, for one target or for all in one call.
        threads: Threads at most, that which asks included; 1 where the engine can't be called from several (on a GPU a
            batch is the better way).
    """

    def __init__(self, lifecycle: Lifecycle, threads: int) -> None:
        self.lifecycle = lifecycle
        self.threads = threads if lifecycle.observer.engine.concurrent else 1
        self._twin: Lifecycle | None = None
        self._pool: ThreadPoolExecutor | None = None

    def prepare(self) -> None:
        """Compiles and starts what several targets need, so that it is not the first frame that waits for it."""
        if self.threads > 1 and self._twin is None:
            single = self.lifecycle.observer
            self._twin = Lifecycle(Observer(single.model, single.engine.one_thread(), single.config))
            self._pool = ThreadPoolExecutor(self.threads - 1, "targets")

    def observe(self, targets: Sequence[Target], frame: Image) -> FrameObservations:
        """As `Observer.observe`; its timing is the wall's, shared out as the threads spent theirs."""
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
        """Which targets points carried (`Lifecycle.carry`): of those that stand clear of all others, so that each gets
        what a run of its own gives."""
        carried = [False] * len(targets)
        if any(target.skip.key for target in targets):
            mine = [k for k, clear in enumerate(stand_clear(targets)) if clear]
            for k, was in zip(mine, self.each([partial(_carry, targets[k], frame) for k in mine]), strict=True):
                carried[k] = was
        return carried

    def each(self, jobs: Sequence[Callable[[Lifecycle], T]]) -> list[T]:
        """What the jobs give, in their order; they are run on all threads, this one included, each as soon as one is
        free.

        Args:
            jobs: Each gets the steps to take, and changes targets that no other job touches. What one raises is raised
                here, once no
                thread works on: nothing may go on changing targets behind the caller's back.
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
    """The numbers of `count` targets, cut into what a thread takes at once: as much for each thread, as far as that
    goes."""
    parts = min(threads * -(-count // (threads * TOGETHER)), count)
    return [range(k * count // parts, (k + 1) * count // parts) for k in range(parts)]
