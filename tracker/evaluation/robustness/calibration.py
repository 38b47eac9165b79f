"""Fits the score of a model on disturbed clips: which features, with which weights, separate boxes on the target from
others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.config import TrackingConfig
from tracker.evaluation.robustness.perturb import DisturbedClip
from tracker.files import atomic_path
from tracker.geometry import cxcywh_to_xywh, iou
from tracker.settings import changed, flat
from tracker.tracking import moves
from tracker.tracking.confidence import FEATURES, OVERLAP, evidence, fit, hinges, probability, reliability
from tracker.tracking.lifecycle import Lifecycle
from tracker.tracking.motion import CameraMotion
from tracker.tracking.observation import Observation
from tracker.tracking.observer import Observer
from tracker.tracking.redetection import likeness, search
from tracker.tracking.redetection_search import Redetection
from tracker.tracking.scene import Scene

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel
    from tracker.runtime.base import Engine

KEEPING = ("states", "redetection", "template_memory")
MISSES = 3
"""Number of consecutive frames off the target after which the sampler resets to the ground truth."""
RIDGE, PER_RIDGE = 30.0, 300
"""Strength of the L2 term of the score's fit, in samples: `RIDGE`, or one in every `PER_RIDGE` if that is less.
The frames of a clip are much alike, so what a few clips show is weighted down (docs/experiments.md, 138)."""
LIKENESS_RIDGE = 10.0
"""The same for the verification: with less, a likeness hardly counts beside a good score, though look-alikes, of which
the samples have few, differ in nothing else."""
SEARCH_EVERY = 5
"""In every n-th frame windows beyond the last position are searched too, and likenesses computed."""


@dataclass(frozen=True)
class CalibrationSamples:
    """Observations with ground truth.

    Attributes:
        features: (N, F).
        right: (N,) whether the box was on the target.
        absent: (N,) whether the target was absent.
        searched: (N,) whether the position came from a search beyond the last position.
        likeness: (N,) cosine with the first view, NaN where it was not computed.
        source: (N,) number of the undisturbed clip: all variants of a clip are left out together.
    """

    features: NDArray[np.float64]
    right: NDArray[np.bool_]
    absent: NDArray[np.bool_]
    searched: NDArray[np.bool_]
    likeness: NDArray[np.float64]
    source: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.right)


def sample(
    clips: Iterable[DisturbedClip], model: LoadedModel, engine: Engine, progress: Callable[[str], None] | None = None
) -> CalibrationSamples:
    """Runs over clips and records, in every frame, the observation and whether it was right.

    The target is observed as in tracking. While it is absent the position is kept, as for a LOST target, and the frame
    is searched. When it reappears, or was missed for `MISSES` frames, the position is set from the ground truth.
    """
    config = changed(
        model.config.tracking,
        {"states.enabled": False, "redetection.margin": -99.0, "redetection.budget_ms": 0.0, "template_memory.size": 0},
    )
    lifecycle = Lifecycle(Observer(model, engine, config))
    rows: list[tuple[NDArray[np.float64], bool, bool, bool, float, int]] = []
    numbers: dict[str, int] = {}
    for clip in clips:
        rows += _sample_clip(lifecycle, clip, numbers.setdefault(clip.name, len(numbers)))
        if progress is not None:
            progress(f"{clip.name} ({clip.kind})")
    columns = list(zip(*rows, strict=True))
    return CalibrationSamples(
        np.stack(columns[0]),
        np.array(columns[1], np.bool_),
        np.array(columns[2], np.bool_),
        np.array(columns[3], np.bool_),
        np.array(columns[4], np.float64),
        np.array(columns[5], np.int64),
    )


def _sample_clip(
    lifecycle: Lifecycle, clip: DisturbedClip, number: int
) -> list[tuple[NDArray[np.float64], bool, bool, bool, float, int]]:
    rows: list[tuple[NDArray[np.float64], bool, bool, bool, float, int]] = []
    observer = lifecycle.observer
    target, misses, was_absent, camera = None, 0, False, CameraMotion()
    for k, frame in enumerate(clip.images()):
        truth, present, absent = clip.truth[k], bool(clip.present[k]), bool(clip.absent[k])
        if target is None:
            target = lifecycle.start(frame, truth)
            lifecycle.predict([], frame, camera)
            continue
        if present and (was_absent or misses >= MISSES):
            target.centre, target.size, misses = truth[:2] + truth[2:] / 2, np.maximum(truth[2:], 1.0), 0
            target.motion.forget()
        was_absent = absent or (was_absent and not present)
        lifecycle.predict([target], frame, camera)
        scene, near = Scene(observer, frame), observer.observe([target], frame).observations[0]
        if not present and not absent:
            continue

        seen = [(near, False)]
        closely = k % SEARCH_EVERY == 0
        if closely:
            place = search(scene, target, Redetection(), near)
            if place is not None:
                seen.append((scene.observe(target, place), True))
        for observation, searched in seen:
            right = present and _overlap(observation, truth) >= OVERLAP
            alike = likeness(scene, target, observation) if closely else np.nan
            rows.append((observation.confidence_features, right, absent, searched, alike, number))
            if not searched:
                misses = 0 if right or absent else misses + 1
        if present:
            moves.follow([target], [near], observer.config, (frame.shape[1], frame.shape[0]))
            if misses == 0:  # as in tracking: from reliable positions
                lifecycle.learn(target, near, frame)
                lifecycle.finish()
                target.update_reference_logit(near.logit, observer.config.states.peak_fall, near.online)
    return rows


def _overlap(observation: Observation, truth: NDArray[np.float64]) -> float:
    return float(iou(cxcywh_to_xywh(np.concatenate(observation.place)), truth))


@dataclass(frozen=True)
class ScoreCalibration:
    """The result of a calibration.

    Attributes:
        values: Settings of `TrackingConfig` by dotted name: the weights of the score and dependent settings.
        error: Expected calibration error over clips not used in the fit (leave one in five out).
        curve: (mean score, fraction right, count) for each bin, for the same clips.
        auc: Probability that a right box scores higher than a wrong one, for the same clips.
        samples, right: Numbers of samples.
        scores: (N,) scores of clips not used in the fit.
    """

    values: dict[str, object]
    error: float
    curve: list[tuple[float, float, int]]
    auc: float
    samples: int
    right: int
    scores: NDArray[np.float64]


def calibrate(samples: CalibrationSamples, folds: int = 5) -> ScoreCalibration:
    """Fits score and verification, and measures the score on clips not used in the fit."""
    scores = np.zeros(len(samples))
    names = np.unique(samples.source)
    for fold in range(folds):
        held = np.isin(samples.source, names[fold::folds])
        if held.any() and not held.all():
            scores[held] = probability(samples.features[held], *fit_score(samples, ~held))
    curve, error = reliability(scores, samples.right)
    weights, knots = fit_score(samples)
    values: dict[str, object] = {**thresholds(), "calibration.confidence": weights, "calibration.knots": knots}
    values["calibration.confidence_plain"] = fit_plain(samples)
    close = np.isfinite(samples.likeness)
    if close.any():
        seen = evidence(scores[close], samples.likeness[close], samples.searched[close])
        values["calibration.verification"] = fit(seen, samples.right[close], LIKENESS_RIDGE)
    return ScoreCalibration(
        values, error, curve, rank_auc(scores, samples.right), len(samples), int(samples.right.sum()), scores
    )


def fit_score(
    samples: CalibrationSamples, kept: NDArray[np.bool_] | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Weights and knots of the score (`probability`): each feature's knot is its median, fixed here and stored with
    the weights.

    Args:
        samples: Observations.
        kept: (N,) which of them to fit on; None: all.
    """
    chosen = slice(None) if kept is None else kept
    features, right = samples.features[chosen], samples.right[chosen]
    knots = tuple(float(v) for v in np.median(features, axis=0))
    ridge = min(RIDGE, len(right) / PER_RIDGE)
    return fit(np.concatenate([features, hinges(features, knots)], axis=1), right, ridge), knots


