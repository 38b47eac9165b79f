"""Disturbed clips, made from annotated ones: occlusions, cuts, black and frozen frames, a target that leaves the frame
or is erased.

The disturbance of a clip depends only on its name and a seed. Frames are made on demand.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.evaluation.robustness.footage import Footage
from tracker.geometry import clip_box
from tracker.types import Image

KINDS = ("occlusion", "cut", "leave", "black", "frozen", "vanish")
LONGEST = 60
"""Frames of the longest disturbance."""
FIRST, GAP, AFTER = 12, 24, 16
"""Frames before the first disturbance, between two, and (at least) after the last one."""
SLIDE = 8
"""Number of frames in which a leaving target slides out of the image."""


@dataclass(frozen=True)
class DisturbedClip:
    """A clip with one kind of disturbance.

    Attributes:
        name: Of the sequence.
        kind: One of `KINDS`, or "none".
        truth: (N, 4) xywh of the target, if it is present.
        present: (N,) True where the target is visible.
        absent: (N,) True where it isn't; frames in which less than half of it is inside the image are neither.
        frames: (N,) recipes of the images made by `images`.
    """

    name: str
    kind: str
    truth: NDArray[np.float64]
    present: NDArray[np.bool_]
    absent: NDArray[np.bool_]
    footage: Footage
    other: Footage
    offsets: NDArray[np.float64] | None = None
    patches: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def absences(self) -> list[tuple[int, int]]:
        """(first frame without the target, first frame with it again) of each absence that ends."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.absent.astype(int), [0]])))
        runs = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        return [(a, b + int(np.argmax(self.present[b:]))) for a, b in runs if self.present[b:].any()]

    def images(self) -> Iterator[Image]:
        """The N images."""
        frozen = 0
        for k in range(len(self)):
            if self.kind == "frozen" and self.patches is not None and self.patches[k, 0] >= 0:
                frozen = int(self.patches[k, 0])
                yield self.footage.images[frozen]
                continue
            image = self.footage.images[k]
            if self.kind == "leave" and self.offsets is not None:
                image = _shifted(image, self.offsets[k], self._scenery(k))
            elif self.kind == "vanish" and self.patches is not None:
                if self.absent[k]:
                    image = _erased(image, self.truth[k])
                image = _beside(image, self._companion, self.patches[k])
            elif self.absent[k] and self.kind == "cut":
                image = self._scenery(k)
            elif self.absent[k] and self.kind == "black":
                image = np.zeros_like(image)
            elif self.absent[k] and self.kind == "occlusion" and self.patches is not None:
                image = _covered(image, self.truth[k], self._scenery(k), self.patches[k])
            yield image

    @cached_property
    def _companion(self) -> Image:
        """The other clip's target, from its first box."""
        x, y, w, h = clip_box(self.other.truth[:1], *self.other.size)[0]
        left, top, right, bottom = int(x), int(y), max(int(x + w), int(x) + 2), max(int(y + h), int(y) + 2)
        return self.other.images[0][top:bottom, left:right]

    def _scenery(self, k: int) -> Image:
        """An image of the other clip, resized to this one; it runs forward and backward."""
        n = len(self.other)
        turn = k % (2 * n)
        image = self.other.images[turn if turn < n else 2 * n - 1 - turn]
        return cv2.resize(image, self.footage.size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def disturb(footage: Footage, other: Footage, kind: str, seed: int = 0, longest: int = LONGEST) -> DisturbedClip | None:
    """A clip with one kind of disturbance, or None if it is too short for one.

    Args:
        footage: The clip.
        other: Source of other scenery.
        kind: One of `KINDS`, or "none".
        seed: With the clip's name, determines everything.
        longest: Frames of the longest disturbance.
    """
    n = len(footage)
    valid = footage.valid.copy()
    if kind == "none":
        return DisturbedClip(footage.name, kind, footage.truth, valid, np.zeros(n, np.bool_), footage, other)
    rng = np.random.default_rng([seed, zlib.crc32(footage.name.encode()), KINDS.index(kind)])
    spans = _spans(rng, n, longest)
    if not spans:
        return None
    inside = np.zeros(n, np.bool_)
    for start, end in spans:
        inside[start:end] = True
    truth = footage.truth.copy()
    if kind == "leave":
        return _leave(footage, other, spans, rng)
    if kind == "vanish":
        path = _companion_path(footage, rng)
        return DisturbedClip(footage.name, kind, truth, valid & ~inside, inside, footage, other, patches=path)
    if kind == "frozen":
        still = np.full((n, 1), -1.0)
        for start, end in spans:
            still[start:end] = start - 1
            truth[start:end] = truth[start - 1]
            valid[start:end] = valid[start - 1]
        return DisturbedClip(footage.name, kind, truth, valid, np.zeros(n, np.bool_), footage, other, patches=still)
    patches = np.zeros((n, 2))
    for start, end in spans:
        patches[start:end] = rng.random(2)
    return DisturbedClip(footage.name, kind, truth, valid & ~inside, inside, footage, other, patches=patches)


def _companion_path(footage: Footage, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, 4) xywh of another object that moves around the target, at one to two times its size."""
    box, n = footage.truth, len(footage)
    side = np.sqrt(np.maximum(box[:, 2] * box[:, 3], 16.0))
    # The path follows the target's slow motion: an object beside it, not attached to it.
    middle = box[:, :2] + box[:, 2:] / 2
    slow = np.stack(
        [np.convolve(np.pad(m, 8, mode="edge"), np.full(17, 1 / 17), mode="valid") for m in middle.T], axis=1
    )
    angle = rng.uniform(0, 2 * np.pi) + np.arange(n) / rng.uniform(12, 30)
    reach = side * (1.5 + 0.5 * np.sin(np.arange(n) / rng.uniform(8, 20)))
    centre = slow + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([centre - side[:, None] / 2, side[:, None], side[:, None]], axis=1)


def _erased(image: Image, box: NDArray[np.float64]) -> Image:
    """The image with a box filled from its surroundings."""
    height, width = image.shape[:2]
    pad = 0.1 * box[2:] + 2
    left, top = np.floor(np.clip(box[:2] - pad, 0, [width - 1, height - 1])).astype(int)
    right, bottom = np.ceil(np.clip(box[:2] + box[2:] + pad, [left + 1, top + 1], [width, height])).astype(int)
    rim = max(int(0.3 * max(right - left, bottom - top)), 6)
    rows, columns = slice(max(top - rim, 0), bottom + rim), slice(max(left - rim, 0), right + rim)
    part = image[rows, columns]
    mask = np.zeros(part.shape[:2], np.uint8)
    mask[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = 255
    out = image.copy()
    out[rows, columns] = cv2.inpaint(np.ascontiguousarray(part), mask, 3, cv2.INPAINT_TELEA)
    return out


def _beside(image: Image, thing: Image, box: NDArray[np.float64]) -> Image:
    """The image with another object, an elliptical cutout with a soft edge, in a box."""
    w, h = max(round(float(box[2])), 4), max(round(float(box[3])), 4)
    patch = cv2.resize(thing, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
    y, x = (np.arange(h)[:, None] + 0.5) / h * 2 - 1, (np.arange(w)[None] + 0.5) / w * 2 - 1
    alpha = np.clip((1 - np.hypot(x, y)) * 5, 0, 1).astype(np.float32)[..., None]
    left, top = round(float(box[0])), round(float(box[1]))
    rows, columns = slice(max(top, 0), min(top + h, image.shape[0])), slice(max(left, 0), min(left + w, image.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return image
    own = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    out = image.copy()
    out[rows, columns] = (alpha[own] * patch[own] + (1 - alpha[own]) * out[rows, columns]).round().astype(np.uint8)
    return out


def _spans(rng: np.random.Generator, n: int, longest: int) -> list[tuple[int, int]]:
    spans, at = [], FIRST
    while n - at - AFTER >= 1:
        length = min(int(rng.integers(1, longest + 1)), n - at - AFTER)
        spans.append((at, at + length))
        at += length + GAP
    return spans


def _leave(
    footage: Footage, other: Footage, spans: Sequence[tuple[int, int]], rng: np.random.Generator
) -> DisturbedClip:
    """The image slides until the target is outside; later the target is back at another position."""
    n, (width, height) = len(footage), footage.size
    offsets = np.zeros((n, 2))
    box = footage.truth
    current = np.zeros(2)
    k = 0
    for start, end in [*spans, (n, n)]:
        while k < start:  # the target stays inside
            low, high = -box[k, :2], np.array([width, height]) - box[k, 2:] - box[k, :2]
            free = np.clip(current, np.minimum(low, high), np.maximum(low, high)) if current.any() else current
            slide = k - (start - SLIDE)
            offsets[k] = free
            if slide >= 0 and start < n:
                offsets[k] = free + (slide + 1) / (SLIDE + 1) * (_exit(box[k], free, width) - free)
            k += 1
        while k < end:
            offsets[k] = _exit(box[k], current, width)
            k += 1
        if end < n:
            room = np.maximum(np.array([width, height]) - box[end, 2:], 0)
            places = rng.random((16, 2)) * room
            before = box[start - 1, :2] + current
            current = (
                places[int(np.argmax(np.linalg.norm(places - before, axis=1) > 0.3 * min(width, height)))]
                - box[end, :2]
            )
    truth = box.copy()
    truth[:, :2] += offsets
    seen = clip_box(truth, width, height)
    share = seen[:, 2] * seen[:, 3] / np.maximum(truth[:, 2] * truth[:, 3], 1e-9)
    # The first frames are unmoved: boxes that extend beyond the border count as annotated.
    still = ~offsets.any(axis=1)
    present = footage.valid & ((share >= 0.5) | still)
    return DisturbedClip(
        footage.name, "leave", truth, present, (share <= 0.0) & ~still, footage, other, offsets=offsets
    )


def _exit(box: NDArray[np.float64], offset: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Offset at which the box is outside the image, on the nearer side."""
    x = box[0] + offset[0] + box[2] / 2
    return np.array([-box[0] - box[2] - 1 if x < width / 2 else width - box[0] + 1, offset[1]])


def _shifted(image: Image, offset: NDArray[np.float64], ground: Image) -> Image:
    """The image moved by an offset, over another one."""
    if not offset.any():
        return image
    height, width = image.shape[:2]
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], dtype=np.float64)
    return cv2.warpAffine(image, matrix, (width, height), dst=ground.copy(), borderMode=cv2.BORDER_TRANSPARENT)  # type: ignore[return-value]


def _covered(image: Image, box: NDArray[np.float64], scenery: Image, where: NDArray[np.float64]) -> Image:
    """The image with a piece of other scenery over the box and a margin."""
    height, width = image.shape[:2]
    pad = 0.15 * box[2:] + 4
    left, top = np.floor(np.clip(box[:2] - pad, 0, [width, height])).astype(int)
    right, bottom = np.ceil(np.clip(box[:2] + box[2:] + pad, 0, [width, height])).astype(int)
    if right <= left or bottom <= top:
        return image
    x, y = (np.array([width - (right - left), height - (bottom - top)]) * where).astype(int)
    out = image.copy()
    out[top:bottom, left:right] = scenery[y : y + bottom - top, x : x + right - left]
    return out
