"""The data of an annotation: clips, their targets, and for each target a box per frame."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tracker.errors import SiamTrackError
from tracker.geometry import Boxes
from tracker.interop.notebook import show
from tracker.types import Box, Track

COLOURS = ("#4aa3ff", "#ff5fa8", "#b07cff", "#2fd6cf", "#e06a55", "#9ad14b", "#c7b299", "#7f8cff")
"""Colours of targets; none is near the amber of doubtful or the green of approved frames."""
DOUBT = 0.5
"""Frames with a lower score are doubtful: a person should check them."""


class AnnotationError(SiamTrackError):
    """A project file, a box or an annotation format that can't be used."""


@dataclass
class AnnotatedTarget:
    """One object in one clip.

    Attributes:
        id: Number, unique in its project.
        name, label: Its name, and its class.
        colour: `#rrggbb`.
        boxes: (frames, 4) float64 xywh; NaN where it has no box.
        scores: (frames,) float64 in [0, 1]; 1 where a person drew the box, NaN where unknown.
        occluded: (frames,) bool: occluded; the box is interpolated between the frames in which it was visible.
        keys: frame -> box that a person drew, or None: absent from there to the next key.
        approved: (frames,) bool: a person confirmed the box.
    """

    id: int
    name: str
    label: str
    colour: str
    boxes: Boxes
    scores: NDArray[np.float64]
    occluded: NDArray[np.bool_]
    keys: dict[int, Box | None] = field(default_factory=dict)
    approved: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def present(self) -> NDArray[np.bool_]:
        """(frames,) bool: it has a box there."""
        return np.asarray(np.isfinite(self.boxes).all(axis=1))

    def doubtful(self, below: float = DOUBT) -> NDArray[np.bool_]:
        """(frames,) bool: the score is low, and no person drew or approved the box."""
        drawn = np.zeros(len(self.boxes), bool)
        drawn[list(self.keys)] = True
        with np.errstate(invalid="ignore"):
            return np.asarray((self.scores < below) & ~self.approved & ~drawn)


@dataclass
class Clip:
    """A source of frames with its targets.

    Attributes:
        name: Short name, used for files.
        width, height: Pixels.
        frame_count: Number of frames.
        rate: Frames per second, or None if the source has none.
        targets: Its annotated targets.
        path: Path of the frames, or "".
    """

    name: str
    width: int
    height: int
    frame_count: int
    rate: Fraction | None = None
    targets: list[AnnotatedTarget] = field(default_factory=list)
    path: str = ""

    def tracks(self) -> list[Track]:
        """All boxes as tracks (`target_id` is the target's number), for `tracker.interop` and `tracker.measure`."""
        rate = None if self.rate is None else float(self.rate)
        return [
            Track(
                box=target.boxes[k].copy(),
                score=float(np.nan_to_num(target.scores[k])),
                index=int(k),
                timestamp=None if rate is None else int(k) / rate,
                target_id=target.id,
            )
            for target in self.targets
            for k in np.flatnonzero(target.present)
        ]

    def _repr_html_(self) -> str:
        """For notebooks: frames with the boxes of all targets, or the name of a clip that has none."""
        from html import escape

        tracks = self.tracks()
        if not tracks or not self.path:
            return (
                f"<p>{escape(self.name)}: {self.frame_count} frames, {len(self.targets)} targets, no boxes to show</p>"
            )
        return show(self.path, tracks)._repr_html_()

    def target(self, **wanted: object) -> AnnotatedTarget:
        """The first target with these attributes (`id=1`, `name="car"`).

        Raises:
            AnnotationError: There is none.
        """
        for target in self.targets:
            if all(getattr(target, key) == value for key, value in wanted.items()):
                return target
        raise AnnotationError(
            f"The clip {self.name} has no target with {wanted}; it has {[t.name for t in self.targets]}."
        )


def new_target(number: int, frames: int, name: str = "", label: str = "object", colour: str = "") -> AnnotatedTarget:
    """A target without boxes."""
    return AnnotatedTarget(
        id=number,
        name=name or f"{label} {number}",
        label=label,
        colour=colour or COLOURS[(number - 1) % len(COLOURS)],
        boxes=np.full((frames, 4), np.nan),
        scores=np.full(frames, np.nan),
        occluded=np.zeros(frames, bool),
        approved=np.zeros(frames, bool),
    )


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The intervals in which a mask is true, as [first, last + 1)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def interpolate(a: int, box_a: Box, b: int, box_b: Box) -> Boxes:
    """(b - a + 1, 4): boxes linearly interpolated from frame a to frame b, as in label tools."""
    share = np.linspace(0, 1, b - a + 1)[:, None]
    return np.asarray((1 - share) * box_a + share * box_b)


def keyframes(
    boxes: Boxes, occluded: NDArray[np.bool_], keys: Iterable[int] = (), tolerance: float = 0.0
) -> list[tuple[int, bool]]:
    """A small set of frames from which linear interpolation reproduces a track, for formats that interpolate.

    Within each interval with boxes, ends and `keys` are taken; then the frame that deviates most from the line, until
    none deviates by more than `tolerance` (Ramer 1972, Douglas and Peucker 1973, over time instead of space).

    Args:
        boxes: (frames, 4) xywh; NaN: absent.
        occluded: (frames,) bool; it changes at keyframes only.
        keys: Frames to take in any case.
        tolerance: Pixels, in any of x, y, w, h.

    Returns:
        (frame, outside) in order: a keyframe with a box, or with outside true where an interval has just ended.
    """
    present = np.asarray(np.isfinite(boxes).all(axis=1))
    wanted = set(keys)
    out: list[tuple[int, bool]] = []
    for first, end in runs(present):
        last = end - 1
        changes = np.flatnonzero(np.diff(occluded[first:end].astype(np.int8))) + first + 1
        fixed = sorted({first, last, *(k for k in wanted if first <= k <= last), *map(int, changes)})
        taken = set(fixed)
        todo = list(itertools.pairwise(fixed))
        while todo:
            a, b = todo.pop()
            if b - a < 2:
                continue
            off = np.abs(interpolate(a, boxes[a], b, boxes[b]) - boxes[a : b + 1]).max(axis=1)
            k = int(off.argmax())
            if off[k] > tolerance + 1e-9:
                taken.add(a + k)
                todo += [(a, a + k), (a + k, b)]
        out += [(k, False) for k in sorted(taken)]
        if end < len(boxes):
            out.append((end, True))
    return out


def between_keyframes(frames: int, shapes: Sequence[tuple[int, Box | None, bool]]) -> tuple[Boxes, NDArray[np.bool_]]:
    """The inverse of `keyframes`: boxes of all frames from (frame, box or None for absent, occluded), in order of
    frames.

    After the last shape the box stays constant, as in CVAT and Label Studio.
    """
    boxes, occluded = np.full((frames, 4), np.nan), np.zeros(frames, bool)
    for n, (frame, box, hidden) in enumerate(shapes):
        end = shapes[n + 1][0] if n + 1 < len(shapes) else frames
        if box is None:
            continue
        following = shapes[n + 1][1] if n + 1 < len(shapes) else None
        if following is None:
            boxes[frame:end] = box
        else:
            boxes[frame:end] = interpolate(frame, box, end, following)[:-1]
        occluded[frame:end] = hidden
    return boxes, occluded
