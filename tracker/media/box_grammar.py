"""Parsing of box files: what separates values, which lines are rows, and which of the known formats they have.

docs/boxes.md states the rules for users. A line that fits no rule, or two of them, is refused with its number and the
reason.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

from tracker.errors import BoxError
from tracker.media.box_lines import (
    LARGEST_ID,
    LAST_FRAME,
    NO_BOX,
    BoxRow,
    Line,
    checked_box,
    number_of,
    separator_of,
    whole,
    wrong,
)
from tracker.media.box_numbers import number_rows

FORMATS = ("boxes", "polygon", "mot", "csv", "jsonl")


def parse(path: str | Path, lines: Sequence[Line], form: str) -> tuple[str, list[BoxRow]]:
    """Parses the rows of a file.

    Args:
        path: For error messages.
        lines: From `lines_of`; at least one is not empty.
        form: One of `FORMATS`, or "auto".

    Returns:
        The format and the rows, in the order of the file.

    Raises:
        BoxError: A line can't be parsed, or several formats fit.
    """
    first = next(line for line in lines if line.text)
    if form == "auto" and first.text.startswith("["):
        raise wrong(path, first, 'json must be one object a line, {"box": [x, y, w, h]}, not a list')
    if form == "jsonl" or (form == "auto" and first.text.startswith("{")):
        return "jsonl", [json_row(path, line) for line in lines if line.text]
    if form == "csv" or (form == "auto" and _is_header(first.text)):
        return "csv", csv_rows(path, lines)
    return number_rows(path, lines, form)


def _is_header(text: str) -> bool:
    return re.search(r"[A-Za-z]", re.sub(r"nan|inf|[-+.\d]e[-+\d]", "", text, flags=re.IGNORECASE)) is not None


def mot_ids(path: str | Path, rows: Sequence[BoxRow]) -> int:
    """The offset of MOT ids: 1 as in MOTChallenge, but 0 in a file that contains the id 0.

    Raises:
        BoxError: Some rows have the id -1 (no identity), others have one.
    """
    ids = {row.target for row in rows}
    if -1 in ids and len(ids) > 1:
        row = next(row for row in rows if row.target == -1)
        raise BoxError(
            f"Line {row.line} of {path} has the id -1 (no identity), other lines have ids; give every target an id "
            "of its own."
        )
    return min(*ids, 1) if len(ids) > 1 else min(next(iter(ids)), 1)


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


def json_row(path: str | Path, line: Line) -> BoxRow:
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
        return BoxRow(frame, target, NO_BOX, line.number)
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
    return BoxRow(frame, target, checked_box(path, line, values), line.number)


def csv_rows(path: str | Path, lines: Sequence[Line]) -> list[BoxRow]:
    """Parses rows under a header that names their columns."""
    top = next(k for k, line in enumerate(lines) if line.text)
    head, rest = lines[top], lines[top + 1 :]
    separator = separator_of(head.text)
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
                rows.append(BoxRow(None, 0, NO_BOX, line.number))
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
            rows.append(BoxRow(frame, target, NO_BOX, line.number))
            continue
        numbers = [number_of(value, decimal_comma=separator != ",") for value in values]
        known = [v for v in numbers if v is not None]
        if len(known) != 4:
            raise wrong(path, line, f"{', '.join(sides[:3])} or {sides[3]} is not a number")
        box = checked_box(path, line, known)
        if corners:
            box = (box[0], box[1], box[2] - box[0], box[3] - box[1])
        rows.append(BoxRow(frame, target, box, line.number))
    return rows


def _cells(text: str, separator: str) -> list[str]:
    if separator == " ":
        return text.split()
    return next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
