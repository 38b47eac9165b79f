"""Submissions to GOT-10k and TrackingNet: the zip that the server accepts, and a check for mistakes that the server
doesn't report."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath

from tracker.datasets.base import Dataset
from tracker.errors import OutputError, SourceError, reading
from tracker.evaluation.submission_entry import MOST, Expected, check_first, check_sequence, read_boxes, several
from tracker.files import write_atomic
from tracker.metrics.result_files import paths

TRACKINGNET = 511
"""Sequences of TrackingNet's test set."""


def make_zip(folder: Path, dataset: Dataset, target: Path) -> Path:
    """Zips a tracker's result folder as the benchmark expects it, and nothing else.

    GOT-10k: a folder for each sequence at the top, with boxes and times. TrackingNet: one text file of boxes for each
    sequence.

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
    write_atomic(target, buffer.getvalue())
    return target


def check_zip(file: str | Path, dataset: Dataset | None = None, key: str = "got10k") -> list[str]:
    """Returns every mistake of a submission, as sentences.

    Args:
        file: The zip.
        dataset: The test set, if it is available: then line counts and first boxes are checked too.
        key: The benchmark, "got10k" or "trackingnet".

    Returns:
        Mistakes; empty if the server should accept it.

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
    """The relevant files of an archive, and the archive's own mistakes; no files if it can't be read."""
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
        mistakes.append(several("Files that don't belong there (hidden or __MACOSX)", [str(p) for p in junk]))
    return {p: i for p, i in names.items() if p not in junk}, mistakes


def _check_flat(archive: zipfile.ZipFile, dataset: Dataset | None) -> list[str]:
    """TrackingNet: <sequence>.txt at the top level for each of its 511 sequences, one line x,y,w,h per frame."""
    names, mistakes = _entries(archive)
    if not names:
        return mistakes
    deep = [str(p) for p in names if len(p.parts) > 1]
    odd = [p.name for p in names if p.suffix != ".txt"]
    if deep:
        mistakes.append(several("Files in folders; they must lie at the top of the archive", deep))
    if odd:
        mistakes.append(several("Files that aren't NAME.txt", odd))
    files = {p.stem: (p.name, i) for p, i in names.items() if p.suffix == ".txt"}
    wanted = {s.name: s for s in dataset.sequences} if dataset else {}
    absent, unknown = [n for n in wanted if n not in files], [n for n in files if wanted and n not in wanted]
    if absent:
        mistakes.append(several(f"{len(absent)} of {len(wanted)} sequences are missing", absent))
    if unknown:
        mistakes.append(several("Files that aren't test sequences", unknown))
    if dataset is None and len(files) != TRACKINGNET:
        mistakes.append(f"There are {len(files)} sequences; the test set has {TRACKINGNET}.")
    contents: list[str] = []
    for stem, (name, info) in files.items():
        rows, wrong = read_boxes(archive.read(info), name)
        contents += wrong
        sequence = wanted.get(stem)
        if rows is None or sequence is None:
            continue
        if len(rows) != len(sequence):
            contents.append(f"{name}: {len(rows)} lines for {len(sequence)} frames.")
        contents += check_first(rows[0], sequence.init, name)
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
        mistakes.append(several(f"{len(absent)} of {len(expected.frames)} sequences are missing", absent))
    if unknown:
        hint = (
            " (these are validation sequences; the server takes the test set)"
            if any("_Val_" in n for n in unknown)
            else ""
        )
        mistakes.append(several(f"Folders that aren't test sequences{hint}", unknown))
    contents: list[str] = []
    for name in expected.frames:
        if name in sequences:
            contents += check_sequence(archive, {p: i for p, i in found.items() if p.parts[0] == name}, name, expected)
    return mistakes + _capped(contents)


def _capped(contents: list[str]) -> list[str]:
    """The first few mistakes, and how many more there are."""
    return contents[: 4 * MOST] + (
        [f"... and {len(contents) - 4 * MOST} more like these."] if len(contents) > 4 * MOST else []
    )


def _top(names: set[PurePosixPath], wanted: set[str]) -> tuple[PurePosixPath, list[str]]:
    """The folder inside the archive that holds the sequences: the top itself, or one folder (the server takes both)."""
    tops = {PurePosixPath(*p.parts[:k]) for p in names for k, part in enumerate(p.parts) if part in wanted}
    if not tops:
        return PurePosixPath(), []
    if len(tops) > 1:
        return min(tops, key=lambda p: len(p.parts)), [
            several("Sequences lie in several folders", sorted(str(t) for t in tops))
        ]
    top = tops.pop()
    if len(top.parts) > 1:
        return top, [
            f"The sequences lie too deep, in {top}/; zip the contents of the tracker's folder, not the folders above "
            "it."
        ]
    return top, []
