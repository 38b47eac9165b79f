"""Submissions to GOT-10k and TrackingNet: the zip that the server takes, and a check that names what it would answer with silence."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from tracker.datasets.base import Dataset
from tracker.errors import OutputError, SourceError, reading
from tracker.metrics.result_files import paths
from tracker.metrics.results import atomic_write

TEST_NAMES = tuple(f"GOT-10k_Test_{k:06d}" for k in range(1, 181))
TRACKINGNET = 511
"""Sequences of TrackingNet's test set."""
MOST = 12
"""How many mistakes of one kind are named before the rest is counted."""


@dataclass(frozen=True)
class Expected:
    """What is known of the test set: frames and first box per sequence (None where the data isn't at hand)."""

    frames: Mapping[str, int | None]
    first: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, dataset: Dataset | None) -> Expected:
        """From a data set, or else the 180 names of the official test set."""
        if dataset is None:
            return cls(dict.fromkeys(TEST_NAMES), {})
        return cls({s.name: len(s) for s in dataset.sequences}, {s.name: s.init for s in dataset.sequences})


def make_zip(folder: Path, dataset: Dataset, target: Path) -> Path:
    """Zip a tracker's result folder the way the benchmark takes it, nothing else in it.

    GOT-10k: a folder for each sequence at the top, with boxes and times. TrackingNet: one text file of boxes for each sequence.

    Raises:
        OutputError: A sequence has no result yet.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in dataset.names:
            boxes, times = paths(folder, dataset.layout, name)
            for path in (boxes, times) if dataset.rules == "got10k" else (boxes,):
                if not path.is_file():
                    raise OutputError(
                        f"{path} is missing, so there is nothing to submit yet; run the evaluation to its end first."
                    )
                # A fixed date: the same results make the same bytes.
                archive.writestr(
                    zipfile.ZipInfo(path.relative_to(folder).as_posix(), (2020, 1, 1, 0, 0, 0)), path.read_bytes()
                )
    atomic_write(target, buffer.getvalue())
    return target


def check_zip(file: str | Path, dataset: Dataset | None = None, key: str = "got10k") -> list[str]:
    """Every mistake of a submission, as sentences.

    Args:
        file: The zip.
        dataset: The test set, if it is at hand: then line counts and first boxes are checked too.
        key: Whose submission it is, "got10k" or "trackingnet".

    Returns:
        Mistakes; empty if the server should take it.

    Raises:
        SourceError: There is no such file.
    """
    path = Path(file)
    if not path.is_file():
        raise SourceError(f"There is no file {path}.")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError):
        return [f"{path.name} is not a zip archive (a .rar, .7z or .tar.gz under another name isn't accepted)."]
    with archive:
        with reading(lambda why: SourceError(f"The archive {path} can't be read: {why}; zip the results again.")):
            if key == "trackingnet":
                return _check_flat(archive, dataset)
            return _check(archive, Expected.of(dataset))


def _entries(archive: zipfile.ZipFile) -> tuple[dict[PurePosixPath, zipfile.ZipInfo], list[str]]:
    """The files of an archive without junk, and what is wrong with the archive; no files where it can't be looked into."""
    mistakes: list[str] = []
    entries = [i for i in archive.infolist() if not i.is_dir()]
    if not entries:
        return {}, ["The archive is empty."]
    if any(i.flag_bits & 1 for i in entries):
        return {}, ["The archive is encrypted; the server can't open it."]
    bad = archive.testzip()
    if bad:
        return {}, [f"The archive is damaged: {bad} doesn't match its checksum."]
    if any("\\" in i.orig_filename for i in entries):
        mistakes.append("File names hold backslashes; zip them again with a program that writes forward slashes.")
    names = {PurePosixPath(i.filename.replace("\\", "/")): i for i in entries}
    junk = [p for p in names if "__MACOSX" in p.parts or p.name.startswith(".")]
    if junk:
        mistakes.append(_several("Files that don't belong there (hidden or __MACOSX)", [str(p) for p in junk]))
    return {p: i for p, i in names.items() if p not in junk}, mistakes


def _check_flat(archive: zipfile.ZipFile, dataset: Dataset | None) -> list[str]:
    """TrackingNet: <sequence>.txt at the top for each of its 511 sequences, a line x,y,w,h for each frame."""
    names, mistakes = _entries(archive)
    if not names:
        return mistakes
    deep = [str(p) for p in names if len(p.parts) > 1]
    odd = [p.name for p in names if p.suffix != ".txt"]
    if deep:
        mistakes.append(_several("Files in folders; they must lie at the top of the archive", deep))
    if odd:
        mistakes.append(_several("Files that aren't NAME.txt", odd))
    files = {p.stem: (p.name, i) for p, i in names.items() if p.suffix == ".txt"}
    wanted = {s.name: s for s in dataset.sequences} if dataset else {}
    absent, unknown = [n for n in wanted if n not in files], [n for n in files if wanted and n not in wanted]
    if absent:
        mistakes.append(_several(f"{len(absent)} of {len(wanted)} sequences are missing", absent))
    if unknown:
        mistakes.append(_several("Files that aren't test sequences", unknown))
    if dataset is None and len(files) != TRACKINGNET:
        mistakes.append(f"There are {len(files)} sequences; the test set has {TRACKINGNET}.")
    contents: list[str] = []
    for stem, (name, info) in files.items():
        rows, wrong = _boxes(archive.read(info), name)
        contents += wrong
        sequence = wanted.get(stem)
        if rows is None or sequence is None:
            continue
        if len(rows) != len(sequence):
            contents.append(f"{name}: {len(rows)} lines for {len(sequence)} frames.")
        contents += _first(rows[0], sequence.init, name)
    return mistakes + _capped(contents)


