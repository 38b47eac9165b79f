"""VOT's supervised protocol: overlap with rotated ground truth, accuracy, robustness and expected average overlap.

Protocol (Kristan et al., "A novel performance evaluation methodology for single-target trackers", TPAMI 2016): the
tracker is initialised in the first frame; when its box no longer overlaps the ground truth it has failed, and is
initialised again 5 frames later. Our trackers are deterministic, so one repetition replaces the challenge's 15.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracker.datasets.vot import area
from tracker.metrics.results import FAILURE, INIT, TRACKED, Curve, SequenceMetrics, SequenceResult, TrackerMetrics
from tracker.metrics.success import speed

Floats = NDArray[np.float64]

RESTART = 5
"""Frames from a failure to the next initialisation."""
BURN_IN = 10
"""Frames after each initialisation that accuracy excludes, because the box is still close to the given one."""
TAGS = ("camera_motion", "illum_change", "occlusion", "size_change", "motion_change", "empty")


def clip_polygon(points: Floats, low: Floats, high: Floats) -> Floats:
    """The part of a polygon inside an upright box (Sutherland and Hodgman, CACM 1974); the polygon needn't be convex.

    Args:
        points: (K, 2) corners in order.
        low, high: (2,) corners of the box.

    Returns:
        (M, 2) corners, M = 0 where nothing is left.
    """
    for axis, sign, edge in ((0, 1.0, low[0]), (0, -1.0, high[0]), (1, 1.0, low[1]), (1, -1.0, high[1])):
        if not len(points):
            return points
        side = sign * (points[:, axis] - edge)  # >= 0 inside
        kept: list[Floats] = []
        for k in range(len(points)):
            a, b, da, db = points[k - 1], points[k], side[k - 1], side[k]
            if (da >= 0) != (db >= 0):
                kept.append(a + (b - a) * (da / (da - db)))
            if db >= 0:
                kept.append(b)
        points = np.asarray(kept).reshape(-1, 2)
    return points


def region_overlap(box: Floats, region: Floats, size: tuple[int, int]) -> float:
    """IoU of a box (4,) xywh with the ground truth, a box (4,) or corners (8,), both clipped to the frame.

    The same value as `got10k.utils.metrics.poly_iou(..., bound)`, without its dependency on shapely.

    Args:
        size: (width, height) of the frame.

    Returns:
        IoU in [0, 1]; 0 for a box that isn't finite.
    """
    if not np.isfinite(box).all() or not np.isfinite(region).all():
        return 0.0
    frame = np.asarray(size, dtype=np.float64)
    low, high = np.clip(box[:2], 0, frame), np.clip(box[:2] + box[2:], 0, frame)
    if len(region) == 8:
        corners = region.reshape(4, 2)
    else:
        x, y, w, h = region
        corners = np.asarray([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
    truth = clip_polygon(corners, np.zeros(2), frame)
    inter = area(clip_polygon(truth, low, high)) if (high > low).all() else 0.0
    union = area(truth) + float(np.prod(np.maximum(high - low, 0))) - inter
    return min(1.0, max(0.0, inter / (union + float(np.finfo(float).eps))))


def overlaps(result: SequenceResult, burn_in: int = 0) -> Floats:
    """(N,) overlap in frames in which the tracker was running and the target is annotated.

    NaN elsewhere, and in the first `burn_in` frames after each initialisation.
    """
    codes = _codes(result)
    truth = result.truth if result.polygons is None else result.polygons
    out = np.full(len(result), np.nan)
    for k in np.flatnonzero((codes == TRACKED) & result.valid):
        out[k] = region_overlap(result.boxes[k], truth[k], result.size)
    for k in np.flatnonzero(codes == INIT):
        out[k : k + burn_in] = np.nan
    return out


def _codes(result: SequenceResult) -> NDArray[np.int8]:
    if result.codes is None:
        raise ValueError(f"The result of {result.tracker} on {result.sequence} wasn't made by the supervised protocol.")
    return result.codes


def expected_overlap_curve(results: Sequence[SequenceResult]) -> Floats:
    """Expected average overlap for sequences of length 1, 2, ... (VOT2015 report, section 3.2; averaged as pysot does).

    Each run is cut at its (re-)initialisations. A fragment that ended in a failure is continued with overlap 0, since a
    tracker that isn't restarted stays lost; one that ended with the sequence (also right after a failure) counts only
    to its end. The value at length n is the mean, over the fragments that are long enough, of the mean overlap in
    frames 2..n; frames without a region are excluded.

    Returns:
        (L,) values; index n - 1 is length n; the first is 1 by definition.
    """
    longest = max((len(r) for r in results), default=1)
    fragments: list[Floats] = []
    shown: list[NDArray[np.bool_]] = []
    for result in results:
        values = np.nan_to_num(overlaps(result), nan=0.0)
        restarts = [int(f) + RESTART for f in np.flatnonzero(_codes(result) == FAILURE) if f + RESTART <= len(values)]
        starts = [0, *restarts]
        ends: list[int | None] = [*restarts, None]
        for start, end in zip(starts, ends, strict=True):
            piece = values[start:] if end is None else values[start : end + 1]
            row = np.full(longest, np.nan if end is None else 0.0)
            row[: len(piece)] = piece
            fragments.append(row)
            counts = np.ones(longest, dtype=bool)
            counts[: len(piece)] = result.valid[start : start + len(piece)]
            shown.append(counts)
    table = np.stack(fragments) if fragments else np.zeros((0, longest))
    counted = np.stack(shown)[:, 1:] if shown else np.zeros((0, longest - 1), dtype=bool)
    sums = np.cumsum(np.nan_to_num(table[:, 1:]) * counted, axis=1) / np.maximum(np.cumsum(counted, axis=1), 1)
    alive = ~np.isnan(table[:, 1:])
    living = alive.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(living > 0, (sums * alive).sum(axis=0) / living, 0.0)
    return np.concatenate([[1.0], means])


def expected_average_overlap(results: Sequence[SequenceResult], interval: tuple[int, int]) -> float:
    """EAO: mean of the expected overlap curve over the lengths `interval` (ends included), as far as there are
    sequences of that length."""
    curve = expected_overlap_curve(results)
    part = curve[interval[0] - 1 : interval[1]]
    return float(np.mean(part)) if len(part) else math.nan


def vot_metrics(tracker: str, results: Sequence[SequenceResult], interval: tuple[int, int] | None) -> TrackerMetrics:
    """Accuracy, robustness and EAO of the supervised protocol, as pysot and got10k compute them (see
    `metrics.METRICS`).

    Args:
        interval: Lengths over which the EAO is averaged; None where the year had none.
    """
    rows: list[SequenceMetrics] = []
    pool: list[Floats] = []
    failed: list[NDArray[np.bool_]] = []
    for result in results:
        own, failure = overlaps(result, BURN_IN), _codes(result) == FAILURE
        pool.append(own)
        failed.append(failure)
        values = {
            "accuracy": float(np.nanmean(own)) if np.isfinite(own).any() else math.nan,
            "failures": float(failure.sum()),
            "robustness": float(100 * failure.sum() / max(int(result.valid.sum()), 1)),
        }
        rows.append(
            SequenceMetrics(result.sequence, int(result.valid.sum()), {**values, **speed([result], True)}, result.error)
        )
    every, failures = np.concatenate(pool), np.concatenate(failed)
    share = float(failures.sum() / max(sum(int(r.valid.sum()) for r in results), 1))
    overall = {
        "accuracy": float(np.nanmean(every)) if np.isfinite(every).any() else math.nan,
        "robustness": 100 * share,
        "failures": float(failures.sum()),
        "reliability30": math.exp(-30 * share),
    }
    curves = {}
    if interval is not None:
        overall = {"eao": expected_average_overlap(results, interval), **overall}
        curve = expected_overlap_curve(results)
        curves["expected_overlap"] = Curve(tuple(float(n) for n in range(1, len(curve) + 1)), tuple(curve))
    attributes = _attributes(results, every, failures)
    overall |= _weighted(attributes) | speed(results, True)
    return TrackerMetrics(tracker, overall, curves, tuple(rows), attributes)


def _attributes(
    results: Sequence[SequenceResult], every: Floats, failures: NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    names = list(dict.fromkeys(n for r in results for n in r.attributes))
    table = {}
    for name in names:
        mask = np.concatenate([r.attributes.get(name, np.zeros(len(r), dtype=bool)) for r in results])
        known = every[mask & np.isfinite(every)]
        table[name] = {
            "frames": float(mask.sum()),
            "accuracy": float(known.mean()) if len(known) else 0.0,
            "failures": float(failures[mask].sum()),
        }
    return table


def _weighted(attributes: dict[str, dict[str, float]]) -> dict[str, float]:
    """got10k's averages: each tag is weighted by its number of frames."""
    tags = [attributes[t] for t in TAGS if t in attributes]
    total = sum(t["frames"] for t in tags)
    if not total:
        return {}
    return {f"{key}_tags": sum(t[key] * t["frames"] for t in tags) / total for key in ("accuracy", "failures")}
