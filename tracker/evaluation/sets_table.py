"""Several data sets in one table: a row for each tracker, a column for each set, intervals over sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tracker.metrics.bootstrap import Interval, mean_interval
from tracker.metrics.results import Evaluation, SequenceResult
from tracker.metrics.success import otb_metrics

Areas = dict[tuple[str, str], tuple[float, float]]
"""(set, sequence) -> area under the success curve, of all boxes and with those of LOST frames as misses."""


def areas(sets: Mapping[str, Evaluation]) -> dict[str, Areas]:
    """The area under the success curve of each tracker on each sequence, by OTB's rules whatever the set's own are.

    Args:
        sets: Label -> one-pass evaluation; those of one tracker have the same name in each.
    """
    found: dict[str, Areas] = {}
    for label, evaluation in sets.items():
        by_tracker: dict[str, list[SequenceResult]] = {}
        for result in evaluation.results:
            by_tracker.setdefault(result.tracker, []).append(result)
        for tracker, results in by_tracker.items():
            mine = found.setdefault(tracker, {})
            for row in otb_metrics(tracker, results, "otb").sequences:
                auc = row.values["auc"]
                mine[label, row.sequence] = auc, row.values.get("auc_visible", auc)
    return found


def summary(sets: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """A row for each tracker, the best over all sequences first.

    Returns:
        Rows of `tracker`, `sets` (label -> `Interval`), `all`, `visible` (LOST frames count as misses) and `behind`
        (paired: how much less than the first row's; None in the first row).
    """
    found = areas(sets)
    means = {tracker: float(np.nanmean([auc for auc, _ in mine.values()])) for tracker, mine in found.items()}
    order = sorted(found, key=lambda tracker: -means[tracker])
    rows = []
    for tracker in order:
        mine, best = found[tracker], found[order[0]]
        both = [key for key in best if key in mine]
        rows.append(
            {
                "tracker": tracker,
                "sets": {label: mean_interval([v[0] for key, v in mine.items() if key[0] == label]) for label in sets},
                "all": mean_interval([v[0] for v in mine.values()]),
                "visible": mean_interval([v[1] for v in mine.values()]),
                "behind": None if mine is best else mean_interval([mine[k][0] - best[k][0] for k in both]),
            }
        )
    return rows


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of `summary`, 95 % bootstrap intervals over sequences in brackets."""
    labels = list(rows[0]["sets"]) if rows else []
    counts = [f"{label} ({rows[0]['sets'][label].count})" for label in labels]
    head = ["AUC", *counts]
    if len(labels) > 1:
        head.append(f"all ({rows[0]['all'].count})")
    head += ["all, LOST counts 0", "behind the first, paired"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for row in rows:
        cells = [_cell(row["sets"][label]) for label in labels]
        if len(labels) > 1:
            cells.append(_cell(row["all"]))
        cells += [_cell(row["visible"]), _cell(row["behind"], "+") if row["behind"] else ""]
        lines.append("| " + " | ".join([row["tracker"], *cells]) + " |")
    return "\n".join(lines) + "\n"


def facts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `summary` as plain values for a json file."""
    return [
        {
            "tracker": row["tracker"],
            "sets": {label: interval.facts for label, interval in row["sets"].items()},
            "all": row["all"].facts,
            "visible": row["visible"].facts,
            "behind": row["behind"].facts if row["behind"] else None,
        }
        for row in rows
    ]


def _cell(interval: Interval, sign: str = "") -> str:
    ends = f" [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]" if interval.known else ""
    return f"{interval.value:{sign}.3f}{ends}" if interval.count else "-"
