"""Failures of trackers, drawn as contact strips with ground truth and tracker boxes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracker.metrics.result_store import read_frame
from tracker.metrics.results import FAILURE, INIT, SKIPPED, Evaluation, SequenceResult
from tracker.metrics.success import exact_iou
from tracker.types import Box, Image

logger = logging.getLogger(__name__)

LOST_FRAMES = 5
"""Number of consecutive counted frames without overlap that make a loss."""
TILE = (240, 180)
TRUTH_COLOUR = (240, 201, 76)  # BGR of #4cc9f0
TRACKER_COLOUR = (0, 123, 255)  # BGR of #ff7b00


@dataclass(frozen=True)
class Loss:
    """One loss of a target.

    Attributes:
        tracker, sequence: Names.
        start, end: First and last 0-based frame without overlap.
        frames: Counted frames between them, ends included.
        last_good: Last frame before it with IoU of at least 0.5 (or the best IoU), 0-based.
        found: First frame afterwards with IoU of at least 0.5, or None.
    """

    tracker: str
    sequence: str
    start: int
    end: int
    frames: int
    last_good: int
    found: int | None


@dataclass(frozen=True)
class Tile:
    """One image of a strip: BGR uint8 at `TILE` size with its frame's 0-based index and IoU (NaN where the frame
    doesn't count)."""

    index: int
    iou: float
    image: Image = field(repr=False)


@dataclass(frozen=True)
class Strip:
    """A loss with its images, and the IoU over the whole sequence ((N,), NaN where a frame doesn't count)."""

    loss: Loss
    tiles: tuple[Tile, ...]
    ious: NDArray[np.float64] = field(repr=False)
    note: str = ""


@dataclass(frozen=True)
class LossTally:
    """How often a tracker lost its target, and whether it reported it.

    Attributes:
        losses: Number of losses; `sequences` of `total` sequences have at least one.
        recovered: Losses after which it tracked the target again (IoU of at least 0.5).
        frames_lost: Fraction of the counted frames without overlap.
        flagged: Fraction of the frames without overlap in which the tracker itself reported "lost"; NaN if there are
            none.
        false_alarms: Fraction of the frames with overlap in which it reported "lost".
    """

    tracker: str
    losses: int
    sequences: int
    total: int
    recovered: int
    frames_lost: float
    flagged: float
    false_alarms: float


def overlap_track(result: SequenceResult) -> NDArray[np.float64]:
    """(N,) IoU of each counted frame (boxes clipped to the frame, so that partly visible targets are judged correctly),
    else NaN.

    In the supervised protocol a failure counts as 0, an initialisation as 1, and skipped frames after it are NaN.
    """
    ious = exact_iou(result.boxes, result.truth, result.size)
    counted = result.valid & np.isfinite(result.truth).all(axis=1)
    counted[0] = True
    if result.codes is not None:
        ious[result.codes == FAILURE] = 0.0
        ious[result.codes == INIT] = 1.0
        counted &= result.codes != SKIPPED
    return np.where(counted, ious, np.nan)


def find_losses(result: SequenceResult, run: int = LOST_FRAMES) -> list[Loss]:
    """Runs of at least `run` counted frames without overlap; frames that aren't counted neither break nor lengthen a
    run.

    In the supervised protocol every failure is a loss.

    Args:
        result: Of one sequence.
        run: Counted frames.
    """
    ious = overlap_track(result)
    counted = np.flatnonzero(np.isfinite(ious))
    need = 1 if result.codes is not None else run
    losses, k = [], 0
    while k < len(counted):
        if ious[counted[k]] > 0:
            k += 1
            continue
        last = k
        while last + 1 < len(counted) and ious[counted[last + 1]] == 0:
            last += 1
        if last - k + 1 >= need:
            start, end = int(counted[k]), int(counted[last])
            before = counted[:k]
            good = before[ious[before] >= 0.5]
            anchor = int(good[-1]) if len(good) else int(before[np.argmax(ious[before])]) if len(before) else start
            after = counted[last + 1 :]
            again = after[ious[after] >= 0.5]
            found = int(again[0]) if len(again) and result.codes is None else None
            losses.append(Loss(result.tracker, result.sequence, start, end, last - k + 1, anchor, found))
        k = last + 1
    return losses


def tally(evaluation: Evaluation, run: int = LOST_FRAMES) -> list[LossTally]:
    """One `LossTally` per tracker, in the evaluation's order; empty if the results are not available."""
    out = []
    for tracker in evaluation.trackers:
        results = list(evaluation.results_of(tracker.tracker).values())
        if not results:
            continue
        losses = [find_losses(r, run) for r in results]
        ious = np.concatenate([overlap_track(r)[1:] for r in results])
        flags = np.concatenate([r.lost[1:] for r in results])
        gone, here = ious == 0, ious > 0
        out.append(
            LossTally(
                tracker.tracker,
                losses=sum(map(len, losses)),
                sequences=sum(bool(found) for found in losses),
                total=len(results),
                recovered=sum(loss.found is not None for found in losses for loss in found),
                frames_lost=float(gone.sum() / max(1, np.isfinite(ious).sum())),
                flagged=float(flags[gone].mean()) if gone.any() else np.nan,
                false_alarms=float(flags[here].mean()) if here.any() else np.nan,
            )
        )
    return out