def fit_plain(samples: CalibrationSamples) -> tuple[float, ...]:
    """Weights of the score for targets without anything learnt online: only features of the response are used."""
    kept = [k for k, name in enumerate(FEATURES) if name not in ("online", "online_margin", "drop", "online_drop")]
    bias, *some = fit(samples.features[:, kept], samples.right)
    weights = np.zeros(len(FEATURES))
    weights[kept] = some
    return (bias, *(float(w) for w in weights))


def thresholds() -> dict[str, object]:
    """The settings of states and re-detection at this version's defaults, since they belong to a calibration."""
    values = {name: value for name, value in flat(TrackingConfig()).items() if name.split(".")[0] in KEEPING}
    return {**values, "calibration.verification": ()}


def rank_auc(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Probability that a right sample scores higher than a wrong one (area under the ROC curve); NaN if one kind is
    missing."""
    good, bad = int(right.sum()), int((~right).sum())
    if not good or not bad:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((rank[right].sum() - good * (good + 1) / 2) / (good * bad))


def plot_reliability(curve: list[tuple[float, float, int]], error: float, path: Path, title: str) -> None:
    """Draws the reliability diagram: score against fraction of right boxes, and the distribution of scores."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5.6), dpi=120, layout="constrained")
    top, low = figure.subplots(2, 1, height_ratios=[3.2, 1], sharex=True)
    scores, shares, counts = (np.array(column) for column in zip(*curve, strict=True))
    top.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="perfect")
    top.plot(scores, shares, marker="o", color="#1f77b4", label=f"measured (calibration error {error:.3f})")
    top.set_ylabel(f"share of boxes with IoU >= {OVERLAP:g}")
    top.set_title(title)
    top.legend(loc="upper left", frameon=False)
    low.bar(scores, counts / counts.sum(), width=0.07, color="#1f77b4")
    low.set_ylabel("share of frames")
    low.set_xlabel("score")
    for axis in (top, low):
        axis.set_xlim(0, 1)
        axis.spines[["top", "right"]].set_visible(False)
    top.set_ylim(0, 1)
    with atomic_path(path) as part:
        figure.savefig(part)
