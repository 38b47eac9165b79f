"""Several targets dealt out to the machine's cores.

A batch saves little on a core that one window keeps busy already, and one small window gains nothing from a second core. So threads
take few targets at a time through the whole frame (cut, match as one batch, read), on an engine that uses one thread for a call.
What a target gets does not depend on who its neighbours in a batch are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from tracker.tracking.core import Core
from tracker.tracking.sight import Sight, see
from tracker.tracking.target import Target
from tracker.types import Image, Timing

T = TypeVar("T")

TOGETHER = 2
"""Targets that a thread takes at once: nearly all that a batch saves, and while one thread reads (which holds Python's lock) another
is in the network. Who gets a target that needs a second look gets fewer of the others."""


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
            self._pool = ThreadPoolExecutor(self.threads, "targets")

    def each(self, work: Callable[[Core, Sequence[int]], T], count: int) -> list[T]:
        """Deals the numbers 0 ... count - 1 out to the threads.

        Args:
            work: Gets a core of its own thread and its share of the numbers.
            count: At least one.

        Returns:
            What `work` gave, in the order of the numbers.
        """
        if min(self.threads, count) == 1:
            return [work(self.core, range(count))]
        self.prepare()
        assert self._twin is not None and self._pool is not None
        size = min(-(-count // self.threads), TOGETHER)
        parts = [self._pool.submit(work, self._twin, range(k, min(k + size, count))) for k in range(0, count, size)]
        wait(parts)  # also where one failed: nothing may go on changing targets behind the caller's back
        return [part.result() for part in parts]

    def see(self, targets: Sequence[Target], frame: Image) -> Sight:
        """As `sight.see`; the stages have their shares of the time that the frame waited for."""
        begun = time.perf_counter()
        parts = self.each(lambda core, mine: see(core, [targets[k] for k in mine], frame), len(targets))
        spent = time.perf_counter() - begun
        crop, network, decode = (sum(getattr(part.timing, stage) for part in parts) for stage in ("crop", "network", "decode"))
        share = spent / max(crop + network + decode, 1e-9)
        return Sight(
            [look for part in parts for look in part.looks],
            [reading for part in parts for reading in part.readings],
            Timing(crop * share, network * share, decode * share),
        )
