"""Queries and commands of the page: plain dictionaries in and out, independent of HTTP."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.annotate.clip import AnnotatedTarget, AnnotationError, Clip, runs
from tracker.annotate.frames import ClipFrames, open_frames
from tracker.annotate.project import Project
from tracker.annotate.stretches import stretch_at
from tracker.annotate.worker import RetrackWorker
from tracker.errors import SiamTrackError
from tracker.files import suggest
from tracker.media.images import encode_image
from tracker.types import Image

MOST_BINS = 2000
MOST_FRAMES = 2000
"""Greatest number of frames whose boxes are returned in one answer."""
LARGEST = 3840
Answer = dict[str, Any]


class PageBackend:
    """The open project: queries and commands of a page. Thread-safe.

    Args:
        project: The project.
        worker: Tracks between the boxes.
    """

    def __init__(self, project: Project, worker: RetrackWorker) -> None:
        self.project, self.worker = project, worker
        self._frames: dict[int, ClipFrames] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the clips."""
        for frames in self._frames.values():
            frames.close()
        self._frames.clear()

    # -- queries

    def state(self) -> Answer:
        """Clips, targets, key boxes, progress; small, however long the clips are."""
        progress = self.worker.progress
        return {
            "revision": self.project.revision,
            "project": self.project.path.name,
            "undo": self.project.undoable,
            "progress": {
                "busy": self.worker.busy, "target": progress.target, "clip": progress.clip, "done": progress.done,
                "total": progress.total, "frame": progress.frame, "error": progress.error,
            },
            "clips": [
                {
                    "name": clip.name, "width": clip.width, "height": clip.height, "frames": clip.frame_count,
                    "rate": None if clip.rate is None else float(clip.rate),
                    "targets": [self._target(target) for target in list(clip.targets)],
                }
                for clip in list(self.project.clips)
            ],
        }  # fmt: skip

    def _target(self, target: AnnotatedTarget) -> Answer:
        keys = [
            [frame, None if box is None else [float(v) for v in box], self.project.key_revision(target, frame)]
            for frame, box in sorted(dict(target.keys).items())
        ]
        return {
            "id": target.id, "name": target.name, "class": target.label, "colour": target.colour, "keys": keys,
            "approved": int(target.approved.sum()), "doubtful": int(target.doubtful().sum()),
            "boxes": int(target.present.sum()),
        }  # fmt: skip

    def timeline(self, clip: int, first: int, last: int, bins: int) -> Answer:
        """For each target, per bin of frames: the lowest score, and whether it is doubtful, approved or empty.

        Args:
            clip: Its number.
            first, last: Frames, both included.
            bins: Greatest number of bins.
        """
        found = self._clip(clip)
        first, last = max(first, 0), min(last, found.frame_count - 1)
        bins = max(1, min(bins, MOST_BINS, last - first + 1))
        edges = np.linspace(first, last + 1, bins + 1).astype(int)
        out = {}
        for target in list(found.targets):
            scores = np.where(np.isnan(target.scores), 2.0, target.scores)
            out[str(target.id)] = {
                "score": [None if v > 1 else round(float(v), 2) for v in np.minimum.reduceat(scores, edges[:-1])],
                "kind": self._kinds(target, edges),
            }
        return {"first": first, "last": last, "bins": bins, "targets": out, "revision": self.project.revision}

    @staticmethod
    def _kinds(target: AnnotatedTarget, edges: NDArray[np.int_]) -> str:
        """One letter per bin: d doubtful, a approved, t tracked, o absent (known), - unknown."""
        present, known = target.present, np.isfinite(target.scores)
        doubt = np.maximum.reduceat(target.doubtful().astype(np.int8), edges[:-1])
        approved = np.minimum.reduceat(target.approved.astype(np.int8), edges[:-1])
        there = np.maximum.reduceat(present.astype(np.int8), edges[:-1])
        seen = np.maximum.reduceat(known.astype(np.int8), edges[:-1])
        return "".join(
            "d" if d else "a" if a else "t" if t else "o" if s else "-"
            for d, a, t, s in zip(doubt, approved, there, seen, strict=True)
        )

    def boxes(self, clip: int, first: int, last: int) -> Answer:
        """All boxes of some frames: target -> a row [x, y, w, h, score, flags] or null per frame; flags: 1 occluded, 2
        approved, 4 doubtful."""
        found = self._clip(clip)
        first, last = max(first, 0), min(last, found.frame_count - 1, first + MOST_FRAMES - 1)
        part = slice(first, last + 1)
        out = {}
        for target in list(found.targets):
            flags = target.occluded[part] * 1 + target.approved[part] * 2 + target.doubtful()[part] * 4
            rows: list[list[float] | None] = []
            for box, score, flag in zip(target.boxes[part], target.scores[part], flags, strict=True):
                here = bool(np.isfinite(box).all())
                rows.append(
                    [*(round(float(v), 2) for v in box), round(float(np.nan_to_num(score)), 2), int(flag)]
                    if here
                    else None
                )
            out[str(target.id)] = rows
        return {"first": first, "last": last, "targets": out, "revision": self.project.revision}

    def doubtful(self, clip: int, frame: int, step: int = 1, target: int | None = None) -> Answer:
        """The start of the next (step 1) or previous (-1) doubtful interval, relative to a frame; null if there is
        none."""
        found = self._clip(clip)
        doubt = np.zeros(found.frame_count, bool)
        for one in list(found.targets):
            if target is None or one.id == target:
                doubt |= one.doubtful()
        starts = [a for a, _ in runs(doubt)]
        after = [a for a in starts if (a > frame if step > 0 else a < frame)]
        return {"frame": (min(after) if step > 0 else max(after)) if after else None, "left": int(doubt.sum())}

    def picture(self, clip: int, frame: int, width: int) -> bytes:
        """A frame as JPEG, no wider than requested.

        Raises:
            SourceError: It can't be read.
        """
        found = self._clip(clip)
        with self._lock:
            if clip not in self._frames:
                self._frames[clip] = open_frames(found.path)
        image: Image = self._frames[clip][frame]
        width = max(16, min(width, LARGEST))
        if width < image.shape[1]:
            size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        return encode_image(image, quality=85)

    def _clip(self, number: int) -> Clip:
        if not 0 <= number < len(self.project.clips):
            raise AnnotationError(f"There is no clip {number}; there are {len(self.project.clips)}, counted from 0.")
        return self.project.clips[number]

    # -- commands

    def command(self, what: Mapping[str, Any]) -> Answer:
        """Executes a command of a page; returns the new state, and a description in `said`.

        Args:
            what: `do` and its arguments: see the methods `_on_...`.

        Raises:
            Conflict: Another window has changed the same box.
            SiamTrackError: It can't be done.
        """
        name = what.get("do")
        known = [attribute.removeprefix("_on_") for attribute in dir(self) if attribute.startswith("_on_")]
        if not isinstance(name, str) or name not in known:
            raise AnnotationError(f"There is no command {name!r}.{suggest(str(name), known)}")
        try:
            said = getattr(self, f"_on_{name}")(what)
        except SiamTrackError:  # BoxError is a ValueError too
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"The command {name!r} lacks something or has a wrong value: {error}.") from None
        self.worker.wake()
        return self.state() | {"said": said}

    def _on_new(self, what: Mapping[str, Any]) -> Answer:
        """Creates a target: clip, name, class, colour; with frame and box, its first key box too."""
        clip = self._clip(int(what["clip"]))
        made = self.project.add_target(clip, _text(what, "name"), _text(what, "class") or "object", _colour(what))
        if what.get("box") is not None:
            self.project.set_key(made, int(what["frame"]), what["box"])
        return {"target": made.id}

    def _on_edit(self, what: Mapping[str, Any]) -> Answer:
        """Changes name, class or colour of a target."""
        self.project.edit_target(
            self.project.target(int(what["target"])), _text(what, "name"), _text(what, "class"), _colour(what)
        )
        return {}

    def _on_drop(self, what: Mapping[str, Any]) -> Answer:
        """Removes a target."""
        self.project.drop_target(self.project.target(int(what["target"])))
        return {}

    def _on_key(self, what: Mapping[str, Any]) -> Answer:
        """Sets a key box: target, frame, box (null: absent), seen (the revision that the page knew)."""
        target = self.project.target(int(what["target"]))
        seen = what.get("seen")
        self.project.set_key(target, int(what["frame"]), what["box"], None if seen is None else int(seen))
        return {}

    def _on_unkey(self, what: Mapping[str, Any]) -> Answer:
        """Removes a key box: target, frame, seen."""
        target = self.project.target(int(what["target"]))
        seen = what.get("seen")
        self.project.remove_key(target, int(what["frame"]), None if seen is None else int(seen))
        return {}

    def _on_approve(self, what: Mapping[str, Any]) -> Answer:
        """Approves: target and frame (the interval between the key boxes around it), or the whole target with whole
        true."""
        target = self.project.target(int(what["target"]))
        last = len(target.boxes) - 1
        if what.get("whole"):
            first = 0
        else:
            frame = int(what["frame"])
            first, last = stretch_at(target.keys, frame, last + 1)
            first, last = (max(first - 1, 0), min(last + 1, len(target.boxes) - 1))
        self.project.approve(target, first, last, bool(what.get("approved", True)))
        return {"first": first, "last": last}

    def _on_undo(self, what: Mapping[str, Any]) -> Answer:
        """Reverts the last action."""
        return {"undone": self.project.undo()}

    def _on_look(self, what: Mapping[str, Any]) -> Answer:
        """Sets the frame that the person views: it is tracked first."""
        self.worker.focus = (int(what["clip"]), int(what["frame"]))
        return {}


def _text(what: Mapping[str, Any], key: str) -> str:
    return " ".join(str(what.get(key) or "").split())[:80]


def _colour(what: Mapping[str, Any]) -> str:
    colour = str(what.get("colour") or "")
    if colour and not (
        len(colour) == 7 and colour[0] == "#" and all(c in "0123456789abcdefABCDEF" for c in colour[1:])
    ):
        raise AnnotationError(f"The colour {colour[:20]!r} is not #rrggbb.")
    return colour
