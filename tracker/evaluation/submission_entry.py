"""One sequence of a submission: boxes and times as the servers parse them."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from tracker.datasets.base import Dataset


def check_first(row: np.ndarray, given: np.ndarray, name: str) -> list[str]:
    """The mistake of a first line, which must be the given box."""
    if np.abs(row - given).max() <= 0.51:
        return []
    off = np.allclose(row - given, [1, 1, 0, 0], atol=0.51)
    shift = " (it is off by one: boxes must be 0-based the way the data is)" if off else ""
    return [f"{name}: line 1 must be the given box {given.tolist()}, not {row.tolist()}{shift}."]


def several(what: str, items: list[str]) -> str:
    more = f" and {len(items) - MOST} more" if len(items) > MOST else ""
    return f"{what}: {', '.join(items[:MOST])}{more}."


def check_sequence(
    archive: zipfile.ZipFile, files: dict[PurePosixPath, zipfile.ZipInfo], name: str, expected: Expected
) -> list[str]:
    out: list[str] = []
    pattern = re.compile(re.escape(name) + r"_(\d{3}|time)\.txt")
    odd = [p.name for p in files if len(p.parts) != 2 or not pattern.fullmatch(p.name)]
    if odd:
        out.append(several(f"{name}: file names other than {name}_001.txt and {name}_time.txt", odd))
    runs = sorted(p for p in files if len(p.parts) == 2 and re.fullmatch(re.escape(name) + r"_\d{3}\.txt", p.name))
    if not runs or runs[0].name != f"{name}_001.txt":
        out.append(f"{name}: {name}_001.txt is missing.")
    if len(runs) > 3:
        out.append(f"{name}: {len(runs)} repetitions; at most three count.")
    count = expected.frames[name]
    for path in runs:
        rows, mistakes = read_boxes(archive.read(files[path]), path.name)
        out += mistakes
        if rows is None:
            continue
        if count is not None and len(rows) != count:
            out.append(f"{path.name}: {len(rows)} lines for {count} frames.")
        count = len(rows) if count is None else count
        first = expected.first.get(name)
        if first is not None:
            out += check_first(rows[0], first, path.name)
    clock = next((i for p, i in files.items() if p.name == f"{name}_time.txt"), None)
    if clock is None:
        out.append(f"{name}: {name}_time.txt is missing (seconds per frame, one column per repetition).")
    else:
        out += _clock(archive.read(clock), f"{name}_time.txt", count, len(runs))
    return out


def _decode(data: bytes, name: str) -> tuple[list[str], list[str]]:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        if data[:3] == b"\xef\xbb\xbf":
            return data[3:].decode("ascii", "replace").splitlines(), [
                f"{name}: starts with a byte order mark; save it as plain ASCII."
            ]
        return [], [f"{name}: isn't plain ASCII text."]
    return text.splitlines(), []


def read_boxes(data: bytes, name: str) -> tuple[np.ndarray | None, list[str]]:
    lines, out = _decode(data, name)
    rows: list[list[float]] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            out.append(f"{name} line {number}: empty line.")
            break
        if "," not in text and len(text.split()) > 1:
            out.append(
                f"{name} line {number}: values are separated by {'tabs' if chr(9) in text else 'spaces'}; they must "
                "be commas."
            )
            break
        parts = text.split(",")
        try:
            row = [float(p) for p in parts]
        except ValueError:
            out.append(f"{name} line {number}: not numbers: {text[:50]!r}.")
            break
        if len(row) != 4:
            out.append(f"{name} line {number}: {len(row)} values; expected x,y,w,h.")
            break
        if not all(map(math.isfinite, row)):
            out.append(f"{name} line {number}: a value is not finite: {text[:50]!r}.")
            break
        if row[2] <= 0 or row[3] <= 0:
            out.append(f"{name} line {number}: width and height must be above 0: {text[:50]!r}.")
            break
        rows.append(row)
    else:
        if rows:
            return np.asarray(rows), out
        return None, [*out, f"{name}: empty file."]
    return None, out


def _clock(data: bytes, name: str, count: int | None, runs: int) -> list[str]:
    lines, out = _decode(data, name)
    lines = [line.strip() for line in lines if line.strip()]
    try:
        table = [[float(v) for v in line.split(",")] for line in lines]
    except ValueError:
        return [*out, f"{name}: not seconds between commas."]
    if count is not None and len(table) != count:
        out.append(f"{name}: {len(table)} lines for {count} frames.")
    columns = {len(row) for row in table}
    if columns and columns != {runs}:
        given = "/".join(map(str, sorted(columns)))
        out.append(
            f"{name}: {given} columns for {runs} repetition(s); the toolkit appends one per run, so delete the file "
            "before a new run."
        )
    if any(v < 0 for row in table for v in row if math.isfinite(v)):
        out.append(f"{name}: a time is below 0.")
    return out


MOST = 12
"""Number of mistakes of one kind that are listed before the rest is only counted."""


@dataclass(frozen=True)
class Expected:
    """Known facts of the test set: frames and first box per sequence (None if the data isn't available)."""

    frames: Mapping[str, int | None]
    first: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, dataset: Dataset | None) -> Expected:
        """From a data set, or from the 180 names of the official test set."""
        if dataset is None:
            return cls(dict.fromkeys(TEST_NAMES), {})
        return cls({s.name: len(s) for s in dataset.sequences}, {s.name: s.init for s in dataset.sequences})


TEST_NAMES = tuple(f"GOT-10k_Test_{k:06d}" for k in range(1, 181))
