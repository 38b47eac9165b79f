"""Zones as polygons: when a target is in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracker.errors import SiamTrackError
from tracker.files import read_text


@dataclass(frozen=True)
class Zone:
    """A polygon in pixels: (n, 2) corners, with a name."""

    name: str
    corners: NDArray[np.float64]

    def holds(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(m,) which of (m, 2) points are inside, by the even-odd rule (Shimrat 1962); NaN is outside."""
        x, y = points[:, 0], points[:, 1]
        inside = np.zeros(len(points), bool)
        with np.errstate(invalid="ignore", divide="ignore"):
            for (ax, ay), (bx, by) in zip(self.corners, np.roll(self.corners, -1, axis=0), strict=True):
                crosses = (ay > y) != (by > y)
                inside ^= crosses & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
        return inside


def parse_zone(text: str) -> Zone:
    """`NAME=x1,y1,x2,y2,x3,y3,...` -> Zone.

    Raises:
        SiamTrackError: Fewer than three corners, or no numbers.
    """
    name, _, rest = text.partition("=")
    try:
        numbers = [float(v) for v in rest.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if not name.strip() or len(numbers) < 6 or len(numbers) % 2:
        raise SiamTrackError(
            f"{text!r} is not a zone; write NAME=x1,y1,x2,y2,x3,y3 with at least three corners in pixels."
        )
    return Zone(name.strip(), np.array(numbers).reshape(-1, 2))


def read_zones(path: str | Path) -> list[Zone]:
    """A json file: {"pool": [[x, y], [x, y], [x, y]], ...}.

    Raises:
        SiamTrackError: It can't be read, or a zone has fewer than three corners.
    """
    try:
        data = json.loads(read_text(path))
        zones = [Zone(str(name), np.asarray(corners, dtype=np.float64)) for name, corners in data.items()]
        if any(zone.corners.ndim != 2 or zone.corners.shape[1] != 2 or len(zone.corners) < 3 for zone in zones):
            raise ValueError("a zone needs at least three corners [x, y]")
        return zones
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SiamTrackError(
            f'Can\'t read zones from {path}: {error}; write {{"pool": [[0, 0], [200, 0], [200, 90]]}}.'
        ) from None


def time_in_zones(
    points: NDArray[np.float64], seconds: NDArray[np.float64], zones: Sequence[Zone]
) -> list[dict[str, float | str]]:
    """For each zone: frames and seconds in it, how often it was entered, and when first.

    Args:
        points: (n, 2) positions in pixels; NaN where unknown.
        seconds: (n,) time of each.
        zones: Polygons.
    """
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    out: list[dict[str, float | str]] = []
    for zone in zones:
        inside = zone.holds(points)
        entries = int(inside[:1].sum() + (np.diff(inside.astype(np.int8)) > 0).sum())
        first = float(seconds[inside.argmax()]) if inside.any() else float("nan")
        out.append(
            {
                "zone": zone.name,
                "frames": float(inside.sum()),
                "seconds": inside.sum() * step,
                "entries": entries,
                "first": first,
            }
        )
    return out