def _check(archive: zipfile.ZipFile, expected: Expected) -> list[str]:
    names, mistakes = _entries(archive)
    if not names:
        return mistakes
    top, wrong = _top(set(names), set(expected.frames))
    mistakes += wrong
    found = {p.relative_to(top): i for p, i in names.items() if p.is_relative_to(top)}
    sequences = {p.parts[0] for p in found if len(p.parts) > 1}
    absent = [n for n in expected.frames if n not in sequences]
    unknown = sorted(sequences - set(expected.frames))
    if absent:
        mistakes.append(_several(f"{len(absent)} of {len(expected.frames)} sequences are missing", absent))
    if unknown:
        hint = (
            " (these are validation sequences; the server takes the test set)"
            if any("_Val_" in n for n in unknown)
            else ""
        )
        mistakes.append(_several(f"Folders that aren't test sequences{hint}", unknown))
    contents: list[str] = []
    for name in expected.frames:
        if name in sequences:
            contents += _check_sequence(archive, {p: i for p, i in found.items() if p.parts[0] == name}, name, expected)
    return mistakes + _capped(contents)


def _capped(contents: list[str]) -> list[str]:
    """The first mistakes of many, and how many more there are."""
    return contents[: 4 * MOST] + (
        [f"... and {len(contents) - 4 * MOST} more like these."] if len(contents) > 4 * MOST else []
    )


def _first(row: np.ndarray, given: np.ndarray, name: str) -> list[str]:
    """What is wrong with a first line, which must be the given box."""
    if np.abs(row - given).max() <= 0.51:
        return []
    off = np.allclose(row - given, [1, 1, 0, 0], atol=0.51)
    shift = " (it is off by one: boxes must be 0-based the way the data is)" if off else ""
    return [f"{name}: line 1 must be the given box {given.tolist()}, not {row.tolist()}{shift}."]


def _several(what: str, items: list[str]) -> str:
    more = f" and {len(items) - MOST} more" if len(items) > MOST else ""
    return f"{what}: {', '.join(items[:MOST])}{more}."


def _top(names: set[PurePosixPath], wanted: set[str]) -> tuple[PurePosixPath, list[str]]:
    """The folder inside the archive that holds the sequences: the top itself, or one folder (the server takes both)."""
    tops = {PurePosixPath(*p.parts[:k]) for p in names for k, part in enumerate(p.parts) if part in wanted}
    if not tops:
        return PurePosixPath(), []
    if len(tops) > 1:
        return min(tops, key=lambda p: len(p.parts)), [
            _several("Sequences lie in several folders", sorted(str(t) for t in tops))
        ]
    top = tops.pop()
    if len(top.parts) > 1:
        return top, [
            f"The sequences lie too deep, in {top}/; zip the contents of the tracker's folder, not the folders above it."
        ]
    return top, []


def _check_sequence(
    archive: zipfile.ZipFile, files: dict[PurePosixPath, zipfile.ZipInfo], name: str, expected: Expected
) -> list[str]:
    out: list[str] = []
    pattern = re.compile(re.escape(name) + r"_(\d{3}|time)\.txt")
    odd = [p.name for p in files if len(p.parts) != 2 or not pattern.fullmatch(p.name)]
    if odd:
        out.append(_several(f"{name}: file names other than {name}_001.txt and {name}_time.txt", odd))
    runs = sorted(p for p in files if len(p.parts) == 2 and re.fullmatch(re.escape(name) + r"_\d{3}\.txt", p.name))
    if not runs or runs[0].name != f"{name}_001.txt":
        out.append(f"{name}: {name}_001.txt is missing.")
    if len(runs) > 3:
        out.append(f"{name}: {len(runs)} repetitions; at most three count.")
    count = expected.frames[name]
    for path in runs:
        rows, mistakes = _boxes(archive.read(files[path]), path.name)
        out += mistakes
        if rows is None:
            continue
        if count is not None and len(rows) != count:
            out.append(f"{path.name}: {len(rows)} lines for {count} frames.")
        count = len(rows) if count is None else count
        first = expected.first.get(name)
        if first is not None:
            out += _first(rows[0], first, path.name)
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


def _boxes(data: bytes, name: str) -> tuple[np.ndarray | None, list[str]]:
    lines, out = _decode(data, name)
    rows: list[list[float]] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            out.append(f"{name} line {number}: empty line.")
            break
        if "," not in text and len(text.split()) > 1:
            out.append(
                f"{name} line {number}: values are separated by {'tabs' if chr(9) in text else 'spaces'}; they must be commas."
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
            f"{name}: {given} columns for {runs} repetition(s); the toolkit appends one per run, so delete the file before a new run."
        )
    if any(v < 0 for row in table for v in row if math.isfinite(v)):
        out.append(f"{name}: a time is below 0.")
    return out
