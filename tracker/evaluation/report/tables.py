"""The numbers of a report: columns, and bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.metrics.bootstrap import LEVEL, SAMPLES, Interval, mean_interval, weights_interval
from tracker.metrics.results import Evaluation, SequenceResult, TrackerMetrics

COLUMNS = {
    "otb": ("auc", "precision20", "norm_precision20", "norm_precision_auc", "ao", "success50", "fps"),
    "got10k": ("ao", "sr50", "sr75", "mao", "msr50", "msr75", "fps"),
    "vot": ("eao", "accuracy", "robustness", "failures", "fps"),
}
HEADINGS = {
    "auc": "AUC",
    "precision20": "P 20 px",
    "norm_precision20": "Pₙ 0.2",
    "norm_precision_auc": "Pₙ AUC",
    "ao": "AO",
    "success50": "SR 0.5",
    "sr50": "SR 0.5",
    "sr75": "SR 0.75",
    "mao": "mAO",
    "msr50": "mSR 0.5",
    "msr75": "mSR 0.75",
    "eao": "EAO",
    "accuracy": "Accuracy",
    "robustness": "Failures / 100",
    "failures": "Failures",
    "fps": "Frames / s",
    "fps_total": "Frames / s (total)",
    "decode_ms": "Decoding, ms",
}
LOWER_IS_BETTER = {"robustness", "failures", "decode_ms"}


@dataclass(frozen=True)
class HeadlineRow:
    """A tracker's line in the headline table.

    Attributes:
        tracker: Name.
        values: Metric -> value with its interval.
        behind: The headline metric minus the best tracker's, paired by sequence; None for the best, and if it can't be
            computed.
    """

    tracker: str
    values: dict[str, Interval]
    behind: Interval | None = None


@dataclass(frozen=True)
class Headline:
    """The headline table.

    Attributes:
        columns: Metric names in order; trackers are sorted by the first.
        rows: Best first.
        level, samples, seed: Parameters of the bootstrap.
    """

    columns: tuple[str, ...]
    rows: tuple[HeadlineRow, ...] = field(repr=False)
    level: float = LEVEL
    samples: int = SAMPLES
    seed: int = 0

    @property
    def has_intervals(self) -> bool:
        """Whether any number has an interval; none has if there are too few sequences."""
        return any(value.known for row in self.rows for value in row.values.values())


def kind(evaluation: Evaluation) -> str:
    """Which family of metrics an evaluation has: "vot", "got10k" or "otb"."""
    return "vot" if evaluation.protocol == "supervised" else "got10k" if evaluation.primary[0] == "ao" else "otb"


def counts(evaluation: Evaluation) -> tuple[int, int]:
    """Number of sequences and of counted frames (the maximum over trackers)."""
    sequences = max((len(t.sequences) for t in evaluation.trackers), default=0)
    return sequences, max((sum(s.frames for s in t.sequences) for t in evaluation.trackers), default=0)


def known(value: float | None) -> bool:
    """Whether a number exists."""
    return value is not None and math.isfinite(value)


def metric_text(name: str, value: float | None) -> str:
    """A value for display, rounded to its significant digits; "–" if there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if name in ("fps", "fps_total"):
        return "> 10 000" if value > 10_000 else f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    return (
        f"{value:.2f}"
        if name in ("robustness", "decode_ms")
        else f"{value:.0f}"
        if name == "failures"
        else f"{value:.3f}"
    )


def headline_columns(evaluation: Evaluation) -> tuple[str, ...]:
    """The metrics of the headline table: the data set's own first, then those of its family, as far as they are
    known."""
    wanted = dict.fromkeys((*evaluation.primary, *COLUMNS[kind(evaluation)]))
    return tuple(c for c in wanted if any(known(t.overall.get(c)) for t in evaluation.trackers))


def headline(evaluation: Evaluation, *, level: float = LEVEL, samples: int = SAMPLES, seed: int = 0) -> Headline:
    """The headline table with intervals over sequences.

    An interval is given only where resampling is known to reproduce the number itself: a mean over sequences, a mean
    over pooled frames, or a mean over classes. VOT's EAO is none of these and has no interval.

    Args:
        evaluation: Tables, and where present the results behind them.
        level, samples, seed: Of the bootstrap.
    """
    columns = headline_columns(evaluation)
    options: dict[str, Any] = {"level": level, "samples": samples, "seed": seed}
    rows = []
    best = evaluation.trackers[0]
    for tracker in evaluation.trackers:
        values = {c: interval_of(evaluation, tracker, c, **options) for c in columns}
        behind = None if tracker is best else _behind(tracker, best, evaluation.primary[0], **options)
        rows.append(HeadlineRow(tracker.tracker, values, behind))
    return Headline(columns, tuple(rows), level, samples, seed)


