"""A project: clips, targets, the boxes that a person drew, the tracks that the machine made, and what was approved."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.annotate.clip import AnnotationError, Clip, Target, new_target, runs
from tracker.annotate.journal import HEADER, Journal, Record
from tracker.annotate.machine import Stretch, stretch_at, stretches
from tracker.geometry import Boxes, check_box
from tracker.types import Box

MOST_UNDO = 50
CHUNK = 1000
"""Frames of a track in one line of the file."""


Done = dict[tuple[int | None, int | None], tuple[int, int]]
"""Key frames of a stretch -> first and last frame that the machine has tracked in it."""


class Conflict(AnnotationError):
    """Somebody else changed the same key box since it was last looked at; neither was lost, and the writer must choose."""


@dataclass
class _Past:
    """What a person's action replaced, to undo it."""

    text: str
    target: int
    kept: Target | None
    clip: int
    place: int
    span: tuple[int, int] | None = None
    done: Done = field(default_factory=dict)


class Project:
    """Opens a project file, or begins one. Every change is on the disk when its method returns; safe to use from several threads.

    Args:
        path: The file (`.jsonl`).

    Attributes:
        clips: What is annotated, in the order in which it was added.
        revision: Counts the changes.

    Raises:
        AnnotationError: As `Journal`.

    Example:
        >>> project = Project("labels.jsonl")  # doctest: +SKIP
        >>> clip = project.add_clip("clip.mp4", 1280, 720, 300)
        >>> car = project.add_target(clip, "car", label="vehicle")
        >>> project.set_key(car, 0, (100, 80, 40, 30))
    """

    def __init__(self, path: str | Path) -> None:
        self.clips: list[Clip] = []
        self.revision = 0
        self._lock = threading.RLock()
        self._home: dict[int, int] = {}
        self._key_revision: dict[tuple[int, int], int] = {}
        self._done: dict[int, Done] = {}
        self._past: list[_Past] = []
        self._last_id = 0
        self._journal = Journal(path)
        self.path = self._journal.path
        try:
            for number, record in enumerate(self._journal.records, 1):
                if record.get("project") != HEADER["project"]:
                    try:
                        self._apply(record)
                    except (KeyError, TypeError, ValueError, IndexError) as error:
                        raise AnnotationError(
                            f"The project {path} can't be read: line {number} makes no sense ({error})."
                        ) from None
        except BaseException:
            self._journal.close()
            raise
        self._journal.records = []

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        self._journal.close()

    # -- what a person does

    def add_clip(
        self, path: str | Path, width: int, height: int, frame_count: int, rate: Fraction | None = None, name: str = ""
    ) -> Clip:
        """A clip by its path; the one that is there already if the path is known.

        Raises:
            AnnotationError: It is known with another size or number of frames: the file was replaced.
        """
        with self._lock:
            for clip in self.clips:
                if clip.path == str(path):
                    if (clip.width, clip.height, clip.frame_count) != (width, height, frame_count):
                        raise AnnotationError(
                            f"{path} is not what this project was begun with: {width} x {height}, {frame_count} frames instead of "
                            f"{clip.width} x {clip.height}, {clip.frame_count}; use another project file for it."
                        )
                    return clip
            taken = {clip.name for clip in self.clips}
            base = name or Path(str(path).rstrip("/")).stem or "clip"
            name = next(n for n in [base, *(f"{base}_{k}" for k in range(2, 10_000))] if n not in taken)
            record: Record = {
                "do": "clip",
                "clip": len(self.clips),
                "name": name,
                "path": str(path),
                "width": width,
                "height": height,
            }
            self._say(record | {"frames": frame_count, "rate": None if rate is None else str(rate)})
            return self.clips[-1]

    def add_target(self, clip: Clip, name: str = "", label: str = "object", colour: str = "") -> Target:
        """A new target without boxes."""
        with self._lock:
            number = self._last_id + 1
            blank = new_target(number, 0, name, label, colour)
            self._say(
                {"do": "target", "target": number, "clip": self.clips.index(clip), "name": blank.name, "class": label,
                 "colour": blank.colour}
            )  # fmt: skip
            return self.target(number)

    def edit_target(
        self, target: Target, name: str | None = None, label: str | None = None, colour: str | None = None
    ) -> None:
        """Another name, class or colour."""
        with self._lock:
            record = {"do": "target", "target": target.id, "clip": self._home[target.id], "name": name or target.name}
            self._say(record | {"class": label or target.label, "colour": colour or target.colour})

    def drop_target(self, target: Target) -> None:
        """Remove a target; `undo` brings it back."""
        self._say({"do": "drop", "target": target.id})

    def set_key(self, target: Target, frame: int, box: ArrayLike | None, seen: int | None = None) -> None:
        """A box that a person drew, or None: the target is out of the picture from this frame to its next key box.

        Approval is withdrawn from the frames between the neighbouring key boxes: whoever corrects a stretch finds it wrong.

        Args:
            target: Whose box.
            frame: In which frame.
            box: (4,) xywh in pixels.
            seen: `key_revision` of the box that the writer knew there, 0: it knew none; None doesn't ask.

        Raises:
            BoxError: A box that can't be tracked.
            AnnotationError: No such frame.
            Conflict: Another writer was there since.
        """
        with self._lock:
            clip = self.clip_of(target)
            if not 0 <= frame < clip.frame_count:
                raise AnnotationError(
                    f"{clip.name} has no frame {frame}; it has the frames 0 to {clip.frame_count - 1}."
                )
            checked = None if box is None else [round(float(v), 3) for v in check_box(box, clip.width, clip.height)]  # type: ignore[arg-type]
            self._check_seen(target, frame, seen)
            self._say({"do": "key", "target": target.id, "frame": int(frame), "box": checked})

    def remove_key(self, target: Target, frame: int, seen: int | None = None) -> None:
        """Take a key box back.

        Raises:
            AnnotationError: There is none.
            Conflict: Another writer was there since.
        """
        with self._lock:
            if frame not in target.keys:
                raise AnnotationError(
                    f"{target.name} has no key box in frame {frame}; it has some in {sorted(target.keys)}."
                )
            self._check_seen(target, frame, seen)
            self._say({"do": "unkey", "target": target.id, "frame": int(frame)})

    def approve(self, target: Target, first: int, last: int, approved: bool = True) -> None:
        """A person says that the boxes of these frames (both included) are right; the machine leaves them alone from now on."""
        with self._lock:
            count = len(target.boxes)
            if not 0 <= first <= last < count:
                raise AnnotationError(
                    f"There are no frames {first} to {last} to approve; the clip has the frames 0 to {count - 1}."
                )
            self._say(
                {
                    "do": "approve" if approved else "disapprove",
                    "target": target.id,
                    "first": int(first),
                    "last": int(last),
                }
            )

    def undo(self) -> str:
        """Take back the last thing that a person did; returns what it was, or "" if there is nothing left."""
        with self._lock:
            if not self._past:
                return ""
            text = self._past[-1].text
            self._say({"do": "undo"})
            return text

    # -- what the machine does

    def write_track(
        self,
        target: Target,
        stretch: Stretch,
        first: int,
        boxes: Boxes,
        scores: NDArray[np.float64],
        occluded: NDArray[np.bool_],
    ) -> None:
        """Boxes of the machine for frames of a stretch; approved frames and key boxes stay as they are.

        Args:
            target: Whose.
            stretch: The stretch that they belong to. If its key boxes are no more, nothing is written.
            first: Frame of the first row.
            boxes, scores, occluded: A row per frame.
        """
        for at in range(0, len(boxes), CHUNK):
            part = slice(at, at + CHUNK)
            with self._lock:
                if target.id not in self._home or stretch not in stretches(
                    self.target(target.id).keys, len(target.boxes)
                ):
                    return
                self._say(
                    {
                        "do": "track", "target": target.id, "between": [stretch.start, stretch.end], "first": first + at,
                        "boxes": [[round(float(v), 2) for v in b] if np.isfinite(b).all() else None for b in boxes[part]],
                        "scores": [round(float(v), 3) if np.isfinite(v) else None for v in scores[part]],
                        "occluded": [[a, b - 1] for a, b in runs(occluded[part])],
                    }
                )  # fmt: skip

    def pending(self, target: Target) -> list[Stretch]:
        """The stretches that the machine has still to track, short ones between two keys first."""
        with self._lock:
            done = self._done.get(target.id, {})
            out = [
                s for s in stretches(target.keys, len(target.boxes)) if done.get((s.start, s.end)) != (s.first, s.last)
            ]
            return sorted(out, key=lambda s: (s.start is None or s.end is None, s.start is None, s.length))

    # -- what others ask

    def target(self, number: int) -> Target:
        """A target by its id.

        Raises:
            AnnotationError: There is none of that id.
        """
        with self._lock:
            if number in self._home:
                return next(t for t in self.clips[self._home[number]].targets if t.id == number)
        raise AnnotationError(f"There is no target {number}; it may have been removed in another window.")

    def clip_of(self, target: Target) -> Clip:
        """The clip that a target is in."""
        return self.clips[self._home[target.id]]

    def key_revision(self, target: Target, frame: int) -> int:
        """The revision in which a key box was set or removed last; 0: never."""
        return self._key_revision.get((target.id, frame), 0)

    @property
    def undoable(self) -> str:
        """What `undo` would take back."""
        return self._past[-1].text if self._past else ""

    # -- inside

    def _check_seen(self, target: Target, frame: int, seen: int | None) -> None:
        now = self.key_revision(target, frame) if frame in target.keys else 0
        if seen is not None and seen != now:
            raise Conflict(
                f"The box of {target.name} in frame {frame} was changed in another window meanwhile; that box is kept, and is shown now. "
                "Draw again to replace it."
            )

    def _say(self, record: Record) -> None:
        with self._lock:
            self._journal.append(record)
            self._apply(record)

    def _apply(self, record: Record) -> None:
        getattr(self, f"_do_{record['do']}", self._unknown)(record)
        self.revision += 1

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

    def _touch(self, target: Target, frame: int, text: str) -> None:
        """What a change of a key box does to what lies around it."""
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
        if past.kept is None:  # it was made: away with it
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

    def _keep(self, text: str, target: Target, span: tuple[int, int] | None) -> None:
        part = slice(0, 0) if span is None else slice(span[0], span[1] + 1)
        copy = Target(
            target.id, target.name, target.label, target.colour, target.boxes[part].copy(), target.scores[part].copy(),
            target.occluded[part].copy(), dict(target.keys), target.approved[part].copy(),
        )  # fmt: skip
        self._past.append(_Past(text, target.id, copy, self._home[target.id], 0, span, dict(self._done[target.id])))
        del self._past[:-MOST_UNDO]


