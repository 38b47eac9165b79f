"""Starts workers, receives their messages, keeps a spare one, and detects dead ones; assigns streams to workers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracker.serve.config import LimitsConfig, WorkersConfig
from tracker.serve.messages import pack
from tracker.serve.process import Handle
from tracker.serve.state import Entry

START_WAIT, SILENCE = 120.0, 10.0
"""Seconds that a worker may take to load its model, and greatest number of seconds without a message after that."""
HELD_UP = 1.0
"""If the supervisor's own loop was delayed by this many seconds, the silence of workers is not evaluated."""
RECOVERY = 5.0
"""Seconds after a death before the next spare worker starts: loading a model takes a core, which the workers that take
over the streams need."""
INBOX = 4096

Hire = Callable[[], "Handle | None"]
"""Starts a worker; None if there is no room for one now."""
Tell = Callable[[str, str, str], None]
"""(stream, subject, sentence): a message for the user."""


@dataclass
class WorkerEntry:
    """A worker as the supervisor sees it.

    Attributes:
        number: Its number; never reused.
        handle: The connection to it.
        ready: Whether it has loaded its model.
        spare: Whether it waits to replace another one.
        heard, hired: Times of its last message and of its start.
        text: A description.
    """

    number: int
    handle: Handle
    ready: bool = False
    spare: bool = False
    heard: float = 0.0
    hired: float = 0.0
    text: str = "starting"
    lost_results: int = 0
    done: bool = False
    pid: int | None = None
    host: str = ""

    def take_ready(self, values: dict[str, Any]) -> None:
        """Records its message that the model is loaded."""
        self.ready, self.text = True, f"{values['model']} on {values['device']} ({values['engine']})"
        self.pid, self.host = values["pid"], values["host"]

    def as_dict(self) -> dict[str, Any]:
        """Values for the status page."""
        return {"number": self.number, "place": self.handle.place} | {
            key: getattr(self, key) for key in ("host", "pid", "ready", "spare", "text")
        }


class WorkerPool:
    """The workers of a supervisor.

    Args:
        hire: Starts a worker.
        count: Number of workers at a time.
        config: Whether there is a spare one, and the time-out for silence.

    Attributes:
        posts: The workers by number.
        inbox: (number, message) of all workers; the message None means that the worker has died.
        deaths: Number of deaths.
    """

    def __init__(self, hire: Hire, count: int, config: WorkersConfig) -> None:
        self.posts: dict[int, WorkerEntry] = {}
        self.inbox: queue.Queue[tuple[int, bytes | None]] = queue.Queue(INBOX)
        self.deaths = 0
        self._hire, self._count, self._config = hire, count, config
        self._numbers = 0
        self._next_hire, self._hire_wait = 0.0, 0.5
        self._spare_from, self._looked = 0.0, time.monotonic()

    def fill(self) -> None:
        """Starts the next missing worker, and a spare one when all others are ready."""
        now = time.monotonic()
        if now < self._next_hire:
            return
        active = [p for p in self.posts.values() if not p.spare]
        if len(active) >= self._count:
            spares = [p for p in self.posts.values() if p.spare]
            # The spare one starts last: it must not compete with workers that are needed now.
            if not self._config.spare or spares or not all(p.ready for p in active) or now < self._spare_from:
                return
        handle = self._hire()
        if handle is None:
            self._next_hire = now + 1.0
            return
        self._numbers += 1
        post = WorkerEntry(self._numbers, handle, spare=len(active) >= self._count, heard=now, hired=now)
        self.posts[post.number] = post
        threading.Thread(target=self._listen, args=(post,), name=f"siamtrack-worker-{post.number}", daemon=True).start()

    def _listen(self, post: WorkerEntry) -> None:
        while (message := post.handle.receive()) is not None:
            self.inbox.put((post.number, message))
        self.inbox.put((post.number, None))

    def started(self) -> None:
        """A worker has loaded its model: resets the waiting time after failed starts."""
        self._hire_wait = 0.5

    def silent(self) -> list[tuple[WorkerEntry, str]]:
        """The workers whose silence exceeds the time-out, each with a sentence; to be called several times per
        second."""
        now, out = time.monotonic(), []
        held_up, self._looked = now - self._looked, now
        for post in self.posts.values():
            if held_up > HELD_UP:
                post.heard += held_up
            longest = (self._config.gone_seconds or SILENCE) if post.ready else START_WAIT
            if now - post.heard > longest:
                out.append((post, f"no sign of life for {longest:g} s"))
        return out

    def dismiss(self, post: WorkerEntry) -> None:
        """Removes a dead worker; the spare one takes its place."""
        del self.posts[post.number]
        threading.Thread(target=post.handle.kill, daemon=True).start()
        self.deaths += 1
        if not post.ready:  # it failed to start: wait longer each time
            self._next_hire, self._hire_wait = time.monotonic() + self._hire_wait, min(2 * self._hire_wait, 30.0)
        spare = next((p for p in self.posts.values() if p.spare and p.ready), None)
        if spare is not None and not post.spare:
            spare.spare = False
            self._spare_from = time.monotonic() + RECOVERY


SUSPICIOUS, WITHIN = 3, 60.0
"""After this many deaths of its workers within this many seconds a stream becomes a suspect."""
TRIAL = 4.0
"""Seconds that a suspect is observed alone before the next one is admitted."""
SETTLE = 60.0
"""Seconds at the start in which streams wait until all workers are ready, so that they are distributed evenly."""


class Placement:
    """Assigns streams to workers.

    Args:
        entries: The streams by name; the supervisor's own mapping.
        posts: The workers by number; the pool's own mapping.
        limits: How long a stream that crashed its worker is excluded.
        kept_out: Called with a stream that is excluded from now on.
    """

    def __init__(
        self,
        entries: dict[str, Entry],
        posts: dict[int, WorkerEntry],
        limits: LimitsConfig,
        kept_out: Callable[[Entry], None],
    ) -> None:
        self._entries, self._posts, self._limits, self._kept_out = entries, posts, limits, kept_out
        self._trial: tuple[str, float] | None = None

    def place(self) -> None:
        """Assigns streams without a worker to the one with the lowest load."""
        now = time.monotonic()
        if self._trial is not None and now - self._trial[1] > TRIAL:
            self._trial = None
        starting = any(not p.ready and not p.spare and now - p.hired < SETTLE for p in self._posts.values())
        for entry in self._entries.values():
            if entry.worker is not None or entry.over or now < entry.not_before:
                continue
            if starting and not entry.moves:  # otherwise all would be assigned to the first worker that is ready
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
        """Moves live streams from the busiest workers to a new one.

        Streams of files stay, since their results must not depend on it.
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
        """Handles the streams of a dead worker: one that loses worker after worker is admitted alone the next time; if
        its worker dies again, it is excluded."""
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
        """Removes a stream from its worker."""
        self.send(entry, pack("remove", {"stream": entry.name}))
        entry.leave()

    def send(self, entry: Entry, message: bytes) -> None:
        """Sends a message to the worker of a stream, if it has one."""
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
