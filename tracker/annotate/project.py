"""A project: clips, targets, boxes drawn by a person, automatic tracks, and approvals."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.annotate.clip import AnnotatedTarget, AnnotationError, Clip, new_target, runs
from tracker.annotate.journal import HEADER, Journal, Record
from tracker.annotate.replay import ProjectState
from tracker.annotate.stretches import Stretch, stretches
from tracker.geometry import Boxes, check_box

CHUNK = 1000
"""Frames of a track in one line of the file."""


class Conflict(AnnotationError):
    """Another client changed the same key box in the meantime; neither version is lost, and the writer must choose."""


class Project(ProjectState):
    """Opens or creates a project file. Every change is on disk when its method returns; thread-safe.

    Args:
        path: The file (`.jsonl`).

    Attributes:
        clips: The clips, in the order in which they were added.
        revision: Number of changes.

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
        """Releases the file; safe to call twice."""
        self._journal.close()

    # -- actions of a person

    def add_clip(
        self, path: str | Path, width: int, height: int, frame_count: int, rate: Fraction | None = None, name: str = ""
    ) -> Clip:
        """Adds a clip by its path; returns the existing one if the path is known.

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

    def add_target(self, clip: Clip, name: str = "", label: str = "object", colour: str = "") -> AnnotatedTarget:
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
        self, target: AnnotatedTarget, name: str | None = None, label: str | None = None, colour: str | None = None
    ) -> None:
        """Changes name, class or colour."""
        with self._lock:
            record = {"do": "target", "target": target.id, "clip": self._home[target.id], "name": name or target.name}
            self._say(record | {"class": label or target.label, "colour": colour or target.colour})

    def drop_target(self, target: AnnotatedTarget) -> None:
        """Removes a target; `undo` restores it."""
        self._say({"do": "drop", "target": target.id})

    def set_key(self, target: AnnotatedTarget, frame: int, box: ArrayLike | None, seen: int | None = None) -> None:
        """Sets a box that a person drew, or None: the target is absent from this frame to its next key box.

        Approval is withdrawn from the frames between the neighbouring key boxes, since a correction means that they are
        wrong.

        Args:
            target: The target.
            frame: The frame.
            box: (4,) xywh in pixels.
            seen: `key_revision` of the box that the writer saw there, 0: none; None: no check.

        Raises:
            BoxError: A box that can't be tracked.
            AnnotationError: No such frame.
            Conflict: Another client has changed it since.
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

    def remove_key(self, target: AnnotatedTarget, frame: int, seen: int | None = None) -> None:
        """Removes a key box.

        Raises:
            AnnotationError: There is none.
            Conflict: Another client has changed it since.
        """
        with self._lock:
            if frame not in target.keys:
                raise AnnotationError(
                    f"{target.name} has no key box in frame {frame}; it has some in {sorted(target.keys)}."
                )
            self._check_seen(target, frame, seen)
            self._say({"do": "unkey", "target": target.id, "frame": int(frame)})

    def approve(self, target: AnnotatedTarget, first: int, last: int, approved: bool = True) -> None:
        """A person confirms the boxes of these frames (both included); automatic tracking doesn't change them from now
        on."""
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
        """Reverts the last action of a person; returns its description, or "" if nothing is left."""
        with self._lock:
            if not self._past:
                return ""
            text = self._past[-1].text
            self._say({"do": "undo"})
            return text

    # -- automatic tracking

    def write_track(
        self,
        target: AnnotatedTarget,
        stretch: Stretch,
        first: int,
        boxes: Boxes,
        scores: NDArray[np.float64],
        occluded: NDArray[np.bool_],
    ) -> None:
        """Stores automatic boxes for frames of an interval; approved frames and key boxes are not changed.

        Args:
            target: The target.
            stretch: Their interval. If its key boxes no longer exist, nothing is written.
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

    def pending(self, target: AnnotatedTarget) -> list[Stretch]:
        """The intervals still to be tracked, short ones between two keys first."""
        with self._lock:
            done = self._done.get(target.id, {})
            out = [
                s for s in stretches(target.keys, len(target.boxes)) if done.get((s.start, s.end)) != (s.first, s.last)
            ]
            return sorted(out, key=lambda s: (s.start is None or s.end is None, s.start is None, s.length))

    def tracked(self, target: AnnotatedTarget, stretch: Stretch) -> tuple[int, int] | None:
        """First and last tracked frame of an interval, or None."""
        return self._done.get(target.id, {}).get((stretch.start, stretch.end))

    # -- queries

    def target(self, number: int) -> AnnotatedTarget:
        """A target by its id.

        Raises:
            AnnotationError: There is none of that id.
        """
        with self._lock:
            return super().target(number)

    @property
    def undoable(self) -> str:
        """The action that `undo` would revert."""
        return self._past[-1].text if self._past else ""

    # -- internal

    def _check_seen(self, target: AnnotatedTarget, frame: int, seen: int | None) -> None:
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
    """Names of clips, for sentences."""
    return ", ".join(clip.name for clip in clips) or "none"


def summary(target: AnnotatedTarget) -> dict[str, Any]:
    """Counts of a target: key boxes, frames with a box, doubtful and approved frames."""
    return {
        "keys": len(target.keys),
        "boxes": int(target.present.sum()),
        "doubtful": int(target.doubtful().sum()),
        "approved": int(target.approved.sum()),
    }
