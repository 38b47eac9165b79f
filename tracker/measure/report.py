"""A page of measurements: the path over a frame, speed and size over time, time in zones; csv files beside it."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.errors import SiamTrackError
from tracker.files import write_atomic
from tracker.geometry import Boxes, xywh_to_cxcywh
from tracker.interop.table import by_target
from tracker.measure.smooth import jitter, smooth
from tracker.measure.zones import Zone, time_in_zones
from tracker.media.images import encode_image
from tracker.types import Image, Track

COLOURS = ((255, 163, 74), (168, 95, 255), (255, 124, 176), (207, 214, 47), (85, 106, 224), (75, 209, 154))
"""BGR."""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;
padding:0 1rem}}
table{{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}}
td,th{{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #8884}}
td:first-child,th:first-child{{text-align:left}}
img,svg{{max-width:100%;height:auto;display:block}}h2{{margin-top:2rem}}p{{color:GrayText}}</style>
<h1>{title}</h1>{body}</html>
"""


@dataclass(frozen=True)
class Scale:
    """Conversion from pixels to a unit: units per pixel."""

    per_pixel: float = 1.0
    unit: str = "px"


@dataclass
class TargetMeasurements:
    """Measurements of one target, one row per frame.

    Attributes:
        id: Id of the target.
        frames: (n,) frame numbers.
        seconds: (n,) time.
        points: (n, 2) centres in pixels; NaN where lost.
        boxes: (n, 4).
        speed: (n,) units per second; NaN where unknown.
        size: (n,) square root of the area, in units.
        jitter_before, jitter_after: In per cent of the size; equal without smoothing.
    """

    id: int
    frames: NDArray[np.int_]
    seconds: NDArray[np.float64]
    points: NDArray[np.float64]
    boxes: Boxes
    speed: NDArray[np.float64]
    size: NDArray[np.float64]
    jitter_before: float
    jitter_after: float
    zones: list[dict[str, float | str]] = field(default_factory=list)

    def length(self, scale: Scale) -> float:
        """Length of the path in units, without the gaps."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        return float(np.nansum(steps) * scale.per_pixel)


def measure(
    tracks: Sequence[Track], rate: float, scale: Scale, zones: Sequence[Zone] = (), lag: int | None = None
) -> list[TargetMeasurements]:
    """Computes the measurements of all targets.

    Args:
        tracks: As `tracker.interop.table.read_tracks` gives them.
        rate: Frames per second, for tracks without time stamps.
        scale: Units.
        zones: Polygons; a target is in a zone if the centre of its box is.
        lag: Frames of look-ahead of the smoother, or None.

    Raises:
        SiamTrackError: There is no track.
    """
    if not tracks:
        raise SiamTrackError("There is no track to measure; the file has a header and no row.")
    out = []
    for number, rows in by_target(tracks).items():
        frames = np.array([t.index for t in rows])
        seconds = np.array([t.index / rate if t.timestamp is None else t.timestamp for t in rows])
        raw = np.array([t.box if t.visible else np.full(4, np.nan) for t in rows])
        boxes = raw if lag is None else smooth(raw, lag)
        centres = xywh_to_cxcywh(boxes)
        speed = np.full(len(rows), np.nan)
        passed = np.diff(seconds)
        with np.errstate(invalid="ignore", divide="ignore"):
            speed[1:] = (
                np.where(passed > 0, np.linalg.norm(np.diff(centres[:, :2], axis=0), axis=1) / passed, np.nan)
                * scale.per_pixel
            )
        size = np.sqrt(boxes[:, 2] * boxes[:, 3]) * scale.per_pixel
        times = time_in_zones(centres[:, :2], seconds, zones)
        out.append(
            TargetMeasurements(
                number, frames, seconds, centres[:, :2], boxes, speed, size, jitter(raw), jitter(boxes), times
            )
        )
    return out


def write_report(
    measured: Sequence[TargetMeasurements],
    folder: Path,
    title: str,
    scale: Scale,
    zones: Sequence[Zone] = (),
    frame: Image | None = None,
) -> Path:
    """report.html, measurements.csv, summary.csv, and zones.csv where there are zones; returns the page's path.

    Args:
        measured: From `measure`.
        folder: The output folder; created if missing.
        title: Heading.
        scale: Units.
        zones: Zones to draw.
        frame: Background of the paths; gray without it.

    Raises:
        OutputError: It can't be written.
    """
    _csv(folder / "measurements.csv", ["frame", "seconds", "id", "centre_x", "centre_y",
        f"speed_{scale.unit}_per_s", f"size_{scale.unit}"], (
        (int(f), f"{s:.4f}", m.id, _n(p[0]), _n(p[1]), _n(v), _n(z))
        for m in measured for f, s, p, v, z in zip(m.frames, m.seconds, m.points, m.speed, m.size, strict=True)
    ))  # fmt: skip
    heads = [
        "id",
        "frames",
        "seen",
        "seconds",
        f"path_{scale.unit}",
        f"mean_speed_{scale.unit}_per_s",
        f"top_speed_{scale.unit}_per_s",
        "jitter_before_%",
        "jitter_after_%",
    ]
    summary = [_summary(m, scale) for m in measured]
    _csv(folder / "summary.csv", heads, summary)
    rows = [[m.id, *(v if isinstance(v, str) else _n(float(v)) for v in z.values())] for m in measured for z in m.zones]
    if rows:
        _csv(folder / "zones.csv", ["id", "zone", "frames", "seconds", "entries", "first_seconds"], rows)
    picture = base64.b64encode(_picture(measured, zones, frame)).decode()
    parts = [
        f'<h2>Paths</h2><img alt="Paths of the targets" src="data:image/jpeg;base64,{picture}">',
        "<h2>Summary</h2>",
        _table(heads, summary),
    ]
    if rows:
        parts += ["<h2>Zones</h2>", _table(["id", "zone", "frames", "seconds", "entries", "first_seconds"], rows)]
    parts += [
        f"<h2>Speed ({html.escape(scale.unit)}/s)</h2>",
        _chart(measured, "speed"),
        f"<h2>Size ({html.escape(scale.unit)})</h2>",
        _chart(measured, "size"),
    ]
    parts.append(
        "<p>Speed is the way of the box's middle from frame to frame by the time between; size is the square root of "
        "its area.</p>"
    )
    write_atomic(folder / "report.html", PAGE.format(title=html.escape(title), body="".join(parts)))
    return folder / "report.html"


def _summary(m: TargetMeasurements, scale: Scale) -> list[object]:
    known = m.speed[np.isfinite(m.speed)]
    seen = int(np.isfinite(m.points).all(axis=1).sum())
    top = float(np.percentile(known, 95)) if len(known) else float("nan")
    mean = float(known.mean()) if len(known) else float("nan")
    span = float(m.seconds[-1] - m.seconds[0])
    return [
        m.id,
        len(m.frames),
        seen,
        _n(span),
        _n(m.length(scale)),
        _n(mean),
        _n(top),
        _n(m.jitter_before),
        _n(m.jitter_after),
    ]


def _n(value: float) -> str:
    return "" if not np.isfinite(value) else f"{value:.3f}"


def _csv(path: Path, heads: Sequence[str], rows: object) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)  # type: ignore[arg-type]
    write_atomic(path, out.getvalue())


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{html.escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(v))}</td>" for v in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _picture(measured: Sequence[TargetMeasurements], zones: Sequence[Zone], frame: Image | None) -> bytes:
    if frame is None:
        points = np.concatenate(
            [m.points[np.isfinite(m.points).all(axis=1)] for m in measured]
            + [z.corners for z in zones]
            + [np.array([[64.0, 64.0]])]
        )
        width, height = (int(v) + 40 for v in np.minimum(points.max(axis=0), 8000))
        frame = np.full((height, width, 3), 60, np.uint8)
    image = frame.copy()
    thick = max(1, round(image.shape[1] / 500))
    for zone in zones:
        cv2.polylines(image, [np.round(zone.corners).astype(np.int32)], True, (255, 255, 255), thick, cv2.LINE_AA)
        corner = np.round(zone.corners.mean(axis=0)).astype(int)
        cv2.putText(
            image,
            zone.name,
            (int(corner[0]), int(corner[1])),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.5 * thick,
            (255, 255, 255),
            thick,
            cv2.LINE_AA,
        )
    for k, m in enumerate(measured):
        for a, b in zip(m.points, m.points[1:], strict=False):
            if np.isfinite([a, b]).all():
                cv2.line(
                    image, tuple(map(round, a)), tuple(map(round, b)), COLOURS[k % len(COLOURS)], 2 * thick, cv2.LINE_AA
                )
    return encode_image(image, quality=88)


def _chart(measured: Sequence[TargetMeasurements], what: str, width: int = 900, height: int = 220) -> str:
    """A line per target as svg, without scripts."""
    values = [getattr(m, what) for m in measured]
    known = np.concatenate([v[np.isfinite(v)] for v in values])
    if not len(known):
        return "<p>Nothing is known.</p>"
    top = float(np.percentile(known, 99.5)) * 1.1 or 1.0
    start, end = min(m.seconds[0] for m in measured), max(m.seconds[-1] for m in measured)
    span, lines = max(end - start, 1e-9), []
    for k, (m, value) in enumerate(zip(measured, values, strict=True)):
        b, g, r = COLOURS[k % len(COLOURS)]
        path, pen = [], "M"
        for s, v in zip(m.seconds, value, strict=True):
            if not np.isfinite(v):
                pen = "M"
                continue
            path.append(
                f"{pen}{50 + (width - 60) * (s - start) / span:.1f},{height - 25 - (height - 35) * min(v / top, 1):.1f}"
            )
            pen = "L"
        lines.append(f'<path d="{"".join(path)}" fill="none" stroke="rgb({r},{g},{b})" stroke-width="1.6"/>')
    marks = (
        "".join(
            f'<text x="45" y="{height - 21 - (height - 35) * share:.0f}" text-anchor="end">{top * share:.3g}</text>'
            for share in (0, 0.5, 1)
        )
        + f'<text x="50" y="{height - 6}">{start:.1f} s</text><text x="{width - 10}" y="{height - 6}" '
        f'text-anchor="end">{end:.1f} s</text>'
    )
    axis = f'<path d="M50,10V{height - 25}H{width - 10}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'
    return (
        f'<svg viewBox="0 0 {width} {height}" font-size="11" fill="currentColor" role="img" aria-label="{what} '
        f'over time">{axis}{marks}{"".join(lines)}</svg>'
    )
