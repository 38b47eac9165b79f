"""Score and states on clips that they were not fitted on: two halves by source, each evaluated with the fit of the
other.

A score looks better on the clips it was fitted on. So the clips are divided by their source (clips of one video stay
together), the score is fitted on one half, and the other half is tracked with it: undisturbed, with states on and off,
and with disturbances. Every clip is evaluated once, with a fit that never used its source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracker.config import TrackingConfig
from tracker.datasets.base import SequenceData
from tracker.errors import ConfigError
from tracker.evaluation.robustness.calibration import CalibrationSamples, calibrate, sample
from tracker.evaluation.robustness.footage import read_footage
from tracker.evaluation.robustness.perturb import DisturbedClip, disturb
from tracker.evaluation.robustness.stress import WITHIN, ClipRun, track_clip
from tracker.files import write_atomic
from tracker.metrics.success import success_curve
from tracker.settings import changed
from tracker.tracking.confidence import OVERLAP

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel
    from tracker.runtime.base import Engine

FIT_KINDS = ("none", "occlusion", "cut", "leave", "vanish")
FIT_FRAMES = 60
FOLLOWED = 0.5
"""Least IoU of a well-tracked frame: calling it LOST is a false loss."""


@dataclass(frozen=True)
class Member:
    """A clip, its row in the table, and its source: clips of one source are never in fit and test together."""

    label: str
    sequence: SequenceData
    source: str

    @property
    def name(self) -> str:
        return f"{self.label}/{self.sequence.name}"


@dataclass(frozen=True)
class Judged:
    """One clip, evaluated with the fit of the other half.

    Attributes:
        label, name: Of the clip.
        half: 0 or 1, the half that it is in.
        auc_on: Success AUC with states, counting the best guess while LOST; without frame 1.
        auc_visible: The same, but a frame without a reported box counts as no overlap.
        auc_off: Without states.
        followed, falsely_lost: Frames with IoU >= `FOLLOWED` with states; those of them that are called LOST.
        absent, absent_reported: Frames of the disturbed clips without the target; those with a reported box.
        absences, found: How often the target reappeared; how often it was found within `WITHIN` frames.
    """

    label: str
    name: str
    half: int
    auc_on: float
    auc_visible: float
    auc_off: float
    followed: int
    falsely_lost: int
    absent: int
    absent_reported: int
    absences: int
    found: int


def halves(members: Sequence[Member]) -> list[int]:
    """For each clip its half: sources in the order of label and name alternate."""
    order: dict[str, int] = {}
    for member in sorted(members, key=lambda m: (m.label, m.source)):
        order.setdefault(member.source, len(order) % 2)
    sides = [order[m.source] for m in members]
    if len(set(sides)) < 2:
        raise ConfigError("All clips are of one source; two are needed, one to fit on and one to judge on.")
    return sides


class Store:
    """Finished parts of a run, so that an interrupted one can continue: a file for each, named by a hash of its key."""

    def __init__(self, folder: Path | None, key: dict[str, Any]) -> None:
        self.folder, self.key = folder, key
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, part: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stored part, or the result of `make`, which is then stored."""
        if self.folder is None:
            return make()
        text = json.dumps({**self.key, **part}, sort_keys=True, default=str)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["key"] == text:
                return dict(found["value"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # missing or damaged: make it again
        value = make()
        write_atomic(path, json.dumps({"key": text, "value": value}))
        return value


def cross_validate(
    members: Sequence[Member],
    model: LoadedModel,
    engine: Engine,
    *,
    kinds: Sequence[str],
    frames: int | None = 160,
    seed: int = 0,
    store: Store | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Judged]:
    """Fits on each half and evaluates on the other.

    Args:
        members: The clips.
        model, engine: The tracker; the model's own score and thresholds are not used.
        kinds: Disturbances of the evaluated clips, in addition to the undisturbed clips.
        frames: Number of first frames of disturbed clips; None uses all. Undisturbed clips are used whole.
        seed: Seed of the disturbances.
        store: Stores finished parts.
        progress: Called with a line after each part.

    Raises:
        ConfigError: All clips have the same source.
    """
    store = store or Store(None, {})
    tell = progress or (lambda _: None)
    sides = halves(members)
    content = [_content(m.sequence) for m in members]
    others = [members[(k + 1) % len(members)].sequence for k in range(len(members))]

    def fitted(k: int) -> dict[str, Any]:
        clips = _clips(members[k].sequence, others[k], FIT_KINDS, FIT_FRAMES, seed)
        return _packed(sample(clips, model, engine))

    samples = []
    for k, member in enumerate(members):
        part = {"part": "samples", "clip": content[k], "other": content[(k + 1) % len(members)], "seed": seed}
        samples.append(store.get(part, lambda k=k: fitted(k)))  # type: ignore[misc]
        tell(f"{member.name}: sampled")
    configs = [
        changed(model.config.tracking, calibrate(_joined(samples, members, sides, 1 - side)).values) for side in (0, 1)
    ]
    judged = []
    for k, member in enumerate(members):
        config = configs[sides[k]]

        def judge(k: int = k, config: TrackingConfig = config) -> dict[str, Any]:
            footage = read_footage(members[k].sequence)
            plain = disturb(footage, footage, "none", seed)
            assert plain is not None
            on = track_clip(plain, model, engine, config)
            off = track_clip(plain, model, engine, changed(config, {"states.enabled": False}))
            del footage, plain
            clips = _clips(members[k].sequence, others[k], kinds, frames, seed)
            return asdict(
                judge_clip(members[k], sides[k], on, off, (track_clip(c, model, engine, config) for c in clips))
            )

        part = {
            "part": "judged",
            "clip": content[k],
            "other": content[(k + 1) % len(members)],
            "config": asdict(config),
            "kinds": list(kinds),
            "frames": frames,
            "seed": seed,
        }
        judged.append(Judged(**{**store.get(part, judge), "label": member.label, "name": member.sequence.name}))
        row = judged[-1]
        tell(f"{member.name}: AUC {row.auc_on:.3f} with states, {row.auc_off:.3f} without")
    return judged


def judge_clip(member: Member, half: int, on: ClipRun, off: ClipRun, disturbed: Iterable[ClipRun]) -> Judged:
    """The metrics of one clip from its runs."""
    seen = on.present.copy()
    seen[0] = False
    followed = seen & (on.overlap >= FOLLOWED)
    absent = reported = absences = found = 0
    for run in disturbed:
        absent += int(run.absent[1:].sum())
        reported += int((run.absent & run.visible)[1:].sum())
        hit = run.visible & (np.nan_to_num(run.overlap, nan=-1.0) >= OVERLAP)
        absences += len(run.absences)
        found += sum(bool(hit[back : back + WITHIN].any()) for _, back in run.absences)
    return Judged(
        label=member.label,
        name=member.sequence.name,
        half=half,
        auc_on=_auc(on.overlap[seen]),
        auc_visible=_auc(np.where(on.visible, on.overlap, 0.0)[seen]),
        auc_off=_auc(off.overlap[seen]),
        followed=int(followed.sum()),
        falsely_lost=int((followed & ~on.visible).sum()),
        absent=absent,
        absent_reported=reported,
        absences=absences,
        found=found,
    )


def _auc(overlap: NDArray[np.float64]) -> float:
    return float(np.mean(success_curve(overlap))) if len(overlap) else float("nan")


def _clips(
    sequence: SequenceData, other: SequenceData, kinds: Sequence[str], frames: int | None, seed: int
) -> Iterator[DisturbedClip]:
    here, there = read_footage(sequence, frames), read_footage(other, frames)
    for kind in kinds:
        clip = disturb(here, there, kind, seed)
        if clip is not None:
            yield clip


def _content(sequence: SequenceData) -> str:
    """What the result of a clip depends on: its name, ground truth and number of frames."""
    truth = np.ascontiguousarray(np.nan_to_num(sequence.truth, nan=-1.0), dtype=np.float64)
    return f"{sequence.name}:{len(sequence)}:{hashlib.sha256(truth.tobytes()).hexdigest()[:16]}"


def _packed(samples: CalibrationSamples) -> dict[str, Any]:
    return {name: getattr(samples, name).tolist() for name in ("features", "right", "absent", "searched", "likeness")}


def _joined(
    parts: Sequence[dict[str, Any]], members: Sequence[Member], sides: Sequence[int], side: int
) -> CalibrationSamples:
    """The samples of one half combined; a clip's source is its number."""
    numbers = {s: n for n, s in enumerate(dict.fromkeys(m.source for m in members))}
    mine = [(p, numbers[m.source]) for p, m, s in zip(parts, members, sides, strict=True) if s == side]
    return CalibrationSamples(
        np.concatenate([np.array(p["features"], np.float64) for p, _ in mine]),
        np.concatenate([np.array(p["right"], np.bool_) for p, _ in mine]),
        np.concatenate([np.array(p["absent"], np.bool_) for p, _ in mine]),
        np.concatenate([np.array(p["searched"], np.bool_) for p, _ in mine]),
        np.concatenate([np.array(p["likeness"], np.float64) for p, _ in mine]),
        np.concatenate([np.full(len(p["right"]), n, np.int64) for p, n in mine]),
    )
