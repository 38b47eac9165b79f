"""Writes a report: one self-contained page, the plots as files, the numbers as csv, json and markdown.

FOLDER/report.html                  everything, without scripts and without requests
FOLDER/report.md, report.json       the numbers, with protocol and provenance
FOLDER/metrics.csv, sequences.csv, attributes.csv
FOLDER/plots/*.png, *.svg
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.errors import OutputError, SourceError
from tracker.evaluation.report import exports, plot_style, plots, tables
from tracker.evaluation.report.page import render_page
from tracker.evaluation.report.strips import tally
from tracker.files import write_atomic
from tracker.metrics.bootstrap import FEWEST, LEVEL, SAMPLES
from tracker.metrics.results import Evaluation
from tracker.metrics.success import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ReportOptions:
    """Options of a report.

    Attributes:
        title: Of the page; the data set's name where empty.
        strips: Greatest number of failure strips per tracker; 0: no images.
        level, samples, seed: Parameters of the bootstrap.
        overwrite: Whether an existing report may be replaced.
    """

    title: str = ""
    strips: int = 3
    level: float = LEVEL
    samples: int = SAMPLES
    seed: int = 0
    overwrite: bool = False


def check_folder(folder: str | Path, overwrite: bool = False) -> Path:
    """Checks before any work whether a report can be written to a folder; nothing is created.

    Raises:
        OutputError: It is a file, or holds a report and `overwrite` isn't given.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"The report can't go to {folder}: it is a file; give a folder.")
    if (folder / "report.html").exists() and not overwrite:
        raise OutputError(f"{folder / 'report.html'} exists; give another folder, or --overwrite to replace it.")
    return folder


def merge(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Merges evaluations of the same data set, sorted by the headline metric.

    Raises:
        SourceError: Different data, protocol or sequences, or two trackers with the same name.
    """
    first = evaluations[0]
    if len(evaluations) == 1:
        return first
    names = {s.sequence for s in first.trackers[0].sequences}
    seen: set[str] = set()
    for other in evaluations:
        if (other.dataset, other.protocol, other.primary) != (first.dataset, first.protocol, first.primary):
            raise SourceError(
                f"{other.dataset} ({other.protocol}) can't stand in one report with {first.dataset} "
                f"({first.protocol}); numbers of different data or protocols don't compare."
            )
        for tracker in other.trackers:
            if tracker.tracker in seen:
                raise SourceError(
                    f"Two of the evaluations hold a tracker {tracker.tracker!r}; evaluate one of them under another "
                    "label."
                )
            seen.add(tracker.tracker)
            if {s.sequence for s in tracker.sequences} != names:
                raise SourceError(
                    f"{tracker.tracker} was evaluated on other sequences than {first.trackers[0].tracker}; evaluate "
                    "both on the same."
                )
    sign = -1 if first.primary[0] in tables.LOWER_IS_BETTER else 1

    def rank(value: float) -> float:
        return sign * value if math.isfinite(value) else -math.inf

    trackers = sorted(
        (t for e in evaluations for t in e.trackers), key=lambda t: -rank(t.overall.get(first.primary[0], math.nan))
    )
    provenance: dict[str, str] = {}
    for number, evaluation in enumerate(evaluations, 1):
        who = ", ".join(t.tracker for t in evaluation.trackers)
        for key, value in evaluation.provenance.items():
            if provenance.get(key, value) == value:
                provenance[key] = value
            else:
                provenance[f"{key} ({number}: {who})"] = value
    return replace(
        first, trackers=tuple(trackers), results=tuple(r for e in evaluations for r in e.results), provenance=provenance
    )


def protocol_sentences(evaluation: Evaluation, options: ReportOptions | None = None) -> list[str]:
    """Sentences on what was measured, for captions and files."""
    opt = options or ReportOptions()
    count, frames = tables.counts(evaluation)
    kind = tables.kind(evaluation)
    start = {
        "vot": "Supervised: the tracker starts from the true box of frame 1 and, 5 frames after each failure "
        "(overlap 0), from the true box again.",
        "got10k": "One pass: the tracker starts from the true box of frame 1 and is never corrected. "
        "Frame 1 and frames in which the target isn't visible don't count.",
        "otb": "One pass: the tracker starts from the true box of frame 1 and is never corrected. "
        "Frames without annotation don't count; frame 1 counts, as in OTB's toolkit.",
    }[kind]
    sentences = [f"{evaluation.dataset}: {count} sequences, {frames} counted frames.", start]
    for name in tables.headline_columns(evaluation):
        if name in METRICS:
            sentences.append(f"{tables.HEADINGS.get(name, name)} = {METRICS[name]}.")
    sentences.append(
        f"Intervals: {100 * opt.level:g} % percentile bootstrap over sequences, {opt.samples} resamplings, seed "
        f"{opt.seed}; the same draws for all trackers. They say how far a number would move with other sequences "
        f"of this kind; below {FEWEST} sequences there are none."
    )
    return sentences


def write_report(evaluation: Evaluation, folder: str | Path, options: ReportOptions | None = None) -> Path:
    """Writes the whole report.

    Args:
        evaluation: From `evaluate.py` or `result_store.load_evaluation`; strips and speeds per frame need its
            `results`.
        folder: Created if missing.
        options: See `ReportOptions`.

    Returns:
        Path of report.html, which is written last.

    Raises:
        OutputError: The report exists and must not be replaced, or can't be written.
        SourceError: The evaluation has no tracker.
    """
    opt = options or ReportOptions()
    folder = check_folder(folder, opt.overwrite)
    if not evaluation.trackers or not any(t.sequences for t in evaluation.trackers):
        raise SourceError("The evaluation holds no tracker with a result; there is nothing to report.")
    table = tables.headline(evaluation, level=opt.level, samples=opt.samples, seed=opt.seed)
    protocol = protocol_sentences(evaluation, opt)
    figures = _figures(evaluation, table)
    for name, figure in figures.items():
        for suffix in ("png", "svg"):
            write_atomic(folder / "plots" / f"{name}.{suffix}", plot_style.file_bytes(figure, suffix))
    losses = [asdict(t) for t in tally(evaluation)]
    write_atomic(folder / "metrics.csv", exports.metrics_csv(evaluation, table))
    write_atomic(folder / "sequences.csv", exports.sequences_csv(evaluation))
    write_atomic(folder / "attributes.csv", exports.attributes_csv(evaluation))
    write_atomic(
        folder / "report.json", exports.report_json(evaluation, table, losses=losses, protocol_sentences=protocol)
    )
    write_atomic(folder / "report.md", exports.markdown(evaluation, table, protocol))
    page = folder / "report.html"
    write_atomic(page, render_page(evaluation, table, protocol, title=opt.title, strips=opt.strips))
    return page


def _figures(evaluation: Evaluation, table: tables.Headline) -> dict[str, Figure]:
    found: dict[str, Figure | None] = {
        c: plots.curve_figure(evaluation, c, legend=True) for c in plots.curve_names(evaluation)
    }
    found["attributes"] = plots.attributes_figure(evaluation)
    found["sequences"] = plots.sequences_figure(evaluation)
    found["speed"] = plots.speed_figure(evaluation, table, legend=True)
    return {name: figure for name, figure in found.items() if figure is not None}
