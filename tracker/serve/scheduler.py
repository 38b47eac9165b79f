"""Scheduling in a worker: which frames are processed next, which share a network call, and which stream may search for
LOST targets."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tracker.serve.config import BatchConfig
from tracker.serve.stream import Stream

CALM, MEMORY_SECONDS = 0.85, 1.0
"""Fraction of time that a worker is busy, below which it has time to spare; and the averaging time."""
PASSED_OVER = 3.0
"""Multiple of the median waiting time after which a stream is processed whatever the age of its frame."""


class Scheduler:
    """Gathers frames of streams into batches.

    Args:
        streams: The streams by name; the worker's own mapping.
        batch: Greatest number of search windows in a batch, and the waiting time.
        call: Greatest number of search windows per network call.
        interrupted: Whether the worker has something else to do, so that gathering ends.
        together: Network calls that are made at the same time, by as many threads.
    """

    def __init__(
        self,
        streams: Mapping[str, Stream],
        batch: BatchConfig,
        call: int,
        interrupted: Callable[[], bool],
        together: int = 1,
    ) -> None:
        self._streams, self._batch, self._call, self._interrupted = streams, batch, call, interrupted
        self._together, self._looks = together, 0
        self._ready: Sequence[Stream] = []
        self._wakeup = threading.Condition()
        self._news = False
        self._busy, self._returned = 1.0, time.monotonic()

    def wake(self) -> None:
        """Signals that there is work; thread-safe."""
        with self._wakeup:
            self._news = True
            self._wakeup.notify_all()

    def gather(self, idle: float) -> list[Stream]:
        """The streams whose frames are processed now: those served longest ago first, up to `batch.crops` windows.

        Where each window has a call of its own, `fresh_first` says which.

        Args:
            idle: Greatest number of seconds to wait if nothing happens.
        """
        begun = time.monotonic()
        found = self._gather(idle)
        now = time.monotonic()
        worked, whole = begun - self._returned, max(now - self._returned, 1e-6)
        keep = math.exp(-whole / MEMORY_SECONDS)
        self._busy = keep * self._busy + (1 - keep) * worked / whole
        self._returned = now
        for stream in found:
            stream.reader.calm = self._busy < CALM
        return found

    def _gather(self, idle: float) -> list[Stream]:
        # If each window has a call of its own, none waits for others.
        limit, wait = self._batch.crops, self._batch.wait_ms / 1000 if self._call > 1 else 0.0
        with self._wakeup:
            self._wakeup.wait_for(lambda: self._news, idle)
            self._news = False
        while True:
            ready = [s for s in self._streams.values() if s.reader.ready]
            if not ready:
                return []
            now, due = time.monotonic(), min(s.reader.oldest for s in ready) + wait
            # Waiting gains nothing if every stream that can have a frame has one.
            all_there = all(s.reader.ready or s.reader.state != "live" for s in self._streams.values())
            if all_there or now >= due or self._interrupted() or sum(max(s.crops, 1) for s in ready) >= limit:
                break
            with self._wakeup:
                self._wakeup.wait_for(lambda: self._news, due - now)
                self._news = False
        self._ready = ready
        if self._call == 1:
            taken = fresh_first(ready, self._together, time.monotonic())
        else:
            ready = sorted(ready, key=lambda s: s.served)
            windows = 0
            taken = []
            for stream in ready:
                if taken and windows + stream.crops > limit:
                    break
                taken.append(stream)
                windows += stream.crops
        if len(taken) < len(ready):
            self._news = True  # the others follow immediately
        now = time.monotonic()
        for stream in taken:
            stream.served = now
        return taken

    def give_turn(self, taken: Sequence[Stream]) -> None:
        """Only one live stream at a time searches for its LOST targets, so that ten of them don't stall the others.

        Args:
            taken: The streams of `gather`.
        """
        self._looks += len(taken)
        turn = min((s for s in self._ready if s.live and s.any_lost), key=lambda s: s.searched, default=None)
        if turn not in taken or self._looks < len(self._ready):
            turn = None
        for stream in taken:
            if stream.live and stream.any_lost:
                assert stream.targets is not None
                stream.targets.may_search = stream is turn
        if turn is not None:
            turn.searched, self._looks = time.monotonic(), 0

    def calls(self, ready: Sequence[Stream]) -> list[list[Stream]]:
        """Groups of streams that share a network call; one on which tracking failed before is processed alone."""
        parts: list[list[Stream]] = []
        windows = 0
        for stream in ready:
            if not parts or windows + stream.crops > self._call or stream.faults:
                parts.append([])
                windows = 0
            parts[-1].append(stream)
            windows += self._call if stream.faults else max(stream.crops, 1)
        return parts


def fresh_first(ready: Sequence[Stream], count: int, now: float) -> list[Stream]:
    """The waiting streams to process next, if each frame is processed on its own.

    From the third of the streams that were served longest ago, the one with the newest frame is chosen: while the
    others wait they receive a newer frame, so that their results are newer too. A stream whose frames always arrive at
    a bad moment is processed after `PASSED_OVER` times the median waiting time, and a file when its turn comes.

    Args:
        ready: Streams with a waiting frame.
        count: Number of streams to choose.
        now: `time.monotonic()`.
    """
    waits, left = sorted(now - s.served for s in ready), sorted(ready, key=lambda s: s.served)
    longest = PASSED_OVER * waits[len(waits) // 2]
    taken: list[Stream] = []
    while left and len(taken) < count:
        first = left[0]
        if first.live and now - first.served <= longest:
            first = max(left[: max(2, len(left) // 3)], key=lambda s: s.reader.newest)
        left.remove(first)
        taken.append(first)
    return taken
