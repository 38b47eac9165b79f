"""Tracks the pending intervals of a project, in the order in which a person needs them; in a separate thread for the
page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tracker.annotate.clip import AnnotatedTarget, Clip
from tracker.annotate.frames import CACHE_BYTES, ClipFrames, open_frames
from tracker.annotate.project import Project
from tracker.annotate.retrack import Cancelled, Follower
from tracker.annotate.stretches import Stretch, StretchTracker
from tracker.errors import SiamTrackError
from tracker.types import Box

logger = logging.getLogger(__name__)

SOON = 1.0
"""Interval in seconds at which frames beyond the last key box (or before the first) are stored, so that the page shows
them; also the most that a crash loses."""
SLICE = 3.0
"""Seconds of tracking after which tasks of equal or higher priority get their turn."""
TOGETHER = 500
"""Distance in frames up to which two passes are synchronised."""
PATIENCE = 0.2
"""Seconds between checks for work, without a call of `wake`."""


@dataclass
class RetrackProgress:
    """What is being tracked.

    Attributes:
        target, clip: Numbers, or -1: idle.
        done, total: Frames of the interval, counted in both directions.
        frame: The last tracked frame.
        error: The last error, as a sentence.
    """

    target: int = -1
    clip: int = -1
    done: int = 0
    total: int = 0
    frame: int = 0
    error: str = ""


@dataclass(frozen=True, eq=False)
class RetrackTask:
    """An interval to track; `frames`: this many before a synchronised pass gets its turn, 0: there is none."""

    target: AnnotatedTarget
    stretch: Stretch
    clip: Clip
    frames: int = 0

    @property
    def ahead(self) -> bool:
        """For an interval with an open end: whether it is tracked forward."""
        return self.stretch.start is not None


Mark = tuple[int, Stretch, int]
"""Target, interval and the boxes at its ends: one unit of work."""


class RetrackWorker:
    """Computes the boxes between key boxes of a project.

    Args:
        project: Source of key boxes, and where tracks are stored.
        make_tracker: Builds a tracker; called once, in the thread that tracks.
        open_clip: Opens the frames of a clip.

    Attributes:
        progress: What it is doing.
        focus: (clip, frame) that the person views: its intervals come first.
    """

    def __init__(
        self,
        project: Project,
        make_tracker: Callable[[], Follower],
        open_clip: Callable[[Clip], ClipFrames] = lambda clip: open_frames(clip.path),
    ) -> None:
        self.project, self._make, self._open = project, make_tracker, open_clip
        self.progress = RetrackProgress()
        self.focus: tuple[int, int] = (0, 0)
        self.finished: Callable[[], None] | None = None
        self._tracker: Follower | None = None
        self._machines: dict[int, StretchTracker] = {}
        self._failed: set[Mark] = set()
        self._turns: dict[Mark, int] = {}
        self._wake, self._over = threading.Event(), False
        self._thread: threading.Thread | None = None

    # -- in the caller's thread, for tools without a page

    def run(self, on_step: Callable[[RetrackProgress], None] | None = None) -> None:
        """Tracks everything pending, and returns.

        Raises:
            SiamTrackError: A clip or a box can't be used.
        """
        while (task := self._next()) is not None:
            self._track(task, on_step, raise_errors=True)

    # -- in a thread of its own

    def start(self) -> None:
        """Starts the thread; `wake` announces new work."""
        self._thread = threading.Thread(target=self._loop, name="annotate", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Announces that there may be work."""
        self._wake.set()

    def stop(self) -> None:
        """Ends after the current frame."""
        self._over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        for machine in self._machines.values():
            machine.frames.close()
        self._machines.clear()

    @property
    def busy(self) -> bool:
        """Whether anything is pending."""
        return self.progress.target >= 0 or self._next() is not None

    def _loop(self) -> None:
        while not self._over:
            task = self._next()
            if task is None:
                self._wake.wait(PATIENCE)
                self._wake.clear()
                continue
            self._track(task, None, raise_errors=False)

    # -- the work

    def _next(self) -> RetrackTask | None:
        """The next task: where the person views the clip, then short gaps, then the open ends, which alternate.

        Nearby passes in the same direction are brought to the same frame and continue together: a frame is then decoded
        once for all of them.
        """
        found: list[tuple[tuple[bool, bool, bool], int, RetrackTask]] = []
        for number, clip in enumerate(list(self.project.clips)):
            for target in list(clip.targets):
                for stretch in self.project.pending(target):
                    task = RetrackTask(target, stretch, clip)
                    mark = self._mark(task)
                    if mark in self._failed:
                        continue
                    looked_at = number == self.focus[0] and stretch.first - 1 <= self.focus[1] <= stretch.last + 1
                    rank = (number != self.focus[0], stretch.open_end, not looked_at)
                    found.append((rank, self._turns.get(mark, 0) if stretch.open_end else stretch.length, task))
        if not found:
            return None
        first = min(rank for rank, _, _ in found)
        alike = [(turn, task) for rank, turn, task in found if rank == first]
        _, best = min(alike, key=lambda item: (item[0], item[1].stretch.length))
        if not best.stretch.open_end:
            return best
        near = [
            t
            for _, t in alike
            if t.clip is best.clip and t.ahead == best.ahead and 0 <= self._lead(best, t) <= TOGETHER
        ]
        best = max(near, key=lambda task: self._lead(best, task))
        leads = [
            self._lead(t, best)
            for _, t in alike
            if t.target is not best.target and t.clip is best.clip and t.ahead == best.ahead
        ]
        near_leads = [lead for lead in leads if 0 <= lead <= TOGETHER]
        frames = clip_frames(best.clip) if near_leads else 0
        return replace(best, frames=max(near_leads) + frames if near_leads else 0)

    def _lead(self, one: RetrackTask, other: RetrackTask) -> int:
        """Frames by which a pass is ahead of another in the same direction."""
        at = [self._reached(task) for task in (one, other)]
        return (at[0] - at[1]) * (1 if one.ahead else -1)

    def _reached(self, task: RetrackTask) -> int:
        stretch = task.stretch
        machine = self._machines.get(self.project.clips.index(task.clip))
        key = stretch.end if stretch.start is None else stretch.start
        assert key is not None
        if machine is None or key not in task.target.keys:
            return key
        return machine.reached(dict(task.target.keys), stretch)

    @staticmethod
    def _mark(task: RetrackTask) -> Mark:
        keys, stretch = task.target.keys, task.stretch
        ends = tuple(
            None if k is None or (box := keys.get(k)) is None else tuple(box) for k in (stretch.start, stretch.end)
        )
        return task.target.id, stretch, hash(ends)

    def _machine(self, clip: Clip) -> StretchTracker:
        number = self.project.clips.index(clip)
        if number not in self._machines:
            if self._tracker is None:
                self._tracker = self._make()
            self._machines[number] = StretchTracker(self._open(clip), self._tracker)
        return self._machines[number]

    def _track(self, task: RetrackTask, on_step: Callable[[RetrackProgress], None] | None, raise_errors: bool) -> None:
        target, stretch, clip = task.target, task.stretch, task.clip
        keys = dict(target.keys)
        key = stretch.end if stretch.start is None else stretch.start
        growing = stretch.open_end and key is not None and keys.get(key) is not None
        total = stretch.length if stretch.open_end else 2 * (stretch.length + 1)
        error = self.progress.error
        self.progress = RetrackProgress(target.id, self.project.clips.index(clip), 0, total, stretch.first, error)
        began = written = time.monotonic()
        frames = 0

        def tick(frame: int, box: Box, score: float, lost: bool) -> bool:
            nonlocal began, written, frames
            frames += 1
            self.progress.done, self.progress.frame = self.progress.done + 1, frame
            now = time.monotonic()
            if growing and now - written > SOON:
                written = now
                self._write(task, machine, keys)
            if on_step is not None:
                on_step(self.progress)
            if self._over:
                return False
            # A key box was drawn, moved or removed at an end or inside: the result would be useless.
            drawn = target.keys
            if any(drawn.get(k) is not keys.get(k) for k in (stretch.start, stretch.end) if k is not None) or any(
                stretch.first <= k <= stretch.last for k in list(drawn)
            ):
                return False
            if now - began < SLICE and not 0 < task.frames <= frames:
                return True
            began, frames = now, 0
            return self._is_still_first(task)

        machine: StretchTracker
        try:
            machine = self._machine(clip)
            self.progress.done = machine.known(keys, stretch)
            result = machine.track(keys, stretch, tick)
            if growing:
                self._write(task, machine, keys)
            else:
                self.project.write_track(target, stretch, stretch.first, *result)
        except Cancelled:
            if growing:
                self._write(task, machine, keys)
        except SiamTrackError as reason:
            if raise_errors:
                raise
            logger.warning("%s: %s", clip.name, reason)
            self.progress.error = str(reason)
            self._failed.add(self._mark(task))
        finally:
            self._turns[self._mark(task)] = self._turn(task)
            self.progress = RetrackProgress(error=self.progress.error)
            if self.finished is not None:
                self.finished()

    def _turn(self, task: RetrackTask) -> int:
        return self._turns.get(self._mark(task), 0) + 1

    def _is_still_first(self, task: RetrackTask) -> bool:
        """Whether a task whose time slice is over would be the next one again."""
        self._turns[self._mark(task)] = self._turn(task)
        best = self._next()
        same = best is not None and (best.target, best.stretch) == (task.target, task.stretch)
        return same and best is not None and not best.frames

    def _write(self, task: RetrackTask, machine: StretchTracker, keys: dict[int, Box | None]) -> None:
        """For an interval with an open end: stores the new boxes."""
        done, reached = self.project.tracked(task.target, task.stretch), machine.reached(keys, task.stretch)
        if task.ahead:
            first, last = task.stretch.first if done is None else done[1] + 1, min(reached, task.stretch.last)
        else:
            first, last = max(reached, task.stretch.first), task.stretch.last if done is None else done[0] - 1
        if first <= last:
            self.project.write_track(task.target, task.stretch, first, *machine.part(keys, task.stretch, first, last))


def clip_frames(clip: Clip) -> int:
    """Greatest lead between passes that continue together: half of what the cache of decoded frames holds."""
    return max(2, min(64, CACHE_BYTES // 2 // max(clip.width * clip.height * 3, 1)))
