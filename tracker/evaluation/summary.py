"""From results to an `Evaluation`: tables by the data set's rules, sorted, with their provenance."""

from __future__ import annotations

import datetime
import math
import os
import platform
from collections.abc import Sequence

from tracker._version import __version__
from tracker.datasets.base import Dataset
from tracker.metrics.results import Evaluation, SequenceMetrics, SequenceResult, TrackerMetrics
from tracker.metrics.success import METRICS, PRIMARY, got10k_metrics, otb_metrics, speed
from tracker.metrics.vot import vot_metrics
from tracker.runtime.processor import package_version, processor

# Columns of the table in the terminal, by rules; everything else is in evaluation.json.
COLUMNS = {
    "got10k": ("ao", "sr50", "sr75", "mao", "msr50", "ao_exact", "fps", "fps_total", "decode_ms"),
    "otb": (
        "auc",
        "precision20",
        "norm_precision20",
        "norm_precision_auc",
        "success50",
        "auc_visible",
        "auc_tracked",
        "fps",
        "fps_total",
        "decode_ms",
    ),
    "vot": ("eao", "accuracy", "robustness", "failures", "fps", "fps_total", "decode_ms"),
}
HEADINGS = {
    "ao": "AO",
    "sr50": "SR.50",
    "sr75": "SR.75",
    "mao": "mAO",
    "msr50": "mSR.50",
    "ao_exact": "AO clipped",
    "auc": "AUC",
    "precision20": "P@20px",
    "norm_precision20": "Pn@.20",
    "norm_precision_auc": "Pn AUC",
    "success50": "S@.50",
    "auc_visible": "AUC visible",
    "auc_tracked": "AUC no 1st",
    "eao": "EAO",
    "accuracy": "A",
    "robustness": "R /100",
    "failures": "failures",
    "fps": "fps (rates)",
    "fps_total": "fps (total)",
    "decode_ms": "decode ms",
}


def measure(dataset: Dataset, tracker: str, results: Sequence[SequenceResult], protocol: str) -> TrackerMetrics:
    """One tracker's table by the data set's own rules (VOT in one pass, unsupervised, is measured as OTB is).

    Speeds alone if the ground truth is withheld, since one given box is not enough to measure anything.
    """
    if dataset.truth_withheld:
        rows = tuple(SequenceMetrics(r.sequence, 0, speed([r], True), r.error) for r in results)
        return TrackerMetrics(tracker, speed(results, pooled=dataset.rules == "got10k"), sequences=rows)
    if protocol == "supervised":
        return vot_metrics(tracker, results, dataset.eao_range)
    if dataset.rules == "got10k":
        return got10k_metrics(tracker, results)
    return otb_metrics(tracker, results, "otb" if dataset.rules == "vot" else dataset.rules)


def summarise(
    dataset: Dataset, results: Sequence[SequenceResult], protocol: str, provenance: dict[str, str]
) -> Evaluation:
    """Group results by tracker, measure, sort by the headline metric.

    Args:
        dataset: The data set.
        results: Of one or several trackers.
        protocol: "ope" or "supervised".
        provenance: Facts to store with the numbers.
    """
    order = {name: k for k, name in enumerate(dataset.names)}
    ordered = sorted(results, key=lambda r: (r.tracker, order[r.sequence]))
    trackers = list(dict.fromkeys(r.tracker for r in ordered))
    tables = [measure(dataset, t, [r for r in ordered if r.tracker == t], protocol) for t in trackers]
    primary = PRIMARY["vot" if protocol == "supervised" else "otb" if dataset.rules == "vot" else dataset.rules]
    if protocol == "supervised" and dataset.eao_range is None:
        primary = primary[1:]
    tables.sort(key=lambda t: -_number(t.overall.get(primary[0])))
    return Evaluation(dataset.title, protocol, primary, tuple(tables), tuple(ordered), provenance)


def _number(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value


def provenance(command: Sequence[str], **facts: str) -> dict[str, str]:
    """Versions, machine, command and date, so that a number can be reproduced."""
    found = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "siamtrack": __version__,
    }
    found |= {
        "command": " ".join(command),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    found |= {"processor": processor()[0] or "unknown", "cores": str(os.cpu_count())}
    for package in (
        "numpy",
        "opencv-python",
        "opencv-contrib-python",
        "opencv-python-headless",
        "torch",
        "onnxruntime",
    ):
        if package_version(package):
            found[package] = package_version(package)
    return found | facts


def text_table(evaluation: Evaluation, *, attributes: bool = False, sequences: bool = False) -> str:
    """The table that the command prints; "-" for a number that doesn't exist."""
    kind = "vot" if evaluation.protocol == "supervised" else "got10k" if evaluation.primary[0] == "ao" else "otb"
    columns = [
        c for c in COLUMNS[kind] if any(c in t.overall and not math.isnan(t.overall[c]) for t in evaluation.trackers)
    ]
    rows = [["tracker", *(HEADINGS[c] for c in columns)]]
    rows += [[t.tracker, *(_cell(c, t.overall.get(c)) for c in columns)] for t in evaluation.trackers]
    blocks = [_align(rows)]
    headline = "accuracy" if kind == "vot" else evaluation.primary[0]
    if attributes:
        names = list(dict.fromkeys(n for t in evaluation.trackers for n in t.attributes))
        head = ["attribute", "frames", *(t.tracker for t in evaluation.trackers)]
        body = []
        for name in names:
            own = [t.attributes.get(name, {}) for t in evaluation.trackers]
            frames = max((int(o.get("frames", 0)) for o in own), default=0)
            body.append([name, str(frames), *(_cell(headline, o.get(headline)) for o in own)])
        blocks.append(f"{HEADINGS[headline]} over the frames of each attribute, pooled:\n" + _align([head, *body]))
    if sequences:
        head = ["sequence", "frames", *(t.tracker for t in evaluation.trackers)]
        tables = [{s.sequence: s for s in t.sequences} for t in evaluation.trackers]
        names = list(dict.fromkeys(s.sequence for t in evaluation.trackers for s in t.sequences))
        body = [
            [
                n,
                str(max(t[n].frames for t in tables if n in t)),
                *(_cell(headline, t[n].values.get(headline)) if n in t else "-" for t in tables),
            ]
            for n in names
        ]
        blocks.append(f"{HEADINGS[headline]} per sequence:\n" + _align([head, *body]))
    return "\n\n".join(blocks)


def _cell(name: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    if name in ("fps", "fps_total", "robustness"):
        return f"{value:.1f}"
    return f"{value:.0f}" if name == "failures" else f"{value:.2f}" if name == "decode_ms" else f"{value:.3f}"


def _align(rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )


def explain(evaluation: Evaluation) -> str:
    """What the columns mean, one line each."""
    names = dict.fromkeys(n for t in evaluation.trackers for n in t.overall)
    return "\n".join(f"{HEADINGS.get(n, n):>12}  {METRICS[n]}" for n in names if n in METRICS)
