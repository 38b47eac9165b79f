"""The plots of a report: curves, bars and speed, with matplotlib's Agg; as png and svg files, and as svg for the page.

Each tracker keeps its colour and dash in all plots. Page plots take text, grid and line colours from the page's own
variables, so that they follow its light and dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tracker.evaluation.report.plot_style import INK, MARKERS, dash_of, label, new_figure, style
from tracker.evaluation.report.tables import (
    HEADINGS,
    LOWER_IS_BETTER,
    Headline,
    attribute_metric,
    attribute_names,
    known,
)
from tracker.metrics.results import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FASTEST = 1000
"""Upper end of the speed plot in frames per second; faster trackers are drawn there."""

CURVES = {
    "success": ("Success", "overlap threshold (IoU)", "share of frames"),
    "precision": ("Precision", "centre error, pixels", "share of frames"),
    "norm_precision": ("Normalised precision", "centre error over the target's size", "share of frames"),
    "expected_overlap": ("Expected average overlap", "sequence length, frames", "expected overlap"),
}
CURVE_SCORES = {
    "success": ("auc", "ao"),
    "precision": ("precision20",),
    "norm_precision": ("norm_precision20",),
    "expected_overlap": ("eao",),
}
"""The metric shown for a curve in its legend."""


def curve_names(evaluation: Evaluation) -> list[str]:
    """The curves that an evaluation has, in the order of `CURVES`."""
    return [c for c in CURVES if any(c in t.curves for t in evaluation.trackers)]


def curve_score(evaluation: Evaluation, tracker: int, curve: str) -> tuple[str, float]:
    """(metric, value) in a curve's legend."""
    table = evaluation.trackers[tracker].overall
    name = next((n for n in CURVE_SCORES[curve] if known(table.get(n))), CURVE_SCORES[curve][0])
    return name, table.get(name, math.nan)


def curve_figure(evaluation: Evaluation, curve: str, legend: bool) -> Figure:
    """One line per tracker.

    Args:
        evaluation: With that curve.
        curve: Key of `CURVES`.
        legend: Whether names are in the figure (the page lists them below it).
    """
    title, x_label, y_label = CURVES[curve]
    figure, axes = new_figure(4.3, 3.3) if not legend else new_figure(7.2, 4.4)
    order = sorted(
        range(len(evaluation.trackers)), key=lambda k: -np.nan_to_num(curve_score(evaluation, k, curve)[1], nan=-1.0)
    )
    for k in reversed(order):
        line = evaluation.trackers[k].curves.get(curve)
        if line is None:
            continue
        score = curve_score(evaluation, k, curve)[1]
        text = label(f"{evaluation.trackers[k].tracker}  {score:.3f}")
        wide = 2.4 if k == order[0] else 1.5
        axes.plot(line.thresholds, line.values, color=style(k)[0], linestyle=dash_of(k), linewidth=wide, label=text)
    axes.set_xlabel(x_label, color=INK, fontsize=10.5)
    axes.set_ylabel(y_label, color=INK, fontsize=10.5)
    axes.set_ylim(0, 1)
    axes.margins(x=0)
    if legend:
        handles, labels = axes.get_legend_handles_labels()
        shown = HEADINGS.get(curve_score(evaluation, order[0], curve)[0], "")
        axes.legend(
            handles[::-1],
            labels[::-1],
            title=shown,
            loc="center left",
            bbox_to_anchor=(1.01, 0.5),
            fontsize=8.5,
            frameon=False,
        )
        axes.set_title(f"{title} – {label(evaluation.dataset)}", color=INK, fontsize=11, loc="left")
    return figure


