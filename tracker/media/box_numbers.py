"""Rows of numbers without a header: boxes, polygons or MOT, decided from all rows together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from tracker.media.box_lines import (
    DECIMAL_COMMA,
    LARGEST_ID,
    LAST_FRAME,
    NO_BOX,
    OPTION,
    BoxRow,
    Line,
    checked_box,
    number_of,
    separator_of,
    whole,
    wrong,
)


def number_rows(path: str | Path, lines: Sequence[Line], form: str) -> tuple[str, list[BoxRow]]:
    """Parses rows of numbers without a header; their count, equal in all lines, decides the format."""
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
            rows.append(BoxRow(None, 0, NO_BOX, line.number))
        elif kind == "polygon":
            xs, ys = values[0::2], values[1::2]
            rows.append(
                BoxRow(
                    None,
                    0,
                    checked_box(path, line, (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))),
                    line.number,
                )
            )
        else:
            rows.append(BoxRow(None, 0, checked_box(path, line, values), line.number))
    return kind, rows


def _is_code(values: Sequence[float]) -> bool:
    """Whether a row is the single number that VOT results contain where there is no region."""
    return len(values) == 1 and values[0] in (0, 1, 2)


def numbers(path: str | Path, line: Line) -> list[float]:
    """The values of a line of numbers; none for an empty line, and for one of separators alone.

    If there are semicolons or tabs, they separate and decimals may be written with a comma; otherwise commas or blanks
    separate.

    Raises:
        BoxError: Something isn't a number, or the separator is ambiguous.
    """
    text = line.text.split("#")[0].strip()
    separator = separator_of(text)
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
    numbers = [number_of(cell, decimal_comma=separator in ";\t") for cell in cells]
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
                "its commas may be decimal commas, or stand between x and y of four corners; write decimals with a "
                "point",
            )
    return known


def _kind(path: str | Path, rows: Sequence[tuple[Line, list[float]]], form: str) -> str:
    """The format of rows of numbers: boxes, polygon or mot."""
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
            f"its {count} values are no row of MOT ({why}); {OPTION}, or put a header like frame,id,x,y,w,h above "
            "the rows",
        )
    raise wrong(
        path,
        line,
        f"it has {count} values; expected 4 (x,y,w,h), 8 (a polygon), or 6 to 10 (MOT: frame,id,x,y,w,h,...); "
        "a header above the rows, like frame,x,y,w,h, names any other columns",
    )


def _is_mot(values: Sequence[float]) -> bool:
    """Whether numbers can be frame,id,x,y,w,h,conf,class,...; with six or seven numbers, a fifth of at most 1 is more
    likely a score after x,y,w,h."""
    frame, target = whole(values[0], 1, LAST_FRAME), whole(values[1], -1, LARGEST_ID)
    # Eight values can be a polygon too, whose last corner is unlikely to look like a score and a class.
    tail = len(values) != 8 or (not abs(values[6]) > 1 and whole(values[7], -1, 10_000) is not None)
    score = len(values) in (6, 7) and values[4] <= 1
    return frame is not None and target is not None and not score and tail


def _is_quad(values: Sequence[float]) -> bool:
    """Whether eight numbers are the corners of a convex quadrilateral in order."""
    points = [(values[k], values[k + 1]) for k in range(0, 8, 2)]
    turns = []
    for k in range(4):
        (ax, ay), (bx, by), (cx, cy) = points[k - 2], points[k - 1], points[k]
        turns.append((bx - ax) * (cy - by) - (by - ay) * (cx - bx))
    return all(turn > 0 for turn in turns) or all(turn < 0 for turn in turns)


def _mot_row(path: str | Path, line: Line, values: Sequence[float]) -> BoxRow:
    """Parses a row of MOT, where frames and pixels are counted from 1."""
    frame, target = whole(values[0], 1, LAST_FRAME), whole(values[1], -1, LARGEST_ID) if len(values) > 1 else None
    if frame is None or target is None:
        raise wrong(path, line, "a row of MOT begins with frame and id, whole numbers, the frame from 1")
    x, y, w, h = checked_box(path, line, values[2:6])
    return BoxRow(frame - 1, target, (x - 1, y - 1, w, h), line.number)