def interval_of(
    evaluation: Evaluation, tracker: TrackerMetrics, name: str, *, level: float, samples: int, seed: int
) -> Interval:
    """One number with its interval, or without if none can be given (see `headline`)."""
    value = tracker.overall.get(name, math.nan)
    per_sequence = np.asarray([s.values.get(name, math.nan) for s in tracker.sequences], dtype=np.float64)
    frames = np.asarray([s.frames for s in tracker.sequences], dtype=np.float64)
    options: dict[str, Any] = {"level": level, "samples": samples, "seed": seed}
    for make in _estimators(evaluation, tracker, name, per_sequence, frames):
        found = make(**options)
        if math.isclose(found.value, value, rel_tol=1e-9, abs_tol=1e-9):
            return Interval(value, found.low, found.high, found.count)
    return Interval(value, math.nan, math.nan, len(tracker.sequences))


def _estimators(
    evaluation: Evaluation, tracker: TrackerMetrics, name: str, values: NDArray[np.float64], frames: NDArray[np.float64]
) -> list[Callable[..., Interval]]:
    makers: list[Callable[..., Interval]] = [
        lambda **options: mean_interval(values, **options),
        lambda **options: mean_interval(values, frames, **options),
    ]
    results = evaluation.results_of(tracker.tracker)
    if any(s.sequence not in results for s in tracker.sequences):
        return makers
    ordered = [results[s.sequence] for s in tracker.sequences]
    if name == "accuracy":
        makers.append(lambda **options: mean_interval(values, _tracked_frames(ordered), **options))
    if name in ("mao", "msr50", "msr75"):
        own = np.asarray([s.values.get(name[1:], math.nan) for s in tracker.sequences], dtype=np.float64)
        classes = np.unique([r.object_class or r.sequence for r in ordered], return_inverse=True)[1]
        makers.append(lambda **options: _class_interval(own, classes, **options))
    return makers


def _tracked_frames(results: Sequence[SequenceResult]) -> NDArray[np.float64]:
    from tracker.metrics.vot import BURN_IN, overlaps

    return np.asarray(
        [np.isfinite(overlaps(r, BURN_IN)).sum() if r.codes is not None else 0 for r in results], dtype=np.float64
    )


def _class_interval(values: NDArray[np.float64], classes: NDArray[np.intp], **options: Any) -> Interval:
    """Mean over classes of the mean over the sequences of a class."""
    good = np.isfinite(values)
    one_hot = (classes[good, None] == np.unique(classes[good])[None, :]).astype(np.float64)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = weights @ one_hot
        with np.errstate(invalid="ignore"):
            means = (weights * values[good]) @ one_hot / counts
        return np.asarray(np.nanmean(np.where(counts > 0, means, np.nan), axis=1))

    return weights_interval(statistic, int(good.sum()), **options)


def _behind(tracker: TrackerMetrics, best: TrackerMetrics, name: str, **options: Any) -> Interval | None:
    """The paired difference, with the same weights (none, or frames) as the number itself; None if it has neither."""
    theirs = {s.sequence: s for s in best.sequences}
    pairs = [(s, theirs[s.sequence]) for s in tracker.sequences if s.sequence in theirs]
    gaps = np.asarray([a.values.get(name, math.nan) - b.values.get(name, math.nan) for a, b in pairs], dtype=np.float64)
    frames = np.asarray([a.frames for a, _ in pairs], dtype=np.float64)
    wanted = tracker.overall.get(name, math.nan) - best.overall.get(name, math.nan)
    for weights in (None, frames):
        found = mean_interval(gaps, weights, **options)
        if math.isclose(found.value, wanted, rel_tol=1e-6, abs_tol=1e-9):
            return found
    return None


def attribute_metric(evaluation: Evaluation) -> str:
    """The metric shown in attribute bars."""
    return {"vot": "accuracy", "got10k": "ao", "otb": "auc"}[kind(evaluation)]


def attribute_names(evaluation: Evaluation) -> list[str]:
    """Attributes in the data set's order, "all" first; empty if only "all" exists."""
    names = list(dict.fromkeys(a for t in evaluation.trackers for a in t.attributes))
    return [] if set(names) <= {"all"} else sorted(names, key=lambda a: a != "all")
