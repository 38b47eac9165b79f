"""Read boxes from any of the usual text formats, told apart by what is in the file."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np

from tracker.errors import BoxError
from tracker.geometry import Boxes, is_valid
from tracker.media.names import nearest
from tracker.types import Box

Row = tuple[float, float, float, float]
NO_BOX: Row = (math.nan, math.nan, math.nan, math.nan)


def read_boxes(path: str | Path) -> Boxes:
    """All boxes of one target in a file, a row per line.

    Known are: four numbers a line separated by comma, tab, semicolon or space (GOT-10k, OTB, LaSOT, VOT rectangles); eight
    numbers (a VOT polygon; its upright bounding box is taken); csv with a header that names x, y, w, h; jsonl with "box"; MOT
    with six to ten numbers starting frame,id (counted from 1; the first id in the file is read); the single-number codes of VOT
    results. Files of this package with several ids: the first id is read. Use `read_all_boxes` for the others.

    Args:
        path: The file.

    Returns:
        (N, 4) float64 xywh; NaN where the file says that there is no box. MOT pixels are moved from origin 1 to 0.

    Raises:
        BoxError: The file can't be read or holds something else; the sentence names the line.
    """
    boxes = read_all_boxes(path)
    return boxes[next(iter(boxes))]


def read_init_box(path: str | Path) -> Box:
    """The first box in a file, to start tracking from.

    Returns:
        (4,) float64 xywh.

    Raises:
        BoxError: As for `read_boxes`, or the first line has no box with an area.
    """
    box = read_boxes(path)[0]
    if not is_valid(box):
        raise BoxError(f"The first line of {path} has no box to start from (no numbers, or no area); give four, x,y,w,h.")
    return np.asarray(box)


def read_all_boxes(path: str | Path) -> dict[int, Boxes]:
    """The boxes of every target in a file, by id (0 where the format has none), in the order in which the ids appear.

    Returns:
        id -> (N, 4) float64 xywh, a row per line of that id.

    Raises:
        BoxError: As for `read_boxes`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        hint = nearest(Path(path)) if isinstance(error, FileNotFoundError) else ""
        raise BoxError(f"Can't read boxes from {path}: {error.strerror or error}.{hint}") from None
    except UnicodeDecodeError:
        raise BoxError(f"Can't read boxes from {path}: it is not a text file.") from None
    lines = [(k, line.strip()) for k, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise BoxError(f"Can't read boxes from {path}: the file is empty; its first line should be x,y,w,h.")
    first = lines[0][1]
    if first.startswith("{"):
        rows = [_json_row(path, k, line) for k, line in lines]
    elif re.search(r"[A-Za-z]", re.sub(r"nan|inf|[-+.\d]e[-+\d]", "", first, flags=re.IGNORECASE)):
        rows = _csv_rows(path, lines)
    else:
        rows = _number_rows(path, lines)
    out: dict[int, list[Row]] = {}
    for target, row in rows:
        out.setdefault(target, []).append(row)
    if not out:
        raise BoxError(f"Can't read boxes from {path}: there is a header but no row.")
    return {target: np.asarray(found, dtype=np.float64) for target, found in out.items()}


def _wrong(path: str | Path, line: int, text: str, why: str) -> BoxError:
    shown = text if len(text) <= 60 else text[:57] + "..."
    return BoxError(f"Can't read a box from line {line} of {path} ({shown!r}): {why}.")


def _json_row(path: str | Path, number: int, line: str) -> tuple[int, Row]:
    try:
        item = json.loads(line)
        box = item["box"]
        row = NO_BOX if box is None else tuple(float(v) for v in box)
        target = int(item.get("id") or 0)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _wrong(path, number, line, 'it should be an object with "box": [x, y, w, h]') from None
    if len(row) != 4:
        raise _wrong(path, number, line, f"the box has {len(row)} values, not four")
    return target, row


def _csv_rows(path: str | Path, lines: list[tuple[int, str]]) -> list[tuple[int, Row]]:
    names = [name.strip().strip('"').lower() for name in lines[0][1].split(",")]
    long = {"width": "w", "height": "h", "left": "x", "top": "y"}
    names = [long.get(name, name) for name in names]
    if not {"x", "y", "w", "h"} <= set(names):
        raise _wrong(path, lines[0][0], lines[0][1], "it is neither numbers nor a header that names x, y, w and h")
    at = [names.index(name) for name in "xywh"]
    rows: list[tuple[int, Row]] = []
    for number, line in lines[1:]:
        cells = [cell.strip().strip('"') for cell in line.split(",")]
        if len(cells) != len(names):
            raise _wrong(path, number, line, f"it has {len(cells)} values, the header {len(names)}")
        values = [cells[k] for k in at]
        try:
            target = int(cells[names.index("id")] or 0) if "id" in names else 0
            x, y, w, h = (float(v) for v in values) if any(values) else NO_BOX
        except ValueError:
            raise _wrong(path, number, line, "x, y, w or h is not a number") from None
        rows.append((target, (x, y, w, h)))
    return rows


def _number_rows(path: str | Path, lines: list[tuple[int, str]]) -> list[tuple[int, Row]]:
    rows: list[tuple[int, Row]] = []
    for number, line in lines:
        try:
            values = [float(v) for v in re.split(r"\s*[,;]\s*|\s+", line.rstrip(",; "))]
        except ValueError:
            raise _wrong(path, number, line, "it is not a row of numbers; expected x,y,w,h") from None
        rows.append(_box_of(path, number, line, values))
    return rows


def _box_of(path: str | Path, number: int, line: str, values: list[float]) -> tuple[int, Row]:
    """One row of numbers; how many there are says what it is."""
    count = len(values)
    if count == 4:
        return 0, (values[0], values[1], values[2], values[3])
    if count == 1 and values[0] in (0, 1, 2):
        return 0, NO_BOX
    if count in (6, 7, 9, 10) and values[0] >= 1 and all(v == int(v) for v in values[:2] if math.isfinite(v)) and math.isfinite(values[1]):
        # A MOT id may be -1 (detections); pixels run from 1.
        return max(int(values[1]) - 1, 0), (values[2] - 1, values[3] - 1, values[4], values[5])
    if count == 8:
        xs, ys = values[0::2], values[1::2]
        return 0, (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    raise _wrong(path, number, line, f"it has {count} values; expected 4 (x,y,w,h), 8 (a polygon), or 6 to 10 (MOT: frame,id,x,y,w,h,...)")