def make_strips(results: Sequence[SequenceResult], count: int, tiles: int = 6, run: int = LOST_FRAMES) -> list[Strip]:
    """Strips of a tracker's longest losses, at most one per sequence.

    Args:
        results: One tracker's.
        count: Greatest number of strips.
        tiles: Images in each.
        run: As in `find_losses`.

    Returns:
        Longest loss first. A strip whose images are not available has no tiles.
    """
    found: list[tuple[Loss, SequenceResult]] = []
    for result in results:
        losses = find_losses(result, run)
        if losses:
            found.append((max(losses, key=lambda loss: loss.frames), result))
    found.sort(key=lambda pair: -pair[0].frames)
    return [_strip(loss, result, tiles) for loss, result in found[:count]]


def _strip(loss: Loss, result: SequenceResult, tiles: int) -> Strip:
    ious = overlap_track(result)
    last = loss.end if loss.found is None else loss.found
    inside = np.linspace(loss.start, last, max(2, tiles - 2)).round().astype(int)
    wanted = sorted({loss.last_good, (loss.last_good + loss.start) // 2, *map(int, inside)})
    pictures = {}
    for k in wanted:
        image = read_frame(result, k)
        if image is None:
            logger.warning(
                "The frames of %s are not available; its losses are listed without pictures.", result.sequence
            )
            return Strip(loss, (), ious, result.error)
        pictures[k] = image
    shared = _region([b for k in wanted for b in (result.truth[k], result.boxes[k])], pictures[wanted[0]].shape)
    side = np.nanmax(result.truth[wanted, 2:])
    out = []
    for k, image in pictures.items():
        # One region for all tiles shows the motion; if the target would be too small to see, each tile gets its own.
        region = shared if shared[2] < 7 * side else _region([result.truth[k], result.boxes[k]], image.shape)
        out.append(Tile(k, float(ious[k]), draw_tile(image, region, result.truth[k], result.boxes[k])))
    return Strip(loss, tuple(out), ious, result.error)


def _region(boxes: Sequence[Box], shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """x, y, w, h of a part of the frame, shaped like `TILE`, that holds the boxes with some margin."""
    height, width = shape[:2]
    good = np.asarray([b for b in boxes if np.isfinite(b).all() and b[2] > 0 and b[3] > 0]).reshape(-1, 4)
    if not len(good):
        return 0.0, 0.0, float(width), float(height)
    low = np.clip(good[:, :2].min(axis=0), 0, [width, height])
    high = np.clip((good[:, :2] + good[:, 2:]).max(axis=0), 0, [width, height])
    margin = max(24.0, 0.6 * float(np.max(good[:, 2:])))
    low, high = low - margin, high + margin
    ratio = TILE[0] / TILE[1]
    w = min(max(high[0] - low[0], (high[1] - low[1]) * ratio), max(width, height * ratio))
    centre = (low + high) / 2
    size = np.asarray([w, w / ratio])
    # Inside the frame if it fits, otherwise centred on it.
    limit = np.asarray([width, height], dtype=np.float64)
    corner = np.where(size < limit, np.clip(centre - size / 2, 0, np.maximum(limit - size, 0)), (limit - size) / 2)
    return float(corner[0]), float(corner[1]), float(size[0]), float(size[1])


def draw_tile(image: Image, region: tuple[float, float, float, float], truth: Box, box: Box) -> Image:
    """A part of a frame at `TILE` size with both boxes drawn; padding outside the frame is gray."""
    import cv2

    scale = TILE[0] / region[2]
    matrix = np.asarray([[scale, 0, -region[0] * scale], [0, scale, -region[1] * scale]])
    if scale < 0.5:  # far smaller: average first, or fine texture causes aliasing
        factor = 2 * scale
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        matrix = matrix @ np.diag([1 / factor, 1 / factor, 1.0])
    tile = cv2.warpAffine(image, matrix, TILE, flags=cv2.INTER_LINEAR, borderValue=(96, 96, 96))
    for shown, colour in ((truth, TRUTH_COLOUR), (box, TRACKER_COLOUR)):
        if not np.isfinite(shown).all():
            continue
        x, y, w, h = ((shown - [region[0], region[1], 0, 0]) * scale).round()
        low, high = (
            (int(np.clip(x, -9999, 9999)), int(np.clip(y, -9999, 9999))),
            (int(min(x + w, 9999)), int(min(y + h, 9999))),
        )
        cv2.rectangle(tile, low, high, (0, 0, 0), 4, cv2.LINE_AA)
        cv2.rectangle(tile, low, high, colour, 2, cv2.LINE_AA)
    return tile  # type: ignore[return-value]
