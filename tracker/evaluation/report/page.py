"""The page of a report: computes what the template shows from an evaluation."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.evaluation.report import plot_style, plots, tables
from tracker.evaluation.report.strips import LOST_FRAMES, TILE, Strip, make_strips, tally
from tracker.media.images import encode_image
from tracker.metrics.results import Evaluation
from tracker.metrics.success import METRICS

SHOWN_SEQUENCES = 24
"""Number of sequences whose bars are visible on the page; the rest is collapsed."""


def render_page(
    evaluation: Evaluation, table: tables.Headline, protocol: Sequence[str], *, title: str = "", strips: int = 3
) -> str:
    """The page as html text.

    Args:
        evaluation: What to show.
        table: Its headline table.
        protocol: Sentences on what was measured; the first two and the last also stand in captions.
        title: Heading; the data set's name where empty.
        strips: Failure strips per tracker at most.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("tracker.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["metric"] = lambda value, name: tables.metric_text(name, value)
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %" if tables.known(value) else "–"
    names = [t.tracker for t in evaluation.trackers]
    metric = tables.attribute_metric(evaluation)
    own = plots.sequence_metric(evaluation)
    speed = plots.speed_figure(evaluation, table, legend=False)
    found = {n: make_strips(list(evaluation.results_of(n).values()), strips) for n in names} if strips else {}
    rows = [t.attributes for t in evaluation.trackers]
    attributes = [
        _group(a, _attribute_note(evaluation, a), [r.get(a, {}).get(metric, math.nan) for r in rows], metric)
        for a in tables.attribute_names(evaluation)
    ]
    return environment.get_template("report.html.j2").render(
        title=title or evaluation.dataset,
        evaluation=evaluation,
        table=table,
        headings=tables.HEADINGS,
        metrics=METRICS,
        protocol=protocol,
        counts=tables.counts(evaluation),
        fastest=plots.FASTEST,
        lower=tables.LOWER_IS_BETTER,
        best={c: _best(table, c) for c in table.columns},
        names=names,
        styles=[plot_style.style(k) for k in range(len(names))],
        palette=range(len(plot_style.COLOURS)),
        forest=_forest(table),
        curves=[_curve_part(evaluation, c, Markup) for c in plots.curve_names(evaluation)],
        attribute_metric=metric,
        attributes=attributes,
        sequence_metric=own,
        sequences=[_group(n, "", values, own) for n, values in plots.sequence_values(evaluation)] if own else [],
        shown=SHOWN_SEQUENCES,
        tallies=tally(evaluation),
        lost_frames=LOST_FRAMES,
        strips={n: [_strip_part(s, Markup) for s in some] for n, some in found.items() if some},
        tile=TILE,
        speed=Markup(plot_style.page_svg(speed, "Speed")) if speed else "",
        speeds=_speeds(evaluation),
        errors=[(t.tracker, s.sequence, s.error) for t in evaluation.trackers for s in t.sequences if s.error],
        fingerprints=_fingerprints(evaluation),
    )


def _fingerprints(evaluation: Evaluation) -> dict[str, str]:
    """Tracker -> key of its results, for those that the provenance doesn't name already."""
    found = {r.tracker: r.fingerprint for r in evaluation.results}
    return {name: key for name, key in found.items() if f"fingerprint of {name}" not in evaluation.provenance}


def _best(table: tables.Headline, column: str) -> float:
    values = [row.values[column].value for row in table.rows if tables.known(row.values[column].value)]
    return (min if column in tables.LOWER_IS_BETTER else max)(values, default=math.nan)


def _forest(table: tables.Headline) -> list[dict[str, float] | None]:
    """Per tracker, positions of dot and whiskers of the headline metric, in percent of an axis from 0 to 1 or the
    largest end."""
    intervals = [row.values[table.columns[0]] for row in table.rows]
    ends = [v for i in intervals for v in (i.value, i.high) if tables.known(v)]
    top = max([1.0, *ends])
    return [
        {
            "at": 100 * i.value / top,
            "low": 100 * max(0.0, i.low) / top if i.known else 0.0,
            "width": 100 * (i.high - max(0.0, i.low)) / top if i.known else 0.0,
        }
        if tables.known(i.value)
        else None
        for i in intervals
    ]


def _curve_part(evaluation: Evaluation, curve: str, markup: Any) -> dict[str, Any]:
    """A curve's svg, the legend below it (best first) and its caption."""
    title, x_label, _ = plots.CURVES[curve]
    lines = []
    for k, tracker in enumerate(evaluation.trackers):
        if curve in tracker.curves:
            name, score = plots.curve_score(evaluation, k, curve)
            lines.append((k, tracker.tracker, name, score))
    lines.sort(key=lambda line: -line[3] if tables.known(line[3]) else math.inf)
    grid = next(t.curves[curve].thresholds for t in evaluation.trackers if curve in t.curves)
    pooled = (
        "frames of all sequences pooled"
        if tables.kind(evaluation) == "got10k"
        else "one curve per sequence, then their mean"
    )
    caption = {
        "success": f"Share of counted frames whose overlap (IoU) with the truth is above the threshold; {len(grid)} "
        f"thresholds, {pooled}.",
        "precision": f"Share of counted frames whose centre is at most so many pixels off; {len(grid)} thresholds, "
        f"{pooled}.",
        "norm_precision": "As precision, with the error in x over the target's width and in y over its height; "
        f"{len(grid)} thresholds, {pooled}.",
        "expected_overlap": "Mean overlap to be expected over a sequence of that length when the tracker isn't "
        "restarted.",
    }[curve]
    name = lines[0][2]
    caption += f" In the list: {tables.HEADINGS.get(name, name)}, {METRICS.get(name, name)}."
    svg = markup(plot_style.page_svg(plots.curve_figure(evaluation, curve, legend=False), title))
    return {"title": title, "x": x_label, "svg": svg, "lines": lines, "caption": caption}


def _group(name: str, note: str, values: Sequence[float], metric: str) -> dict[str, Any]:
    """One group of bars: widths in percent; counts are relative to the group's largest."""
    top = 1.0 if metric not in ("failures", "robustness") else max([1.0, *(v for v in values if tables.known(v))])
    return {
        "name": name,
        "note": note,
        "values": [(v, 100 * min(1.0, max(0.0, v / top)) if tables.known(v) else None) for v in values],
    }


def _attribute_note(evaluation: Evaluation, attribute: str) -> str:
    frames = max((t.attributes.get(attribute, {}).get("frames", 0.0) for t in evaluation.trackers), default=0.0)
    return f"{frames:.0f} frames"


def _strip_part(strip: Strip, markup: Any) -> dict[str, Any]:

    tiles = []
    for tile in strip.tiles:
        data = encode_image(tile.image, quality=82)
        tiles.append(
            {
                "index": tile.index,
                "iou": tile.iou,
                "src": markup("data:image/jpeg;base64," + base64.b64encode(data).decode()),
            }
        )
    return {
        "loss": strip.loss,
        "tiles": tiles,
        "note": strip.note,
        "count": len(strip.ious),
        "line": _timeline(strip.ious),
        "marks": _marks(strip),
    }


def _timeline(ious: NDArray[np.float64], points: int = 300) -> str:
    """The IoU over the sequence as an svg path in a 1000 x 100 box; gaps where frames don't count; the lowest value of
    each bin."""
    size = max(1, math.ceil(len(ious) / points))
    parts, pen = [], "M"
    for k in range(0, len(ious), size):
        piece = ious[k : k + size]
        if np.isnan(piece).all():
            pen = "M"
            continue
        parts.append(f"{pen}{1000 * k / max(1, len(ious) - 1):.1f} {100 - 100 * np.nanmin(piece):.1f}")
        pen = "L"
    return "".join(parts)


def _marks(strip: Strip) -> dict[str, Any]:
    last = max(1, len(strip.ious) - 1)
    loss = strip.loss
    return {
        "x": f"{1000 * loss.start / last:.1f}",
        "width": f"{max(3.0, 1000 * (loss.end - loss.start) / last):.1f}",
        "tiles": [f"{1000 * t.index / last:.1f}" for t in strip.tiles],
    }


def _speeds(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Per tracker: both frame rates, decoding, and milliseconds of an update (median, 95th percentile) if times are
    known."""
    rows = []
    for tracker in evaluation.trackers:
        times = [r.times[1:] for r in evaluation.results_of(tracker.tracker).values()]
        all_times = np.concatenate(times) if times else np.zeros(0)
        all_times = 1000 * all_times[np.isfinite(all_times)]
        row: dict[str, Any] = {k: tracker.overall.get(k, math.nan) for k in ("fps", "fps_total", "decode_ms")}
        row["median"], row["p95"] = (
            (float(v) for v in np.quantile(all_times, [0.5, 0.95])) if len(all_times) else (math.nan, math.nan)
        )
        rows.append({"tracker": tracker.tracker, **row})
    return rows
