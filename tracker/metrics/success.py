"""Metrics of one-pass evaluation: overlap, success, precision, speed; each with the formula of its paper.

Where toolkits have a quirk, the default name holds the value that is comparable with published numbers, and a second
name, listed beside it in `METRICS`, holds the value without the quirk.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker import geometry
from tracker.metrics.results import METRICS as METRICS
from tracker.metrics.results import PRIMARY as PRIMARY
from tracker.metrics.results import Curve, SequenceMetrics, SequenceResult, TrackerMetrics

Floats = NDArray[np.float64]

OVERLAPS_OTB = np.linspace(0, 1, 21)
OVERLAPS_GOT10K = np.linspace(0, 1, 101)
PIXELS = np.arange(0, 51)
RELATIVE = np.arange(0, 51) / 100


def toolkit_iou(boxes: Floats, truth: Floats, bound: tuple[int, int] | None = None) -> Floats:
    """IoU to the last bit as in `got10k.utils.metrics.rect_iou`, without changing its inputs.

    With `bound`, that code moves a corner that lies left of or above the frame to 0 *without* making the box smaller:
    such a box is shifted, not clipped ([-50, 0, 100, 100] against [0, 0, 50, 100] gives 0.5 where the visible parts
    agree: 1).

    Args:
        boxes, truth: (N, 4) xywh.
        bound: (width, height) of the frame; GOT-10k's protocol uses it, OTB's doesn't.

    Returns:
        (N,) in [0, 1]; 0 where a box isn't finite.
    """
    a, b = np.array(boxes, dtype=np.float64), np.array(truth, dtype=np.float64)
    if bound is not None:
        for r in (a, b):
            for axis in (0, 1):
                r[:, axis] = np.clip(r[:, axis], 0, bound[axis])
                r[:, axis + 2] = np.clip(r[:, axis + 2], 0, bound[axis] - r[:, axis])
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inter = np.prod(np.maximum(high - low, 0), axis=-1)
    union = np.prod(a[:, 2:], axis=-1) + np.prod(b[:, 2:], axis=-1) - inter
    with np.errstate(invalid="ignore", divide="ignore"):
        ious = np.clip(inter / (union + np.finfo(float).eps), 0.0, 1.0)
    return np.where(np.isfinite(ious), ious, 0.0)


def exact_iou(boxes: Floats, truth: Floats, size: tuple[int, int] = (0, 0)) -> Floats:
    """IoU of the visible parts: both boxes clipped to the frame (not clipped where its size is unknown, (0, 0))."""
    if size[0] > 0:
        boxes, truth = geometry.clip_box(boxes, *size), geometry.clip_box(truth, *size)
    return geometry.iou(boxes, truth)


def centre_error(boxes: Floats, truth: Floats) -> Floats:
    """Distance of centres in pixels, centre = x + (w - 1) / 2 as in OTB's code; infinite where a box isn't finite."""
    delta = (boxes[:, :2] + (boxes[:, 2:] - 1) / 2) - (truth[:, :2] + (truth[:, 2:] - 1) / 2)
    error = np.sqrt(np.sum(np.power(delta, 2), axis=-1))
    return np.where(np.isfinite(error), error, np.inf)


def normalised_error(boxes: Floats, truth: Floats) -> Floats:
    """Centre error with x divided by the true width and y by the true height (TrackingNet, Mueller et al., ECCV 2018,
    eq. 1)."""
    delta = (boxes[:, :2] + boxes[:, 2:] / 2) - (truth[:, :2] + truth[:, 2:] / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.linalg.norm(delta / truth[:, 2:], axis=-1)
    return np.where(np.isfinite(error), error, np.inf)


def success_curve(ious: Floats, thresholds: Floats = OVERLAPS_OTB) -> Floats:
    """Share of frames with IoU > threshold (strictly: a lost frame never counts; at threshold 1 nothing does)."""
    return (
        np.mean(np.greater(ious[:, None], thresholds[None, :]), axis=0)
        if len(ious)
        else np.full(len(thresholds), np.nan)
    )


def distance_curve(errors: Floats, thresholds: Floats) -> Floats:
    """Share of frames with error <= threshold."""
    return (
        np.mean(np.less_equal(errors[:, None], thresholds[None, :]), axis=0)
        if len(errors)
        else np.full(len(thresholds), np.nan)
    )


@dataclass(frozen=True)
class FrameMeasures:
    """(N,) measures of every frame of one sequence; see the functions of the same names.

    `counted`: the frames that count in the protocol.
    """

    iou: Floats
    iou_exact: Floats
    error: Floats
    norm_error: Floats
    counted: NDArray[np.bool_]


def frame_measures(result: SequenceResult, rules: str) -> FrameMeasures:
    """Computes the measures of every frame under a data set's rules.

    The first box is replaced by the ground truth, as in OTB's toolkit.
    """
    boxes = result.boxes.copy()
    if np.isfinite(result.truth[0]).all():
        boxes[0] = result.truth[0]
    bound = result.size if rules == "got10k" and result.size[0] > 0 else None
    return FrameMeasures(
        iou=toolkit_iou(boxes, result.truth, bound),
        iou_exact=exact_iou(boxes, result.truth, result.size),
        error=centre_error(boxes, result.truth),
        norm_error=normalised_error(boxes, result.truth),
        counted=result.valid,
    )


def rates(times: Floats) -> Floats:
    """1 / seconds of the frames whose time is known and positive."""
    good = times[np.isfinite(times) & (times > 0)]
    return 1.0 / good


def speed(results: Sequence[SequenceResult], pooled: bool) -> dict[str, float]:
    """fps (mean of rates), fps_total (updates over seconds) and decode_ms; NaN where no times are known."""
    per_sequence = [rates(r.times) for r in results]
    per_sequence = [r for r in per_sequence if len(r)]
    updates = np.concatenate([r.times[1:][np.isfinite(r.times[1:])] for r in results]) if results else np.zeros(0)
    decode = np.concatenate([r.decode_times[np.isfinite(r.decode_times)] for r in results]) if results else np.zeros(0)
    if not per_sequence:
        fps = math.nan
    elif pooled:
        fps = float(np.mean(np.concatenate(per_sequence)))
    else:
        fps = float(np.mean([np.mean(r) for r in per_sequence]))
    return {
        "fps": fps,
        "fps_total": float(len(updates) / updates.sum()) if updates.sum() > 0 else math.nan,
        "decode_ms": float(decode.mean() * 1000) if len(decode) else math.nan,
    }


def _overlap_numbers(ious: Floats) -> dict[str, float]:
    if not len(ious):
        return {"ao": math.nan, "sr50": math.nan, "sr75": math.nan}
    return {"ao": float(np.mean(ious)), "sr50": float(np.mean(ious > 0.5)), "sr75": float(np.mean(ious > 0.75))}


def _mean(values: Sequence[float]) -> float:
    good = [v for v in values if not math.isnan(v)]
    return float(np.mean(good)) if good else math.nan


def _balanced(values: Mapping[str, list[float]]) -> float:
    return _mean([_mean(v) for v in values.values()])


def got10k_metrics(tracker: str, results: Sequence[SequenceResult], rules: str = "got10k") -> TrackerMetrics:
    """AO and SR of GOT-10k (Huang, Zhao, Huang, TPAMI 2021, section 4).

    AO = mean of IoU over frames 2..N in which the target is visible; SR_t = share of them with IoU > t. The official
    toolkit pools the frames of all sequences ("ao"); the paper's mAO and mSR average sequences within a class, then
    classes ("mao").
    """
    pool: list[Floats] = []
    exact: list[Floats] = []
    rows: list[SequenceMetrics] = []
    classes: dict[str, dict[str, list[float]]] = {k: defaultdict(list) for k in ("ao", "sr50", "sr75")}
    for result in results:
        m = frame_measures(result, rules)
        mask = m.counted & np.isfinite(result.truth).all(axis=1)
        pool.append(m.iou[mask])
        exact.append(m.iou_exact[mask])
        values = _overlap_numbers(m.iou[mask])
        rows.append(
            SequenceMetrics(result.sequence, int(mask.sum()), {**values, **speed([result], True)}, result.error)
        )
        for key, table in classes.items():
            table[result.object_class or result.sequence].append(values[key])
    ious = np.concatenate(pool) if pool else np.zeros(0)
    overall = _overlap_numbers(ious)
    if any(r.object_class for r in results):
        overall |= {f"m{k}": _balanced(v) for k, v in classes.items()}
    overall |= {"ao_exact": _overlap_numbers(np.concatenate(exact))["ao"] if exact else math.nan}
    overall |= {"ao_sequences": _mean([r.values["ao"] for r in rows]), **speed(results, True)}
    curve = Curve(tuple(OVERLAPS_GOT10K), tuple(success_curve(ious, OVERLAPS_GOT10K)))
    return TrackerMetrics(tracker, overall, {"success": curve}, tuple(rows), attribute_metrics(results, rules))


def otb_metrics(tracker: str, results: Sequence[SequenceResult], rules: str = "otb") -> TrackerMetrics:
    """Success and precision of OTB (Wu, Lim, Yang, TPAMI 2015, section 4) and the normalised precision of TrackingNet
    and LaSOT.

    success(t) = share of frames with IoU > t; AUC = mean of success at t = 0, 0.05, ..., 1; precision(d) = share of
    frames with centre error <= d px, quoted at 20. Curves are made per sequence and averaged over sequences.
    """
    curves: dict[str, list[Floats]] = {"success": [], "precision": [], "norm_precision": []}
    rows: list[SequenceMetrics] = []
    for result in results:
        m = frame_measures(result, rules)
        known = m.counted & np.isfinite(result.truth).all(axis=1)
        tracked = known.copy()
        tracked[0] = False
        own = {
            "success": success_curve(m.iou[known]),
            "precision": distance_curve(m.error[known], PIXELS.astype(float)),
            "norm_precision": distance_curve(m.norm_error[known], RELATIVE),
        }
        for name, curve in own.items():
            curves[name].append(curve)
        values = {
            "auc": float(np.mean(own["success"])),
            "precision20": float(own["precision"][20]),
            "norm_precision20": float(own["norm_precision"][20]),
            "norm_precision_auc": float(np.mean(own["norm_precision"])),
            "success50": float(own["success"][10]),
            "ao": _overlap_numbers(m.iou[tracked])["ao"],
            "auc_tracked": float(np.mean(success_curve(m.iou[tracked]))),
            "auc_visible": float(np.mean(success_curve(np.where(result.lost, 0.0, m.iou)[known]))),
            "auc_all_frames": float(np.mean(own["success"]) * known.sum() / len(result)),
        }
        rows.append(
            SequenceMetrics(result.sequence, int(known.sum()), {**values, **speed([result], False)}, result.error)
        )
    names = list(rows[0].values) if rows else []
    overall = {n: _mean([r.values[n] for r in rows]) for n in names} | speed(results, False)
    grids = {"success": OVERLAPS_OTB, "precision": PIXELS.astype(float), "norm_precision": RELATIVE}
    means = {
        k: Curve(tuple(grids[k]), tuple(np.nanmean(np.stack(v), axis=0)))
        for k, v in curves.items()
        if v and not np.isnan(v).all()
    }
    if "success" in means:  # from the mean curve, in the toolkit's order of summation: identical to the last bit
        overall |= {"auc": float(np.mean(means["success"].values)), "success50": float(means["success"].values[10])}
        overall |= {"precision20": float(means["precision"].values[20])}
    return TrackerMetrics(tracker, overall, means, tuple(rows), attribute_metrics(results, rules))


def attribute_metrics(results: Sequence[SequenceResult], rules: str) -> dict[str, dict[str, float]]:
    """The headline metrics over the frames of each attribute, pooled over sequences (without frame 1 and uncounted
    frames)."""
    pools: dict[str, list[tuple[Floats, Floats]]] = defaultdict(list)
    for result in results:
        m = frame_measures(result, rules)
        base = m.counted & np.isfinite(result.truth).all(axis=1)
        base[0] = False
        for name, mask in {"all": base, **result.attributes}.items():
            frames = base & mask
            pools[name].append((m.iou[frames], m.error[frames]))
    table: dict[str, dict[str, float]] = {}
    for name, parts in pools.items():
        ious, errors = (np.concatenate(p) for p in zip(*parts, strict=True))
        if len(ious):
            table[name] = {"frames": float(len(ious)), **_overlap_numbers(ious)}
            table[name] |= {"auc": float(np.mean(success_curve(ious))), "precision20": float(np.mean(errors <= 20))}
    return table
