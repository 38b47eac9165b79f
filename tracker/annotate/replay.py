"""The state that results from the records of a project file: clips, targets, approvals, tracked intervals, and the undo
history."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from tracker.annotate.clip import AnnotatedTarget, AnnotationError, Clip, new_target
from tracker.annotate.journal import Record
from tracker.annotate.stretches import stretch_at
from tracker.types import Box

MOST_UNDO = 50

Done = dict[tuple[int | None, int | None], tuple[int, int]]
"""Key frames of an interval -> first and last tracked frame in it."""


@dataclass
class _Past:
    """The values that a person's action replaced, to undo it."""

    text: str
    target: int
    kept: AnnotatedTarget | None
    clip: int
    place: int
    span: tuple[int, int] | None = None
    done: Done = field(default_factory=dict)


class ProjectState:
    """Clips and targets; changed only by applying records in order.

    Attributes:
        clips: The clips, in the order in which they were added.
        revision: Number of changes.
    """

    def __init__(self) -> None:
        self.clips: list[Clip] = []
        self.revision = 0
        self._home: dict[int, int] = {}
        self._key_revision: dict[tuple[int, int], int] = {}
        self._done: dict[int, Done] = {}
        self._past: list[_Past] = []
        self._last_id = 0

    def apply(self, record: Record) -> None:
        """Applies the change that a record describes.

        Raises:
            KeyError, TypeError, ValueError, IndexError: The record can't be applied to this state.
        """
        getattr(self, f"_do_{record['do']}", self._unknown)(record)
        self.revision += 1

    def target(self, number: int) -> AnnotatedTarget:
        """A target by its id.

        Raises:
            AnnotationError: There is none of that id.
        """
        if number in self._home:
            return next(t for t in self.clips[self._home[number]].targets if t.id == number)
        raise AnnotationError(f"There is no target {number}; it may have been removed in another window.")

    def clip_of(self, target: AnnotatedTarget) -> Clip:
        """The clip of a target."""
        return self.clips[self._home[target.id]]

    def key_revision(self, target: AnnotatedTarget, frame: int) -> int:
        """The revision in which a key box was last set or removed; 0: never."""
        return self._key_revision.get((target.id, frame), 0)

    def _unknown(self, record: Record) -> None:
        raise ValueError(f"unknown action {record['do']!r}")

    def _do_clip(self, record: Record) -> None:
        rate = Fraction(record["rate"]) if record["rate"] else None
        size = (int(record["width"]), int(record["height"]), int(record["frames"]))
        self.clips.append(Clip(record["name"], *size, rate, path=record["path"]))

    def _do_target(self, record: Record) -> None:
        number, home = int(record["target"]), int(record["clip"])
        if number in self._home:
            old = self.target(number)
            self._keep(f"new name or class of {old.name}", old, None)
            old.name, old.label, old.colour = record["name"], record["class"], record["colour"]
            return
        made = new_target(number, self.clips[home].frame_count, record["name"], record["class"], record["colour"])
        self.clips[home].targets.append(made)
        self._home[number], self._done[number], self._last_id = home, {}, max(self._last_id, number)
        self._past.append(_Past(f"new target {made.name}", number, None, home, 0))

    def _do_drop(self, record: Record) -> None:
        old = self.target(int(record["target"]))
        home = self._home[old.id]
        place = self.clips[home].targets.index(old)
        self._past.append(_Past(f"removal of {old.name}", old.id, old, home, place, None, self._done[old.id]))
        del self._past[:-MOST_UNDO]
        self.clips[home].targets.remove(old)
        del self._home[old.id]

    def _do_key(self, record: Record) -> None:
        target, frame = self.target(int(record["target"])), int(record["frame"])
        box: Box | None = None if record["box"] is None else np.asarray(record["box"], dtype=np.float64)
        self._touch(target, frame, f"box of {target.name} in frame {frame}")
        target.keys[frame] = box
        target.boxes[frame], target.scores[frame], target.occluded[frame] = np.nan if box is None else box, 1.0, False

    def _do_unkey(self, record: Record) -> None:
        target, frame = self.target(int(record["target"])), int(record["frame"])
        self._touch(target, frame, f"removal of the box of {target.name} in frame {frame}")
        del target.keys[frame]
        target.scores[frame] = min(target.scores[frame], 0.0)

    def _touch(self, target: AnnotatedTarget, frame: int, text: str) -> None:
        """Updates the surroundings of a changed key box."""
        first, last = stretch_at(target.keys, frame, len(target.boxes))
        self._keep(text, target, (first, last))
        target.approved[first : last + 1] = False
        done = self._done[target.id]
        for ends in [e for e in done if (e[0] is None or e[0] <= frame) and (e[1] is None or e[1] >= frame)]:
            del done[ends]
        self._key_revision[target.id, frame] = self.revision + 1

    def _do_approve(self, record: Record) -> None:
        self._approval(record, True)

    def _do_disapprove(self, record: Record) -> None:
        self._approval(record, False)

    def _approval(self, record: Record, value: bool) -> None:
        target, first, last = self.target(int(record["target"])), int(record["first"]), int(record["last"])
        self._keep(f"approval of {target.name}, frames {first} to {last}", target, (first, last))
        target.approved[first : last + 1] = value

    def _do_track(self, record: Record) -> None:
        target, first = self.target(int(record["target"])), int(record["first"])
        boxes = np.array([b or [np.nan] * 4 for b in record["boxes"]], dtype=np.float64).reshape(-1, 4)
        scores = np.array([np.nan if s is None else s for s in record["scores"]], dtype=np.float64)
        hidden = np.zeros(len(boxes), bool)
        for a, b in record["occluded"]:
            hidden[a : b + 1] = True
        at = np.arange(first, first + len(boxes))
        free = ~target.approved[at] & ~np.isin(at, list(target.keys))
        target.boxes[at[free]], target.scores[at[free]], target.occluded[at[free]] = (
            boxes[free],
            scores[free],
            hidden[free],
        )
        ends, last = (record["between"][0], record["between"][1]), first + len(boxes) - 1
        low, high = self._done[target.id].get(ends, (first, last))
        touching = first <= high + 1 and last >= low - 1
        self._done[target.id][ends] = (min(low, first), max(high, last)) if touching else (first, last)

    def _do_undo(self, record: Record) -> None:
        past = self._past.pop()
        if past.kept is None:  # it was created by the undone action: remove it
            self.clips[past.clip].targets.remove(self.target(past.target))
            del self._home[past.target]
            return
        if past.target not in self._home:
            self.clips[past.clip].targets.insert(past.place, past.kept)
            self._home[past.target], self._done[past.target] = past.clip, past.done
            return
        now, old = self.target(past.target), past.kept
        now.name, now.label, now.colour = old.name, old.label, old.colour
        if past.span is None:
            return
        first, last = past.span
        part = slice(first, last + 1)
        for frame in {k for k in now.keys.keys() ^ old.keys.keys()} | {k for k in old.keys if first <= k <= last}:
            self._key_revision[now.id, frame] = self.revision + 1
        now.keys = dict(old.keys)
        now.boxes[part], now.scores[part], now.occluded[part] = old.boxes, old.scores, old.occluded
        now.approved[part] = old.approved
        self._done[now.id] = dict(past.done)

    def _keep(self, text: str, target: AnnotatedTarget, span: tuple[int, int] | None) -> None:
        part = slice(0, 0) if span is None else slice(span[0], span[1] + 1)
        copy = AnnotatedTarget(
            target.id, target.name, target.label, target.colour, target.boxes[part].copy(), target.scores[part].copy(),
            target.occluded[part].copy(), dict(target.keys), target.approved[part].copy(),
        )  # fmt: skip
        self._past.append(_Past(text, target.id, copy, self._home[target.id], 0, span, dict(self._done[target.id])))
        del self._past[:-MOST_UNDO]
