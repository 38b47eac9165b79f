"""A project: clips, targets, the boxes that a person drew, the tracks that the machine made, and what was approved."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.annotate.clip import AnnotationError, Clip, Target, new_target, runs
from tracker.annotate.journal import HEADER, Journal, Record
from tracker.annotate.machine import Stretch, stretches
from tracker.annotate.replay import ProjectState
from tracker.geometry import Boxes, check_box

CHUNK = 1000
"""Frames of a track in one line of the file."""


class Conflict(AnnotationError):
    """Somebody else changed the same key box since it was last looked at; neither was lost, and the writer must
    choose."""


class Project(ProjectState):
    """Opens a project file, or begins one. Every change is on the disk when its method returns; safe to use from
    several threads.

    Args:
        path: The file (`.jsonl`).

    Attributes:
        clips: What is annotated, in the order in which it was added.
        revision: Counts the changes.

    Raises:
        AnnotationError: As `Journal`.

    Examples:
        >>> project = Project("labels.jsonl")  # doctest: +SKIP
        >>> clip = project.add_clip("clip.mp4", 1280, 720, 300)
        >>> car = project.add_target(clip, "car", label="vehicle")
        >>> project.set_key(car, 0, (100, 80, 40, 30))
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._journal = Journal(path)
        self.path = self._journal.path
        try:
            for number, record in enumerate(self._journal.records, 1):
                if record.get("project") != HEADER["project"]:
                    try:
                        self.apply(record)
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
                            f"{path} is not what this project was begun with: {width} x {height}, {frame_count} "
                            f"frames instead of {clip.width} x {clip.height}, {clip.frame_count}; use another "
                            "project file for it."
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

        Approval is withdrawn from the frames between the neighbouring key boxes: whoever corrects a stretch finds it
        wrong.

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
        """A person says that the boxes of these frames (both included) are right; the machine leaves them alone from
        now on."""
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
                        "do": "track", "target": target.id, "between": [stretch.start, stretch.end],
                        "first": first + at,
                        "boxes": [[round(float(v), 2) for v in b] if np.isfinite(b).all() else None
                         for b in boxes[part]],
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

    def tracked(self, target: Target, stretch: Stretch) -> tuple[int, int] | None:
        """First and last frame of a stretch that the machine has tracked, or None."""
        return self._done.get(target.id, {}).get((stretch.start, stretch.end))

    # -- what others ask

    def target(self, number: int) -> Target:
        """A target by its id.

        Raises:
            AnnotationError: There is none of that id.
        """
        with self._lock:
            return super().target(number)

    @property
    def undoable(self) -> str:
        """What `undo` would take back."""
        return self._past[-1].text if self._past else ""

    # -- inside

    def _check_seen(self, target: Target, frame: int, seen: int | None) -> None:
        now = self.key_revision(target, frame) if frame in target.keys else 0
        if seen is not None and seen != now:
            raise Conflict(
                f"The box of {target.name} in frame {frame} was changed in another window meanwhile; that box is "
                "kept, and is shown now. Draw again to replace it."
            )

    def _say(self, record: Record) -> None:
        with self._lock:
            self._journal.append(record)
            self.apply(record)


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
