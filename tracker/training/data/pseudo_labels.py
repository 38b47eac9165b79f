"""Pseudo-labels: regions of unlabelled clips, tracked forward and back; only consistent tracks are kept.

A track that, tracked to the end and back, ends where it began is most likely right (forward-backward consistency:
Kalal, Mikolajczyk, Matas, ICPR 2010; for learning to track: Wang et al., UDT, CVPR 2019).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.datasets.clips import frames_of
from tracker.datasets.tracks import AnnotatedTrack, BadFiles, DataError, read_image, read_index
from tracker.files import content_of, write_atomic
from tracker.geometry import iou
from tracker.tracking.tracker import SiamTracker
from tracker.training.data.mixture import SourceConfig
from tracker.types import Image

logger = logging.getLogger(__name__)

Follow = Callable[[Sequence[Image], NDArray[np.float64]], list[NDArray[np.float64]]]
"""Frames and the box in the first -> the boxes of all frames; fewer where the target was lost."""
AGREE = 0.6
"""Least IoU of the start box and the box after tracking back."""
TRIES = 4
"""Number of regions tried per requested track."""


def pseudo_tracks(clips: Sequence[Path], source: SourceConfig, store: Path, bad: BadFiles) -> list[AnnotatedTrack]:
    """Tracks of regions in unlabelled clips; cached in `store`.

    Args:
        clips: Videos or folders of pictures.
        source: tracks (per clip), length (frames of a track), tracker ("flow" or a model), every, limit.
        store: Folder for frames and tracks.
        bad: Policy for a clip that gives no track.

    Raises:
        DataError: No clip gives any.
    """
    follow: Follow | None = None
    out: list[AnnotatedTrack] = []
    for clip in clips:
        frames = frames_of(clip, store, source.every, source.limit)
        mark = (
            f"{frames[0].parent.resolve()} {len(frames)} {source.tracks} {source.length} {source.tracker} "
            f"{source.every}"
        )
        mark += content_of(frames)
        file = store / "pseudo" / f"{clip.stem}-{hashlib.sha256(mark.encode()).hexdigest()[:10]}.json"
        if not file.is_file():
            follow = follow or (follow_flow if source.tracker == "flow" else follow_model(source.tracker))
            seed = int(hashlib.sha256(clip.stem.encode()).hexdigest()[:8], 16)
            found = find_tracks(frames, follow, source.tracks, source.length, seed)
            logger.info("%s: %d consistent tracks", clip.name, len(found))
            write_atomic(file, json.dumps([[start, boxes.tolist()] for start, boxes in found]))
        rows = read_index(file)
        if not rows:
            bad.report(
                DataError(
                    f"The clip {clip} gives no track that returns home: too many cuts, or shorter than "
                    f"length={source.length}."
                )
            )
        for k, (start, boxes) in enumerate(rows):
            part_of = frames[start : start + len(boxes)]
            out.append(AnnotatedTrack(f"{clip.stem}.{k}", part_of, np.asarray(boxes, dtype=np.float64)))
    if not out:
        raise DataError("None of the unlabelled clips gives a track; take longer ones, or lower `length`.")
    return out


def find_tracks(
    frames: Sequence[Path], follow: Follow, wanted: int, length: int, seed: int
) -> list[tuple[int, NDArray[np.float64]]]:
    """(first frame, (n, 4) boxes) of regions that were tracked consistently forward and back.

    Args:
        frames: Pictures of one clip.
        follow: Tracks a box.
        wanted: Greatest number of tracks.
        length: Frames of a track.
        seed: Random seed of the regions.
    """
    rng = np.random.default_rng(seed)
    found: list[tuple[int, NDArray[np.float64]]] = []
    if len(frames) < 2:
        return found
    for _ in range(TRIES * wanted):
        if len(found) >= wanted:
            break
        start = int(rng.integers(max(1, len(frames) - length + 1)))
        images = [read_image(p) for p in frames[start : start + length]]
        box = salient_region(images[0], rng)
        there = follow(images, box)
        if len(there) < len(images):
            continue
        back = follow(images[::-1], there[-1])
        if len(back) == len(images) and float(iou(back[-1], box)) >= AGREE:
            found.append((start, np.stack(there)))
    return found


def salient_region(image: Image, rng: np.random.Generator, tries: int = 12) -> NDArray[np.float64]:
    """A region with corners suitable for tracking, more of them inside than around: (4,) xywh."""
    height, width = image.shape[:2]
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    strength = cv2.cornerMinEigenVal(cv2.GaussianBlur(gray, (0, 0), 1.0), 5)
    strength = np.minimum(strength, np.quantile(strength, 0.98))
    best, best_score = np.array([0.0, 0.0, width / 2, height / 2]), -np.inf
    for _ in range(tries):
        side = min(height, width) * rng.uniform(0.12, 0.4)
        ratio = np.exp(rng.uniform(-0.6, 0.6) / 2)
        w, h = side * ratio, side / ratio
        x, y = rng.uniform(0, max(1.0, width - w)), rng.uniform(0, max(1.0, height - h))
        inner = strength[int(y) : int(y + h), int(x) : int(x + w)]
        m = 0.3
        outer = strength[int(max(0, y - m * h)) : int(y + h + m * h), int(max(0, x - m * w)) : int(x + w + m * w)]
        score = 2 * float(inner.mean()) - float(outer.mean()) if inner.size else -np.inf
        if score > best_score:
            best, best_score = np.array([x, y, w, h]), score
    return best


def follow_flow(images: Sequence[Image], box: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Median flow (Kalal, Mikolajczyk, Matas, ICPR 2010): a grid of points, the more reliable half of them, median
    shift and scale."""
    grays = [cv2.cvtColor(i, cv2.COLOR_BGR2GRAY) for i in images]
    boxes = [np.asarray(box, dtype=np.float64)]
    for before, after in pairwise(grays):
        step = _flow_step(before, after, boxes[-1])
        if step is None:
            break
        boxes.append(step)
    return boxes


