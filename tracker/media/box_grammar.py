"""The lines of box files: what separates values, what counts as a row, and which of the known formats the rows are in.

docs/boxes.md states the rules for users. A line that fits no rule, or two of them, is refused with its number and the
reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tracker.errors import BoxError
from tracker.media.box_columns import csv_rows, json_row
from tracker.media.box_lines import (
    Line,
    Row,
    wrong,
)
from tracker.media.box_numbers import number_rows

FORMATS = ("boxes", "polygon", "mot", "csv", "jsonl")


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
        return "jsonl", [json_row(path, line) for line in lines if line.text]
    if form == "csv" or (form == "auto" and _is_header(first.text)):
        return "csv", csv_rows(path, lines)
    return number_rows(path, lines, form)


def _is_header(text: str) -> bool:
    return re.search(r"[A-Za-z]", re.sub(r"nan|inf|[-+.\d]e[-+\d]", "", text, flags=re.IGNORECASE)) is not None


def mot_ids(path: str | Path, rows: Sequence[Row]) -> int:
    """What is taken from MOT ids so that they count from 0: 1 as in MOTChallenge, but 0 in a file that has an id 0.

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
