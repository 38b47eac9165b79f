"""The numbers of a report as files: csv, json and markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from tracker.evaluation.report.tables import HEADINGS, Headline, attribute_metric, attribute_names, metric_text
from tracker.metrics.bootstrap import Interval
from tracker.metrics.result_store import plain
from tracker.metrics.results import Evaluation
from tracker.metrics.success import METRICS


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [["" if isinstance(v, float) and not math.isfinite(v) else v for v in row] for row in rows]
    )
    return out.getvalue()


def metrics_csv(evaluation: Evaluation, table: Headline) -> str:
    """tracker, metric, value, low, high, sequences; metrics outside the headline follow without interval."""
    rows: list[list[Any]] = [["tracker", "metric", "value", "low", "high", "sequences"]]
    for tracker, row in zip(evaluation.trackers, table.rows, strict=True):
        rows += [[tracker.tracker, name, i.value, i.low, i.high, i.count] for name, i in row.values.items()]
        rows += [
            [tracker.tracker, n, v, math.nan, math.nan, len(tracker.sequences)]
            for n, v in tracker.overall.items()
            if n not in row.values
        ]
    return _csv(rows)


def sequences_csv(evaluation: Evaluation) -> str:
    """tracker, sequence, frames, one column per metric, error."""
    names = list(dict.fromkeys(n for t in evaluation.trackers for s in t.sequences for n in s.values))
    rows: list[list[Any]] = [["tracker", "sequence", "frames", *names, "error"]]
    for tracker in evaluation.trackers:
        rows += [
            [tracker.tracker, s.sequence, s.frames, *(s.values.get(n, math.nan) for n in names), s.error]
            for s in tracker.sequences
        ]
    return _csv(rows)


def attributes_csv(evaluation: Evaluation) -> str:
    """tracker, attribute, one column per metric ("frames" is their number)."""
    names = list(dict.fromkeys(n for t in evaluation.trackers for a in t.attributes.values() for n in a))
    rows: list[list[Any]] = [["tracker", "attribute", *names]]
    for tracker in evaluation.trackers:
        rows += [
            [tracker.tracker, a, *(values.get(n, math.nan) for n in names)] for a, values in tracker.attributes.items()
        ]
    return _csv(rows)


def report_json(evaluation: Evaluation, table: Headline, **more: Any) -> str:
    """The headline with intervals, the curves, and `more`, as json; null where there is no number."""
    trackers = [
        {
            "tracker": t.tracker,
            "metrics": {**{n: {"value": v} for n, v in t.overall.items()}, **row.values},
            "behind_best": row.behind,
            "attributes": {k: dict(v) for k, v in t.attributes.items()},
            "curves": {k: {"thresholds": c.thresholds, "values": c.values} for k, c in t.curves.items()},
        }
        for t, row in zip(evaluation.trackers, table.rows, strict=True)
    ]
    content = {
        "dataset": evaluation.dataset,
        "protocol": evaluation.protocol,
        "primary": list(evaluation.primary),
        "bootstrap": {"level": table.level, "samples": table.samples, "seed": table.seed, "unit": "sequence"},
        "definitions": {n: METRICS[n] for t in evaluation.trackers for n in t.overall if n in METRICS},
        "provenance": dict(evaluation.provenance),
        "trackers": trackers,
        **more,
    }
    return json.dumps(plain(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def markdown(evaluation: Evaluation, table: Headline, protocol: Sequence[str]) -> str:
    """The headline table, the attributes, the protocol and the provenance as GitHub markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"

    def cell(name: str, value: Interval) -> str:
        ends = (
            f" [{metric_text(name, value.low)}, {metric_text(name, value.high)}]"
            if value.known and name != "fps"
            else ""
        )
        return metric_text(name, value.value) + ends

    out = [f"# {evaluation.dataset}", "", line(["tracker", *(HEADINGS.get(c, c) for c in table.columns)])]
    out.append("|---|" + "---:|" * len(table.columns))
    out += [line([row.tracker, *(cell(c, row.values[c]) for c in table.columns)]) for row in table.rows]
    if table.has_intervals:
        out += [
            "",
            f"In brackets: {100 * table.level:g} % bootstrap intervals over sequences ({table.samples} resamplings, "
            f"seed {table.seed}).",
        ]
    name = attribute_metric(evaluation)
    attributes = attribute_names(evaluation)
    if attributes:
        out += [
            "",
            f"## {HEADINGS.get(name, name)} by attribute",
            "",
            line(["attribute", "frames", *(t.tracker for t in evaluation.trackers)]),
        ]
        out.append("|---|---:|" + "---:|" * len(evaluation.trackers))
        for a in attributes:
            frames = max((t.attributes.get(a, {}).get("frames", 0) for t in evaluation.trackers), default=0)
            out.append(
                line(
                    [
                        a,
                        f"{frames:.0f}",
                        *(metric_text(name, t.attributes.get(a, {}).get(name)) for t in evaluation.trackers),
                    ]
                )
            )
    out += ["", "## Protocol", "", *(f"- {sentence}" for sentence in protocol)]
    out += ["", "## Provenance", "", *(f"- {k}: {v}" for k, v in evaluation.provenance.items()), ""]
    return "\n".join(out)