def add_clip_of(project: Project, clip: Clip, source: Clip) -> list[Target]:
    """Bring the targets of a clip that was read from some format into a project.

    Key boxes become key boxes, the other boxes a track; nothing is approved by that.

    Args:
        project: Where to.
        clip: The project's clip.
        source: What was read; its frames are counted as the clip's.

    Raises:
        AnnotationError: It has boxes beyond the end of the clip.
    """
    out = []
    for read in source.targets:
        last = max([*np.flatnonzero(read.present).tolist()[-1:], *read.keys], default=0)
        if last >= clip.frame_count:
            raise AnnotationError(
                f"{read.name} has a box in frame {last}, but {clip.name} ends with frame {clip.frame_count - 1}; is it another video?"
            )
        made = project.add_target(clip, read.name, read.label, read.colour)
        for frame, box in sorted(read.keys.items()):
            project.set_key(made, frame, box)
        if not read.keys and read.present.any():
            first = int(np.flatnonzero(read.present)[0])
            project.set_key(made, first, read.boxes[first])
        for stretch in stretches(made.keys, clip.frame_count):
            part = slice(stretch.first, min(stretch.last + 1, len(read.boxes)))
            project.write_track(made, stretch, stretch.first, *_padded(read, part, stretch.length))
        out.append(made)
    return out


def _padded(read: Target, part: slice, length: int) -> tuple[Boxes, NDArray[np.float64], NDArray[np.bool_]]:
    boxes, scores, hidden = np.full((length, 4), np.nan), np.ones(length), np.zeros(length, bool)
    n = max(part.stop - part.start, 0)
    boxes[:n], hidden[:n] = read.boxes[part], read.occluded[part]
    scores[:n] = np.where(np.isnan(read.scores[part]), 1.0, read.scores[part])
    return boxes, scores, hidden


def clip_names(clips: Sequence[Clip]) -> str:
    """For sentences: the names of clips."""
    return ", ".join(clip.name for clip in clips) or "none"


def summary(target: Target) -> dict[str, Any]:
    """Counts of a target: key boxes, frames with a box, doubtful and approved frames."""
    return {
        "keys": len(target.keys),
        "boxes": int(target.present.sum()),
        "doubtful": int(target.doubtful().sum()),
        "approved": int(target.approved.sum()),
    }
