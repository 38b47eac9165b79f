"""Reliability of score and states: disturbed clips, tracked with all parts and with each part switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracker.config import TrackingConfig
from tracker.evaluation.robustness.perturb import DisturbedClip
from tracker.geometry import iou
from tracker.metrics.one_pass import run_one_pass
from tracker.metrics.success import success_curve
from tracker.settings import changed
from tracker.tracking.confidence import OVERLAP
from tracker.tracking.tracker import SiamTracker

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel
    from tracker.runtime.base import Engine

WITHIN = 15
"""Number of frames within which a reappeared target has to be found."""

PARTS: dict[str, dict[str, Any]] = {
    "all parts": {},
    "without states": {"states.enabled": False},
    "without search": {"redetection.enabled": False},
    "without template bank": {"template_memory.size": 0},
    "without margin test": {"redetection.margin": -99.0},
    "without likeness test": {"calibration.verification": (), "redetection.drop": 99.0},
    "without confirmation": {"redetection.frames": 1, "redetection.evidence": 0.0},
    "without slow reference": {"states.peak_fall": 0.1},
    "without distractor test": {"distractors.frames": 0},
    "without following while LOST": {"redetection.follow_frames": 0},
    "without online filter": {"online.weight": 0.0},
    "without small window": {"small_search.size": 0},
}
"""What is switched off in each row of the table."""


@dataclass(frozen=True)
class ClipRun:
    """One tracked clip.

    Attributes:
        name, kind: Of the clip.
        overlap: (N,) IoU of the box with the ground truth; NaN without.
        visible: (N,) whether a box was reported.
        score: (N,) scores.
        present, absent: (N,) of the clip.
        absences: (start, back) frames.
    """

    name: str
    kind: str
    overlap: NDArray[np.float64]
    visible: NDArray[np.bool_]
    score: NDArray[np.float64]
    present: NDArray[np.bool_]
    absent: NDArray[np.bool_]
    absences: list[tuple[int, int]]


@dataclass(frozen=True)
class Count:
    """A row of the table; None where nothing of the kind happened.

    Attributes:
        part, kind: What was switched off; which disturbance ("all" of them, or "none": undisturbed clips).
        frames: All frames but the first of each clip.
        absent_frames: Those without the target.
        false_tracks: Fraction of these in which a box was reported.
        absences: How often the target reappeared.
        reacquired: Fraction of these in which a box on the target (IoU >= 0.3) was reported within `WITHIN` frames.
        kept: Fraction of the frames with the target in which a box on it was reported.
        falsely_lost: Fraction of them in which no box was reported.
        auc: Mean over clips of the area under the success curve, frames with the target; the best guess counts while
            LOST.
        auc_reported: The same, but a frame without a reported box counts as no overlap.
    """

    part: str
    kind: str
    frames: int
    absent_frames: int
    false_tracks: float | None
    absences: int
    reacquired: float | None
    kept: float | None
    falsely_lost: float | None
    auc: float | None
    auc_reported: float | None


def track_clip(clip: DisturbedClip, model: LoadedModel, engine: Engine, config: TrackingConfig) -> ClipRun:
    """Tracks a clip from the ground truth of its first frame, without a time limit for the search so that results
    repeat."""
    tracker = SiamTracker(model, engine, changed(config, {"redetection.budget_ms": 0.0}))
    run = run_one_pass(tracker, clip.images(), clip.truth[0])
    overlap = np.where(clip.present, iou(run.boxes, clip.truth), np.nan)
    return ClipRun(clip.name, clip.kind, overlap, run.visible, run.scores, clip.present, clip.absent, clip.absences())


def count(runs: Sequence[ClipRun], part: str, kind: str) -> Count:
    """The metrics of some clips, with frames pooled (except the AUC, a mean over clips as in one-pass evaluation)."""
    absent = sum(int(r.absent[1:].sum()) for r in runs)
    reported = sum(int((r.absent & r.visible)[1:].sum()) for r in runs)
    present = sum(int(r.present[1:].sum()) for r in runs)
    with np.errstate(invalid="ignore"):
        on = [r.visible & (r.overlap >= OVERLAP) for r in runs]
    back = [bool(hit[end : end + WITHIN].any()) for r, hit in zip(runs, on, strict=True) for _, end in r.absences]
    seen = [r.overlap[1:][r.present[1:]] for r in runs]
    told = [np.where(r.visible, r.overlap, 0.0)[1:][r.present[1:]] for r in runs]
    return Count(
        part=part,
        kind=kind,
        frames=sum(len(r.visible) - 1 for r in runs),
        absent_frames=absent,
        false_tracks=reported / absent if absent else None,
        absences=len(back),
        reacquired=float(np.mean(back)) if back else None,
        kept=sum(int((hit & r.present)[1:].sum()) for r, hit in zip(runs, on, strict=True)) / present
        if present
        else None,
        falsely_lost=sum(int((r.present & ~r.visible)[1:].sum()) for r in runs) / present if present else None,
        auc=_auc(seen),
        auc_reported=_auc(told),
    )


def _auc(overlaps: Sequence[NDArray[np.float64]]) -> float | None:
    values = [float(np.mean(success_curve(o))) for o in overlaps if len(o)]
    return float(np.mean(values)) if values else None


def stress(
    clips: Callable[[], Iterable[DisturbedClip]],
    model: LoadedModel,
    engine: Engine,
    parts: Sequence[str],
    progress: Callable[[str, ClipRun], None] | None = None,
    config: TrackingConfig | None = None,
) -> list[Count]:
    """Tracks all clips with each part switched off.

    Args:
        clips: Returns the clips, again for each call (they are made on demand).
        model, engine: What tracks.
        parts: Keys of `PARTS`.
        progress: Called after each clip.
        config: Replaces the model's own configuration.

    Returns:
        For each part a row for each kind of disturbance, one for all, one for undisturbed clips.
    """
    base = config or model.config.tracking
    runs: dict[str, list[ClipRun]] = {part: [] for part in parts}
    for clip in clips():
        for part in parts:
            run = track_clip(clip, model, engine, changed(base, PARTS[part]))
            runs[part].append(run)
            if progress is not None:
                progress(part, run)
    rows = []
    for part, done in runs.items():
        kinds = list(dict.fromkeys(r.kind for r in done))
        rows += [count([r for r in done if r.kind == kind], part, kind) for kind in kinds]
        disturbed = [r for r in done if r.kind != "none"]
        if disturbed:
            rows.append(count(disturbed, part, "all"))
    return rows


def markdown(rows: Sequence[Count]) -> str:
    """Two tables: each part switched off, over all disturbances; and each kind of disturbance, with all parts on."""

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f} %"

    def area(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    plain = {row.part: row for row in rows if row.kind == "none"}
    lines = [
        "| parts | box reported while absent | back within 15 frames | on the target | no box though present | AUC, "
        "clips as they are | the same, LOST counts 0 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.kind == "all":
            own = plain.get(row.part)
            shares = " | ".join(percent(v) for v in (row.false_tracks, row.reacquired, row.kept, row.falsely_lost))
            lines.append(
                f"| {row.part} | {shares} | {area(own.auc if own else None)} | "
                f"{area(own.auc_reported if own else None)} |"
            )
    lines += [
        "",
        "| disturbance (all parts on) | frames without target | box reported while absent | times it came back | "
        "back within 15 frames | on the target | no box though present |",
        "|---|---|---|---|---|---|---|",
    ]
    first = next((row.part for row in rows), "")
    for row in rows:
        if row.part == first:
            lines.append(
                f"| {row.kind} | {row.absent_frames} | {percent(row.false_tracks)} | {row.absences} | "
                f"{percent(row.reacquired)} | {percent(row.kept)} | {percent(row.falsely_lost)} |"
            )
    return "\n".join(lines) + "\n"
