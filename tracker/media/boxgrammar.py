"""The lines of box files: what separates values, what counts as a row, and which of the known formats the rows are in.

docs/boxes.md states the rules for users. A line that fits no rule, or two of them, is refused with its number and the reason.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tracker.errors import BoxError

Values = tuple[float, float, float, float]
NO_BOX: Values = (math.nan, math.nan, math.nan, math.nan)
FORMATS = ("boxes", "polygon", "mot", "csv", "jsonl")
LAST_FRAME = 10_000_000
LARGEST_ID = 2**53

FRAME = {"frame", "frame_id", "frame_index", "frame_number", "frameid"}
TARGET = {"id", "target", "target_id", "track_id", "trackid", "object_id"}
SIDES = {
    "x": {"x", "left", "xmin", "x1", "x_min", "bb_left"},
    "y": {"y", "top", "ymin", "y1", "y_min", "bb_top"},
    "w": {"w", "width", "bb_width"},
    "h": {"h", "height", "bb_height"},
    "right": {"right", "xmax", "x2", "x_max"},
    "bottom": {"bottom", "ymax", "y2", "y_max"},
}
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?nan", re.IGNORECASE | re.ASCII)
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)
OPTION = "say what the lines are with --init-format (track.py) or --boxes-format (finetune.py): boxes, polygon or mot"


class Row(NamedTuple):
    """One box of one target.

    Attributes:
        frame: 0-based frame that the line names, or None where its place in the file says it.
        target: As in the file, before `mot_ids`.
        box: x, y, w, h; NaN: no box.
        line: Number of the line in the file, from 1.
    """

    frame: int | None
    target: int
    box: Values
    line: int


class Line(NamedTuple):
    """A line without the blanks around it, and its number from 1."""

    number: int
    text: str


def wrong(path: str | Path, line: Line, why: str) -> BoxError:
    """The error for a line."""
    shown = line.text if len(line.text) <= 60 else line.text[:57] + "..."
    return BoxError(f"Can't read a box from line {line.number} of {path} ({shown!r}): {why}.")


def lines_of(text: str) -> list[Line]:
    """The lines that count: comments are left out, and so are empty lines after comments at the top and at the end.

    An empty line between rows stays: in a file without frame numbers it stands for a frame without a box.
    """
    kept: list[Line] = []
    commented = False
    for number, raw in enumerate(re.split(r"\r*\n|\r", text), 1):
        line = raw.strip()
        if line.startswith("#"):
            commented = commented or not kept
        elif line or kept or not commented:
            kept.append(Line(number, line))
    while kept and not kept[-1].text:
        kept.pop()
    return kept


def parse(path: str | Path, lines: Sequence[Line], form: str) -> tuple[str, list[Row]]:
    """The rows of a file.

    Args:
        path: For messages.
        lines: From `lines_of`; not all of them empty.
        form: One of `FORMATS`, or "auto".

    Returns:
        The format and the rows, in the order of the file.

    Raises:
        BoxError: A line can't be read, or several formats fit.
    """
    first = next(line for line in lines if line.text)
    if form == "auto" and first.text.startswith("["):
        raise wrong(path, first, 'json must be one object a line, {"box": [x, y, w, h]}, not a list')
    if form == "jsonl" or (form == "auto" and first.text.startswith("{")):
        return "jsonl", [_json_row(path, line) for line in lines if line.text]
    if form == "csv" or (form == "auto" and _is_header(first.text)):
        return "csv", _csv_rows(path, lines)
    return _number_rows(path, lines, form)


def whole(value: object, low: int, high: int) -> int | None:
    """A whole number within bounds, or None."""
    if isinstance(value, str):
        text = value.strip()
        if not re.fullmatch(r"[-+]?\d{1,20}(\.0*)?", text, re.ASCII):
            return None
        value = int(text.split(".")[0])
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or value != value
        or abs(value) > LARGEST_ID
        or int(value) != value
    ):
        return None
    return int(value) if low <= value <= high else None


def _is_header(text: str) -> bool:
    return re.search(r"[A-Za-z]", re.sub(r"nan|inf|[-+.\d]e[-+\d]", "", text, flags=re.IGNORECASE)) is not None


def _json_row(path: str | Path, line: Line) -> Row:
    try:
        item = json.loads(line.text)
    except (ValueError, RecursionError):
        item = None
    if not isinstance(item, dict) or "box" not in item:
        raise wrong(path, line, 'it should be an object with "box": [x, y, w, h]')
    target = whole(item["id"], -LARGEST_ID, LARGEST_ID) if item.get("id") is not None else 0
    if target is None:
        raise wrong(path, line, "the id is not a whole number")
    frame = whole(item["frame"], 0, LAST_FRAME) if "frame" in item else None
    if frame is None and "frame" in item:
        raise wrong(path, line, f"the frame is not a whole number from 0 to {LAST_FRAME}")
    box = item["box"]
    if box is None:
        return Row(frame, target, NO_BOX, line.number)
    try:
        values = (
            [float(v) for v in box]
            if isinstance(box, list) and not any(isinstance(v, str | bool) for v in box)
            else None
        )
    except (TypeError, ValueError, OverflowError):
        values = None
    if values is None:
        raise wrong(path, line, 'it should be an object with "box": [x, y, w, h], four numbers')
    if len(values) != 4:
        raise wrong(path, line, f"the box has {len(values)} values, not four")
    return Row(frame, target, _box(path, line, values), line.number)


def _box(path: str | Path, line: Line, values: Sequence[float]) -> Values:
    """Four numbers; with a NaN among them there is no box."""
    if any(math.isinf(v) or abs(v) > LARGEST_ID for v in values):
        raise wrong(path, line, "a number is too large")
    x, y, w, h = values
    return NO_BOX if any(map(math.isnan, values)) else (x, y, w, h)


def _separator(text: str) -> str:
    """What separates the values of a line, semicolons and tabs before commas, whose decimals may be written with a comma."""
    return next((sign for sign in ";\t," if sign in text), " ")


def _number(text: str, decimal_comma: bool) -> float | None:
    text = text.strip()
    if decimal_comma and DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    return float(text) if NUMBER.fullmatch(text) else None


def _csv_rows(path: str | Path, lines: Sequence[Line]) -> list[Row]:
    """Rows under a header that names their columns."""
    top = next(k for k, line in enumerate(lines) if line.text)
    head, rest = lines[top], lines[top + 1 :]
    separator = _separator(head.text)
    names = [name.strip().lower() for name in _cells(head.text, separator)]
    while names and not names[-1]:
        names.pop()
    at = {
        key: [k for k, name in enumerate(names) if name in known]
        for key, known in {**SIDES, "frame": FRAME, "id": TARGET}.items()
    }
    corners = bool(at["right"] or at["bottom"]) and not (at["w"] or at["h"])
    sides = ("x", "y", "right", "bottom") if corners else ("x", "y", "w", "h")
    if not all(at[side] for side in sides):
        raise wrong(path, head, "it is neither numbers nor a header that names x, y, w and h")
    twice = next((key for key in (*sides, "frame", "id") if len(at[key]) > 1), None)
    if twice:
        raise wrong(path, head, f"the header names {twice} twice ({', '.join(names[k] for k in at[twice])})")
    rows = []
    for line in rest:
        if not line.text:
            if not at["frame"]:
                rows.append(Row(None, 0, NO_BOX, line.number))
            continue
        cells = [cell.strip() for cell in _cells(line.text, separator)]
        while len(cells) > len(names) and not cells[-1]:
            cells.pop()
        if len(cells) != len(names):
            raise wrong(path, line, f"it has {len(cells)} values, the header {len(names)}")
        frame = whole(cells[at["frame"][0]], 0, LAST_FRAME) if at["frame"] else None
        if at["frame"] and frame is None:
            raise wrong(path, line, f"the frame is not a whole number from 0 to {LAST_FRAME}")
        written = cells[at["id"][0]] if at["id"] else ""
        target = whole(written or 0, -LARGEST_ID, LARGEST_ID)
        if target is None:
            raise wrong(path, line, f"the id {written!r} is not a whole number")
        values = [cells[at[side][0]] for side in sides]
        if not any(values):
            rows.append(Row(frame, target, NO_BOX, line.number))
            continue
        numbers = [_number(value, decimal_comma=separator != ",") for value in values]
        known = [v for v in numbers if v is not None]
        if len(known) != 4:
            raise wrong(path, line, f"{', '.join(sides[:3])} or {sides[3]} is not a number")
        box = _box(path, line, known)
        if corners:
            box = (box[0], box[1], box[2] - box[0], box[3] - box[1])
        rows.append(Row(frame, target, box, line.number))
    return rows


def _cells(text: str, separator: str) -> list[str]:
    if separator == " ":
        return text.split()
    return next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])


def _number_rows(path: str | Path, lines: Sequence[Line], form: str) -> tuple[str, list[Row]]:
    """Rows of numbers without a header: how many there are, in all lines alike, says what they are."""
    table: list[tuple[Line, list[float]]] = []
    for line in lines:
        table.append((line, numbers(path, line)))
    full = [(line, values) for line, values in table if values and not _is_code(values)]
    for line, values in full:
        if len(values) != len(full[0][1]):
            raise wrong(
                path,
                line,
                f"it has {len(values)} values, line {full[0][0].number} has {len(full[0][1])}; all lines must be alike",
            )
    kind = _kind(path, full, form) if full else "boxes"
    if kind == "mot":
        return kind, [_mot_row(path, line, values) for line, values in table if values]
    rows = []
    for line, values in table:
        if not values or _is_code(values):
            rows.append(Row(None, 0, NO_BOX, line.number))
        elif kind == "polygon":
            xs, ys = values[0::2], values[1::2]
            rows.append(
                Row(None, 0, _box(path, line, (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))), line.number)
            )
        else:
            rows.append(Row(None, 0, _box(path, line, values), line.number))
    return kind, rows


def _is_code(values: Sequence[float]) -> bool:
    """The single number that VOT results hold where there is no region."""
    return len(values) == 1 and values[0] in (0, 1, 2)


def numbers(path: str | Path, line: Line) -> list[float]:
    """The values of a line of numbers; none for an empty one, and for one of separators alone.

    Semicolons and tabs separate values whose decimals may be written with a comma; else commas do, or blanks.

    Raises:
        BoxError: Something isn't a number, or two things separate.
    """
    text = line.text.split("#")[0].strip()
    separator = _separator(text)
    cells = text.split() if separator == " " else [cell.strip() for cell in text.split(separator)]
    if separator == ",":
        spaced = [cell.split() for cell in cells]
        if any(len(parts) > 1 for parts in spaced):
            raise wrong(
                path, line, "spaces and commas both separate values; write decimals with a point, and one separator"
            )
    else:
        cells = [cell.rstrip(", ") for cell in cells]
    while cells and not cells[-1]:
        cells.pop()
    numbers = [_number(cell, decimal_comma=separator in ";\t") for cell in cells]
    known = [v for v in numbers if v is not None]
    if len(known) != len(numbers):
        bad = cells[numbers.index(None)]
        if not bad:
            raise wrong(path, line, "a value is missing between two separators")
        why = "it is not a row of numbers; expected x,y,w,h"
        raise wrong(path, line, f"{bad[:20]!r} is not a number; {why}")
    if separator in ";\t" and len(cells) == 4 and all(DECIMAL_COMMA.fullmatch(cell) for cell in cells):
        corners = [float(part) for cell in cells for part in cell.split(",")]
        if _is_quad(corners):
            raise wrong(
                path,
                line,
                "its commas may be decimal commas, or stand between x and y of four corners; write decimals with a point",
            )
    return known


def _kind(path: str | Path, rows: Sequence[tuple[Line, list[float]]], form: str) -> str:
    """What rows of numbers are: boxes, polygon or mot."""
    line, count = rows[0][0], len(rows[0][1])
    allowed = {"boxes": (4,), "polygon": (8,), "mot": (6, 7, 8, 9, 10)}
    if form in allowed:
        if count not in allowed[form]:
            fit = " or ".join(map(str, allowed[form]))
            raise wrong(path, line, f"it has {count} values, and a line of the format {form} has {fit}")
        return form
    if count == 4:
        return "boxes"
    mot = [_is_mot(values) for _, values in rows] if 6 <= count <= 10 else []
    if count == 8:
        polygons = all(_is_quad(v) or any(map(math.isnan, v)) or not any(v) for _, v in rows)
        if polygons and all(mot):
            raise wrong(
                path, line, f"its 8 values may be a polygon or a row of MOT (frame,id,x,y,w,h,conf,class); {OPTION}"
            )
        if polygons:
            return "polygon"
        if not all(mot):
            raise wrong(
                path,
                line,
                f"it has 8 values that are neither the corners of a quadrilateral nor a row of MOT; {OPTION}",
            )
        return "mot"
    if mot:
        if all(mot):
            return "mot"
        bad = rows[mot.index(False)][0]
        why = (
            "frame and id from 1, whole numbers, w above 1"
            if rows[mot.index(False)][1][0]
            else "MOT counts frames from 1, not from 0"
        )
        raise wrong(
            path,
            bad,
            f"its {count} values are no row of MOT ({why}); {OPTION}, or put a header like frame,id,x,y,w,h above the rows",
        )
    raise wrong(
        path,
        line,
        f"it has {count} values; expected 4 (x,y,w,h), 8 (a polygon), or 6 to 10 (MOT: frame,id,x,y,w,h,...); "
        "a header above the rows, like frame,x,y,w,h, names any other columns",
    )


def _is_mot(values: Sequence[float]) -> bool:
    """Whether numbers can be frame,id,x,y,w,h,conf,class,...; of six or seven, a fifth up to 1 is rather a score behind x,y,w,h."""
    frame, target = whole(values[0], 1, LAST_FRAME), whole(values[1], -1, LARGEST_ID)
    # Eight values may be a polygon too, whose last corner is hardly a score and a class.
    tail = len(values) != 8 or (not abs(values[6]) > 1 and whole(values[7], -1, 10_000) is not None)
    score = len(values) in (6, 7) and values[4] <= 1
    return frame is not None and target is not None and not score and tail


def _is_quad(values: Sequence[float]) -> bool:
    """Whether eight numbers are the corners of a convex quadrilateral, one after the other."""
    points = [(values[k], values[k + 1]) for k in range(0, 8, 2)]
    turns = []
    for k in range(4):
        (ax, ay), (bx, by), (cx, cy) = points[k - 2], points[k - 1], points[k]
        turns.append((bx - ax) * (cy - by) - (by - ay) * (cx - bx))
    return all(turn > 0 for turn in turns) or all(turn < 0 for turn in turns)


def _mot_row(path: str | Path, line: Line, values: Sequence[float]) -> Row:
    """A row of MOT: frames and pixels run from 1 there."""
    frame, target = whole(values[0], 1, LAST_FRAME), whole(values[1], -1, LARGEST_ID) if len(values) > 1 else None
    if frame is None or target is None:
        raise wrong(path, line, "a row of MOT begins with frame and id, whole numbers, the frame from 1")
    x, y, w, h = _box(path, line, values[2:6])
    return Row(frame - 1, target, (x - 1, y - 1, w, h), line.number)


def mot_ids(path: str | Path, rows: Sequence[Row]) -> int:
    """What is taken from MOT ids so that they count from 0: 1 as in MOTChallenge, but 0 in a file that has an id 0.

    Raises:
        BoxError: Some rows have the id -1 (no identity), others have one.
    """
    ids = {row.target for row in rows}
    if -1 in ids and len(ids) > 1:
        row = next(row for row in rows if row.target == -1)
        raise BoxError(
            f"Line {row.line} of {path} has the id -1 (no identity), other lines have ids; give every target an id of its own."
        )
    return min(*ids, 1) if len(ids) > 1 else min(next(iter(ids)), 1)
