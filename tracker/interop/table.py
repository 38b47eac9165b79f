"""Tracks as a table: for pandas, and read back from the csv that `--save-boxes` writes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracker.errors import SourceError
from tracker.files import read_text
from tracker.types import Track, TrackState

COLUMNS = ("frame", "timestamp", "id", "x", "y", "w", "h", "score", "state")


def to_pandas(tracks: Iterable[Track]) -> Any:
    """A `pandas.DataFrame` with a row per track and the columns of `--save-boxes`; a lost target's box is NaN.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    import pandas

    rows = []
    for track in tracks:
        box = track.box if track.visible else np.full(4, np.nan)
        stamp = math.nan if track.timestamp is None else track.timestamp
        rows.append((track.index, stamp, track.target_id, *map(float, box), track.score, track.state.value))
    return pandas.DataFrame(rows, columns=list(COLUMNS))


def from_pandas(table: Any) -> list[Track]:
    """Rows of such a table as tracks.

    Raises:
        SourceError: A column is missing.
    """
    missing = [name for name in ("frame", "x", "y", "w", "h") if name not in table.columns]
    if missing:
        raise SourceError(
            f"The table has no column {missing[0]!r}; it needs frame, x, y, w, h (and id, score, state, timestamp "
            "where known)."
        )
    return [_track(row) for row in table.to_dict("records")]


def read_tracks(path: str | Path) -> list[Track]:
    """The csv of `siamtrack track --save-boxes`.

    Raises:
        SourceError: It can't be read, or isn't such a file.
    """
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise SourceError(f"Can't read {path}: {getattr(error, 'strerror', None) or error}.") from None
    reader = csv.DictReader(io.StringIO(text, newline=None))
    names = [(name or "").strip() for name in reader.fieldnames or []]
    if not {"frame", "x", "y", "w", "h"} <= set(names):
        raise SourceError(
            f"{path} isn't a csv of tracks: its first line must name frame, x, y, w and h, as --save-boxes OUT.csv "
            "writes it."
        )
    out = []
    for row in reader:
        try:
            out.append(_track(row))
        except (ValueError, TypeError):
            raise SourceError(f"Can't read line {reader.line_num} of {path}: a number is missing or wrong.") from None
    return out


def _track(row: dict[str, Any]) -> Track:
    cells = [row[key] for key in "xywh"]
    empty = all(cell in ("", None) or (isinstance(cell, float) and math.isnan(cell)) for cell in cells)
    stamp = row.get("timestamp")
    known = stamp not in ("", None) and not (isinstance(stamp, float) and math.isnan(stamp))
    state = TrackState(str(row.get("state") or ("lost" if empty else "tracking")))
    return Track(
        box=np.full(4, np.nan) if empty else np.array([float(cell) for cell in cells]),
        score=float(row.get("score") or 0.0) if row.get("score") not in ("", None) else 1.0,
        state=TrackState.LOST if empty else state,
        index=int(row["frame"]),
        timestamp=float(stamp) if known else None,  # type: ignore[arg-type]
        target_id=int(float(row.get("id") or 0)),
    )


def by_target(tracks: Sequence[Track]) -> dict[int, list[Track]]:
    """Tracks of each target, by frame."""
    out: dict[int, list[Track]] = {}
    for track in sorted(tracks, key=lambda t: (t.target_id, t.index)):
        out.setdefault(track.target_id, []).append(track)
    return out
