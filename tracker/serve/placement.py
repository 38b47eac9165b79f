"""Which worker runs which stream: by load, with suspects of a worker's death let in one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

from tracker.serve.config import LimitsConfig
from tracker.serve.entry import Entry
from tracker.serve.messages import pack
from tracker.serve.staff import Post

SUSPICIOUS, WITHIN = 3, 60.0
"""After so many deaths of its workers within so many seconds a stream goes to the queue of suspects."""
TRIAL = 4.0
"""Seconds that a suspect is watched alone before the next one is let in."""
SETTLE = 60.0
"""Seconds at the start in which streams wait until all workers are ready, to be dealt out evenly."""


class Placement:
    """Gives streams to workers.

    Args:
        entries: The streams by name; the supervisor's own mapping.
        posts: The workers by number; the staff's own mapping.
        limits: How long a stream that took its worker along is kept out.
        kept_out: Called with a stream that is kept out from now on.
    """

    def __init__(
        self, entries: dict[str, Entry], posts: dict[int, Post], limits: LimitsConfig, kept_out: Callable[[Entry], None]
    ) -> None:
        self._entries, self._posts, self._limits, self._kept_out = entries, posts, limits, kept_out
        self._trial: tuple[str, float] | None = None

    def place(self) -> None:
        """Gives streams without a worker to the one with the least to do."""
        now = time.monotonic()
        if self._trial is not None and now - self._trial[1] > TRIAL:
            self._trial = None
        starting = any(not p.ready and not p.spare and now - p.hired < SETTLE for p in self._posts.values())
        for entry in self._entries.values():
            if entry.worker is not None or entry.over or now < entry.not_before:
                continue
            if starting and not entry.moves:  # else all would go to the worker that is ready first
                continue
            loads = self._loads()
            if not loads:
                return
            if _is_suspect(entry, now) or entry.poisoned > 0:
                if self._trial is not None:
                    continue
                self._trial = (entry.name, now)
            self._give(entry, min(loads, key=lambda number: loads[number]), "")

    def even_out(self, number: int) -> None:
        """Gives a worker that has just come live streams of the busiest ones.

        Files stay: what they gave must not depend on it.
        """
        while True:
            loads = self._loads()
            busiest = max(loads, key=lambda one: loads[one])
            gap = loads[busiest] - loads[number]
            mine = [
                e
                for e in self._entries.values()
                if e.worker == busiest and e.saved.live and not e.over and 2 * e.load <= gap
            ]
            if not mine:
                return
            moved = max(mine, key=lambda e: e.load)
            self.take_away(moved)
            moved.moves += 1
            self._give(moved, number, "moved to a worker with less to do")

    def suspect(self, streams: list[Entry], now: float) -> None:
        """A worker died with these streams: one that loses worker after worker is let in alone the next time; if that
        kills again, it is kept out."""
        if self._trial is not None and any(e.name == self._trial[0] for e in streams):
            culprit = self._entries[self._trial[0]]
            self._trial = None
        elif len(streams) == 1 and _is_suspect(streams[0], now):
            culprit = streams[0]
        else:
            return
        culprit.keep_out(self._limits)
        self._kept_out(culprit)

    def take_away(self, entry: Entry) -> None:
        """Takes a stream from its worker."""
        self.send(entry, pack("remove", {"stream": entry.name}))
        entry.leave()

    def send(self, entry: Entry, message: bytes) -> None:
        """A message to the worker that has a stream, if one has it."""
        if entry.worker is not None and entry.worker in self._posts:
            self._posts[entry.worker].handle.send(message)

    def _loads(self) -> dict[int, int]:
        loads = {p.number: 0 for p in self._posts.values() if p.ready and not p.spare}
        for entry in self._entries.values():
            if entry.worker in loads and not entry.over:
                loads[entry.worker] += entry.load
        return loads

    def _give(self, entry: Entry, number: int, text: str) -> None:
        entry.worker, entry.placed = number, time.monotonic()
        entry.state, entry.text = "connecting", text
        self.send(entry, entry.order())


def _is_suspect(entry: Entry, now: float) -> bool:
    return sum(now - at < WITHIN for at in entry.deaths) >= SUSPICIOUS
