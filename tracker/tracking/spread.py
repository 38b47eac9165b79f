"""Several targets dealt out to the machine's cores.

A batch saves nothing on a core that one window keeps busy already, and one small window gains nothing from a second core. So each
thread takes its share of the targets through the whole frame (cut, match as one batch, read), on an engine that uses one thread
for a call. What a target gets does not depend on who its neighbours in a batch are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from tracker.tracking.core import Core
from tracker.tracking.sight import Sight, see
from tracker.tracking.target import Target
from tracker.types import Image

T = TypeVar("T")


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
            self._twin = Core(self.core.model, self.core.engine.one_thread(), self.core.config)  # type: ignore[attr-defined]
            self._pool = ThreadPoolExecutor(self.threads - 1, "targets")  # the caller is one of the threads

    def each(self, work: Callable[[Core, Sequence[int]], T], count: int) -> list[T]:
        """Deals the numbers 0 ... count - 1 out to the threads.

        Args:
            work: Gets a core of its own thread and its share of the numbers.
            count: At least one.

        Returns:
            What `work` gave, in the order of the numbers.
        """
        parts = min(self.threads, count)
        if parts == 1:
            return [work(self.core, range(count))]
        self.prepare()
        assert self._twin is not None and self._pool is not None
        shares = [range(count * k // parts, count * (k + 1) // parts) for k in range(parts)]
        others = [self._pool.submit(work, self._twin, share) for share in shares[1:]]
        try:
            first = work(self._twin, shares[0])
        finally:
            wait(others)  # also where it failed: nothing may go on changing targets behind the caller's back
        return [first, *(other.result() for other in others)]

    def see(self, targets: Sequence[Target], frame: Image) -> Sight:
        """As `sight.see`; the timing is that of the thread that took longest, which the frame waited for."""
        parts = self.each(lambda core, mine: see(core, [targets[k] for k in mine], frame), len(targets))
        return Sight(
            [look for part in parts for look in part.looks],
            [reading for part in parts for reading in part.readings],
            max((part.timing for part in parts), key=lambda timing: timing.total),
        )
