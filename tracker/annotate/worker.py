"""Tracks what a project still lacks, in the order in which a person will want to see it; in a thread of its own for the
page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tracker.annotate.clip import Clip, Target
from tracker.annotate.frames import Frames, open_frames
from tracker.annotate.machine import Machine, Stretch
from tracker.annotate.project import Project
from tracker.annotate.retrack import Follower, Stopped
from tracker.errors import SiamTrackError
from tracker.geometry import clip_box
from tracker.types import Box

logger = logging.getLogger(__name__)

BATCH = 100
"""Most frames beyond the last key box (or before the first) that are written together: what is lost if the machine
stops."""
SOON = 1.0
"""Seconds after which they are written even if there are fewer, so that the page shows them."""
PATIENCE = 0.2
"""Seconds between looks for work, if nobody calls."""


@dataclass
class Progress:
    """What is being tracked.

    Attributes:
        target, clip: Numbers, or -1: idle.
        done, total: Frames of the stretch, both directions counted.
        frame: The frame that was tracked last.
        error: What went wrong last, as a sentence.
    """

    target: int = -1
    clip: int = -1
    done: int = 0
    total: int = 0
    frame: int = 0
    error: str = ""


class Worker:
    """Fills in the boxes of a project.

    Args:
        project: Where to read key boxes and write tracks.
        make_tracker: Builds a tracker; called once, in the thread that tracks.
        open_clip: Opens the frames of a clip.

    Attributes:
        progress: What it is doing.
        focus: (clip, frame) that the person looks at: its stretches come first.
    """

    def __init__(
        self,
        project: Project,
        make_tracker: Callable[[], Follower],
        open_clip: Callable[[Clip], Frames] = lambda clip: open_frames(clip.path),
    ) -> None:
        self.project, self._make, self._open = project, make_tracker, open_clip
        self.progress = Progress()
        self.focus: tuple[int, int] = (0, 0)
        self.finished: Callable[[], None] | None = None
        self._tracker: Follower | None = None
        self._machines: dict[int, Machine] = {}
        self._failed: set[tuple[int, Stretch, int]] = set()
        self._wake, self._over = threading.Event(), False
        self._thread: threading.Thread | None = None

    # -- in the caller's thread, for tools without a page

    def run(self, on_step: Callable[[Progress], None] | None = None) -> None:
        """Track all that is pending, and return.

        Raises:
            SiamTrackError: A clip or a box can't be used.
        """
        while (task := self._next()) is not None:
            self._track(*task, on_step, raise_errors=True)

    # -- in a thread of its own

    def start(self) -> None:
        """Begin; `wake` says that there is new work."""
        self._thread = threading.Thread(target=self._loop, name="annotate", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def stop(self) -> None:
        """End after the current frame."""
        self._over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        for machine in self._machines.values():
            machine.frames.close()
        self._machines.clear()

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        return self.progress.target >= 0 or self._next() is not None

    def _loop(self) -> None:
        while not self._over:
            task = self._next()
            if task is None:
                self._wake.wait(PATIENCE)
                self._wake.clear()
                continue
            self._track(*task, None, raise_errors=False)

    # -- the work

    def _next(self) -> tuple[Target, Stretch, Clip] | None:
        """The pending stretch to do next: where the person looks, then short gaps, then the open ends."""
        found: list[tuple[tuple[bool, bool, bool, int], Target, Stretch, Clip]] = []
        for number, clip in enumerate(list(self.project.clips)):
            for target in list(clip.targets):
                for stretch in self.project.pending(target):
                    if self._mark(target, stretch) in self._failed:
                        continue
                    looked_at = number == self.focus[0] and stretch.first - 1 <= self.focus[1] <= stretch.last + 1
                    open_end = stretch.start is None or stretch.end is None
                    found.append(
                        ((number != self.focus[0], open_end, not looked_at, stretch.length), target, stretch, clip)
                    )
        return min(found, key=lambda item: item[0])[1:] if found else None

    @staticmethod
    def _mark(target: Target, stretch: Stretch) -> tuple[int, Stretch, int]:
        boxes = (None if k is None else target.keys.get(k) for k in (stretch.start, stretch.end))
        ends = tuple(None if box is None else tuple(box) for box in boxes)
        return target.id, stretch, hash(ends)

    def _machine(self, clip: Clip) -> Machine:
        number = self.project.clips.index(clip)
        if number not in self._machines:
            if self._tracker is None:
                self._tracker = self._make()
            self._machines[number] = Machine(self._open(clip), self._tracker)
        return self._machines[number]

    def _track(
        self,
        target: Target,
        stretch: Stretch,
        clip: Clip,
        on_step: Callable[[Progress], None] | None,
        raise_errors: bool,
    ) -> None:
        open_end = stretch.start is None or stretch.end is None
        keys = dict(target.keys)
        total = stretch.length if open_end else 2 * (stretch.length + 1)
        self.progress = Progress(
            target.id, self.project.clips.index(clip), 0, total, stretch.first, self.progress.error
        )
        rows: list[tuple[int, Box, float, bool]] = []
        written = time.monotonic()

        def flush() -> None:
            nonlocal written
            written = time.monotonic()
            if rows and open_end:
                self._write_rows(target, stretch, clip, rows)
            rows.clear()

        def tick(frame: int, box: Box, score: float, lost: bool) -> bool:
            self.progress.done += 1
            self.progress.frame = frame
            if open_end and stretch.first <= frame <= stretch.last:
                rows.append((frame, box.copy(), score, lost))
                if len(rows) >= BATCH or time.monotonic() - written > SOON:
                    flush()
            if on_step is not None:
                on_step(self.progress)
            if self._over:
                return False
            # A key box was drawn, moved or taken away at an end or in the midst of it: what is being made is for
            # nothing.
            now = target.keys
            return all(now.get(k) is keys.get(k) for k in (stretch.start, stretch.end) if k is not None) and not any(
                stretch.first <= k <= stretch.last for k in list(now)
            )

        try:
            result = self._machine(clip).track(keys, stretch, tick)
            if rows or not open_end or not self.progress.done:
                rows.clear()
                self.project.write_track(target, stretch, stretch.first, *result)
        except Stopped:
            flush()
        except SiamTrackError as error:
            if raise_errors:
                raise
            logger.warning("%s: %s", clip.name, error)
            self.progress.error = str(error)
            self._failed.add(self._mark(target, stretch))
        finally:
            self.progress = Progress(error=self.progress.error)
            if self.finished is not None:
                self.finished()

    def _write_rows(
        self, target: Target, stretch: Stretch, clip: Clip, rows: list[tuple[int, Box, float, bool]]
    ) -> None:
        rows = sorted(rows, key=lambda row: row[0])
        boxes = np.array([row[1] for row in rows])
        inside = clip_box(boxes, clip.width, clip.height)
        gone = np.array([row[3] for row in rows]) | ~((inside[:, 2] > 0) & (inside[:, 3] > 0))
        boxes[gone] = np.nan
        self.project.write_track(
            target, stretch, rows[0][0], boxes, np.array([row[2] for row in rows]), np.zeros(len(rows), bool)
        )