def bars_figure(
    title: str, names: Sequence[str], trackers: Sequence[str], values: Sequence[Sequence[float]], x_label: str
) -> Figure:
    """Grouped horizontal bars.

    Args:
        names: G groups.
        trackers: T bars in each.
        values: G rows of T numbers; NaN omits a bar.
        x_label: Label of the axis.
    """
    height = max(2.4, 1.1 + len(names) * (0.11 * len(trackers) + 0.14))
    figure, axes = new_figure(7.6, min(height, 120.0))
    step = 0.84 / max(1, len(trackers))
    table = np.asarray(values, dtype=np.float64).reshape(len(names), len(trackers))
    for t, tracker in enumerate(trackers):
        places = np.arange(len(names)) - 0.42 + step * (t + 0.5)
        dense = "//" if style(t)[1] else None
        axes.barh(
            places,
            np.nan_to_num(table[:, t]),
            height=step * 0.86,
            color=style(t)[0],
            hatch=dense,
            edgecolor="white",
            linewidth=0,
            label=label(tracker),
        )
    axes.set_yticks(np.arange(len(names)), [label(n) for n in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(x_label, color=INK, fontsize=10.5)
    axes.set_title(label(title), color=INK, fontsize=11, loc="left")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8.5, frameon=False)
    return figure


def attributes_figure(evaluation: Evaluation) -> Figure | None:
    """Bars by attribute, or None where there are no attributes."""
    names, metric = attribute_names(evaluation), attribute_metric(evaluation)
    if not names:
        return None
    values = [[t.attributes.get(a, {}).get(metric, math.nan) for t in evaluation.trackers] for a in names]
    return bars_figure(
        f"{evaluation.dataset}, by attribute", names, [t.tracker for t in evaluation.trackers], values, HEADINGS[metric]
    )


def sequence_metric(evaluation: Evaluation) -> str:
    """The metric shown in sequence bars: the first headline metric that exists per sequence."""
    own = {n for t in evaluation.trackers for s in t.sequences for n in s.values}
    return next((n for n in evaluation.primary if n in own), "")


def sequence_values(evaluation: Evaluation) -> list[tuple[str, list[float]]]:
    """(sequence, one value per tracker), sorted so that the best tracker's lowest comes first."""
    metric = sequence_metric(evaluation)
    tables = [{s.sequence: s.values.get(metric, math.nan) for s in t.sequences} for t in evaluation.trackers]
    names = list(dict.fromkeys(s.sequence for t in evaluation.trackers for s in t.sequences))
    rows = [(n, [table.get(n, math.nan) for table in tables]) for n in names]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    return sorted(rows, key=lambda row: sign * row[1][0] if known(row[1][0]) else math.inf)


def sequences_figure(evaluation: Evaluation, most: int = 60) -> Figure | None:
    """Bars by sequence, the hardest `most`."""
    rows = sequence_values(evaluation)
    metric = sequence_metric(evaluation)
    if not rows or not metric:
        return None
    title = f"{evaluation.dataset}, by sequence" + (f" (the hardest {most} of {len(rows)})" if len(rows) > most else "")
    kept = rows[:most]
    return bars_figure(
        title,
        [n for n, _ in kept],
        [t.tracker for t in evaluation.trackers],
        [v for _, v in kept],
        HEADINGS.get(metric, metric),
    )


def speed_figure(evaluation: Evaluation, table: Headline, legend: bool) -> Figure | None:
    """The headline number against frames per second, with its interval; None where no speeds are known."""
    metric = evaluation.primary[0]
    names = [t.tracker for t in evaluation.trackers]
    points = [
        (k, t.overall.get("fps", math.nan), table.rows[k].values.get(metric)) for k, t in enumerate(evaluation.trackers)
    ]
    good = [(k, fps, i) for k, fps, i in points if known(fps) and fps > 0 and i is not None and known(i.value)]
    if not good:
        return None
    figure, axes = new_figure(7.2, 4.4) if legend else new_figure(4.3, 3.3)
    for k, fps, interval in good:
        x = min(fps, FASTEST)
        if interval.known:
            axes.plot([x, x], [interval.low, interval.high], color=style(k)[0], linewidth=1.2, alpha=0.55)
        marker = MARKERS[k % len(MARKERS)] if legend else "o"
        axes.plot(
            [x],
            [interval.value],
            marker=marker,
            color=style(k)[0],
            markersize=7,
            linestyle="none",
            label=label(names[k]),
            clip_on=False,
        )
        if not legend:  # the page lists these numbers
            axes.annotate(str(k + 1), (x, interval.value), (6, 2), textcoords="offset points", fontsize=9, color=INK)
    axes.set_xscale("log")
    axes.set_xlim(min(10.0, min(f for _, f, _ in good) / 1.6), FASTEST)
    ticks = [v for v in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, FASTEST) if v >= axes.get_xlim()[0]]
    ticks = ticks if len(ticks) < 9 else [v for v in ticks if v in (0.1, 1, 10, 100, FASTEST)]
    axes.set_xticks(ticks, [f"{v:g}" if v < FASTEST else f"≥ {v}" for v in ticks])
    axes.set_xticks([], minor=True)
    axes.axvline(25, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.annotate(
        "25 / s",
        (25, 1),
        (3, -3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=INK,
    )
    axes.set_xlabel("frames per second (log), decoding not included", color=INK, fontsize=10.5)
    axes.set_ylabel(HEADINGS.get(metric, metric), color=INK, fontsize=10.5)
    axes.set_ylim(bottom=0)
    if legend:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5, frameon=False)
        axes.set_title(f"Speed – {label(evaluation.dataset)}", color=INK, fontsize=11, loc="left")
    return figure
