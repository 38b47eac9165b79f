"""Several targets dealt out to the machine's cores.

A batch saves little on a core that one window keeps busy already, and one small window gains nothing from a second core. So threads
take few targets at a time through the network, on an engine that uses one thread for a call; cutting and reading, which hold Python's
lock, stay in the thread that asked, while the others are in the network. What is learnt of a target is mostly arithmetic and is dealt out
again. What a target gets does not depend on who its neighbours in a batch are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from tracker.runtime.base import Response
from tracker.tracking.core import Core
from tracker.tracking.reading import Look, Reading
from tracker.tracking.sight import Sight, match, see
from tracker.tracking.target import Target
from tracker.types import Image

HANDOVER = 2e-4
"""Seconds after which a thread that runs Python gives way to one that waits for it. Python's own 5 ms are as long as a call of the
network: a thread that comes back from one would wait for as long as it has worked."""
TOGETHER = 2
"""Targets that a thread takes at once: nearly all that a batch saves, and those that are read while the others are in the network."""


class Spread:
    """Runs the steps of a frame for several targets at once.

    Attributes:
        core: The steps of a frame, as one target takes them.
        threads: Threads at most; 1 where the engine can't be called from several (on a GPU a batch is the better way).
    """

    def __init__(self, core: Core, threads: int) -> None:
        twin = getattr(core.engine, "one_thread", None)
        self.core = core
        self.threads = threads if twin is not None else 1
        self._twin: Core | None = None
        self._pool: ThreadPoolExecutor | None = None

    def prepare(self) -> None:
        """Compiles and starts what several targets need, so that it is not the first frame that waits for it."""
        if self.threads > 1 and self._twin is None:
            sys.setswitchinterval(min(HANDOVER, sys.getswitchinterval()))  # of the whole process; there is no narrower one
            self._twin = Core(self.core.model, self.core.engine.one_thread(), self.core.config)  # type: ignore[attr-defined]
            self._pool = ThreadPoolExecutor(self.threads, "targets")

    def see(self, targets: Sequence[Target], frame: Image) -> Sight:
        """As `sight.see`, matched by the threads."""
        if min(self.threads, len(targets)) == 1:
            return see(self.core, targets, frame)
        self.prepare()
        return see(self.core, targets, frame, self)

    def parts(self, numbers: Sequence[int]) -> list[Sequence[int]]:
        """As of `sight.Deal`: few for each call, and no thread idles while another has two."""
        size = min(-(-len(numbers) // self.threads), TOGETHER)
        return [numbers[k : k + size] for k in range(0, len(numbers), size)]

    def match(self, targets: Sequence[Target], looks: Sequence[Look]) -> Callable[[], list[Response]]:
        """As of `sight.Deal`."""
        assert self._twin is not None and self._pool is not None
        return self._pool.submit(match, self._twin, targets, looks).result

    def learn(self, lessons: Sequence[tuple[Target, Reading]], frame: Image) -> None:
        """`Core.learn` of several targets, those at once that have much to learn.

        Args:
            lessons: Each target at most once, and what was read of it.
            frame: The picture.
        """
        much = [self.core.learns_much(*lesson) for lesson in lessons]
        shared = min(self.threads, sum(much)) > 1
        for lesson, long in zip(lessons, much, strict=True):
            if not (shared and long):
                self.core.learn(*lesson, frame)
        if not shared:
            return
        assert self._twin is not None and self._pool is not None
        waiting = [self._pool.submit(self._twin.learn, *lesson, frame) for lesson, long in zip(lessons, much, strict=True) if long]
        wait(waiting)  # also where one failed: nothing may go on changing targets behind the caller's back
        for one in waiting:
            one.result()