def _flow_step(before: Any, after: Any, box: NDArray[np.float64]) -> NDArray[np.float64] | None:
    x, y, w, h = box
    xs, ys = np.meshgrid(np.linspace(x + 0.1 * w, x + 0.9 * w, 10), np.linspace(y + 0.1 * h, y + 0.9 * h, 10))
    points = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float32)[:, None]
    nothing: Any = None
    there, ok, _ = cv2.calcOpticalFlowPyrLK(before, after, points, nothing, winSize=(15, 15), maxLevel=3)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, nothing, winSize=(15, 15), maxLevel=3)
    error = np.linalg.norm(back - points, axis=2)[:, 0]
    good = (ok[:, 0] > 0) & (ok_back[:, 0] > 0)
    if good.sum() < 10:
        return None
    middle = float(np.median(error[good]))
    if middle > 4.0:  # px: forward-backward error of usable flow
        return None
    good &= error <= middle
    a, b = points[good, 0], there[good, 0]
    shift = np.median(b - a, axis=0)
    i, j = np.triu_indices(len(a), 1)
    apart = np.linalg.norm(a[i] - a[j], axis=1)
    scale = (
        float(np.median(np.linalg.norm(b[i] - b[j], axis=1)[apart > 1] / apart[apart > 1]))
        if (apart > 1).any()
        else 1.0
    )
    centre, size = box[:2] + box[2:] / 2 + shift, box[2:] * scale
    height, width = after.shape
    if not (0 <= centre[0] < width and 0 <= centre[1] < height) or size.min() < 8:
        return None
    return np.concatenate([centre - size / 2, size])


def follow_model(name: str) -> Follow:
    """Tracks with a shipped model or a checkpoint file."""
    tracker = SiamTracker.from_pretrained(name, "cpu")

    def follow(images: Sequence[Image], box: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        tracker.init(images[0], box)
        boxes = [np.asarray(box, dtype=np.float64)]
        for k, image in enumerate(images[1:], 1):
            track = tracker.update(image, index=k)
            if not track.visible:
                break
            boxes.append(np.asarray(track.box, dtype=np.float64))
        return boxes

    return follow
