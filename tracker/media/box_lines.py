"""A line of a box file, its parsed row, and errors that name the line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tracker.errors import BoxError

Values = tuple[float, float, float, float]


NO_BOX: Values = (math.nan, math.nan, math.nan, math.nan)


LAST_FRAME = 10_000_000


LARGEST_ID = 2**53


NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?nan", re.IGNORECASE | re.ASCII)


DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)


OPTION = "say what the lines are with --init-format (track) or --boxes-format (finetune): boxes, polygon or mot"


class BoxRow(NamedTuple):
    """One box of one target.

    Attributes:
        frame: 0-based frame that the line names, or None if its position in the file determines it.
        target: As in the file, before `mot_ids`.
        box: x, y, w, h; NaN: no box.
        line: Number of the line in the file, from 1.
    """

    frame: int | None
    target: int
    box: Values
    line: int


class Line(NamedTuple):
    """A line without surrounding blanks, and its number from 1."""

    number: int
    text: str


def wrong(path: str | Path, line: Line, why: str) -> BoxError:
    """The error for a line."""
    shown = line.text if len(line.text) <= 60 else line.text[:57] + "..."
    return BoxError(f"Can't read a box from line {line.number} of {path} ({shown!r}): {why}.")


def lines_of(text: str) -> list[Line]:
    """The relevant lines: without comments, and without empty lines after comments at the top and at the end.

    An empty line between rows stays: in a file without frame numbers it is a frame without a box.
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


def whole(value: object, low: int, high: int) -> int | None:
    """An integer within bounds, or None."""
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


def checked_box(path: str | Path, line: Line, values: Sequence[float]) -> Values:
    """Four numbers; if one is NaN there is no box."""
    if any(math.isinf(v) or abs(v) > LARGEST_ID for v in values):
        raise wrong(path, line, "a number is too large")
    x, y, w, h = values
    return NO_BOX if any(map(math.isnan, values)) else (x, y, w, h)


def separator_of(text: str) -> str:
    """The separator of values in a line: semicolons and tabs take precedence over commas, which may then be decimal
    commas."""
    return next((sign for sign in ";\t," if sign in text), " ")


def number_of(text: str, decimal_comma: bool) -> float | None:
    text = text.strip()
    if decimal_comma and DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    return float(text) if NUMBER.fullmatch(text) else None
