"""The table of a cross-validation: means over clips, fractions of frames, bootstrap intervals over clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracker.evaluation.robustness.crossval import Judged
from tracker.evaluation.robustness.stress import WITHIN
from tracker.metrics.bootstrap import Interval, mean_interval


def summary(rows: Sequence[Judged], seed: int = 0) -> dict[str, Interval]:
    """Means over clips with bootstrap intervals over clips; fractions of frames pool the frames of all clips."""
    on, off = np.array([r.auc_on for r in rows]), np.array([r.auc_off for r in rows])
    out = {
        "auc_on": mean_interval(on, seed=seed),
        "auc_off": mean_interval(off, seed=seed),
        "gain": mean_interval(on - off, seed=seed),
        "auc_visible": mean_interval([r.auc_visible for r in rows], seed=seed),
    }
    for name, part, whole in (
        ("false_loss", "falsely_lost", "followed"),
        ("absent_reported", "absent_reported", "absent"),
        ("found", "found", "absences"),
    ):
        weights = np.array([getattr(r, whole) for r in rows], np.float64)
        shares = np.array([getattr(r, part) for r in rows]) / np.maximum(weights, 1)
        out[name] = mean_interval(shares, weights, seed=seed)
    return out


def markdown(rows: Sequence[Judged], per_clip: bool = False, seed: int = 0) -> str:
    """The table: a row for each label and one for all; with `per_clip` a second table of the clips."""

    def area(i: Interval, sign: str = "") -> str:
        ends = f" ({i.low:{sign}.3f} to {i.high:{sign}.3f})" if i.known else ""
        return f"{i.value:{sign}.3f}{ends}"

    lines = [
        "| clips | AUC, states on | AUC, states off | difference | AUC, LOST frames count as 0 | false loss "
        f"| box while absent | back within {WITHIN} frames |",
        "|---|---|---|---|---|---|---|---|",
    ]
    labels = list(dict.fromkeys(r.label for r in rows))
    for label in [*labels, *(["all"] if len(labels) > 1 else [])]:
        mine = [r for r in rows if label in ("all", r.label)]
        s = summary(mine, seed)
        lines.append(
            f"| {label} ({len(mine)}) | {area(s['auc_on'])} | {area(s['auc_off'])} | {area(s['gain'], '+')} "
            f"| {area(s['auc_visible'])} | {s['false_loss'].percent} | {s['absent_reported'].percent} "
            f"| {s['found'].percent} |"
        )
    if per_clip:
        lines += [
            "",
            "| clip | half | on | off | false loss | absent with a box | back |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {r.label}/{r.name} | {'AB'[r.half]} | {r.auc_on:.3f} | {r.auc_off:.3f} | {r.falsely_lost}/{r.followed} "
            f"| {r.absent_reported}/{r.absent} | {r.found}/{r.absences} |"
            for r in rows
        ]
    return "\n".join(lines) + "\n"
