"""Result files in the layout of the got10k package, so that results can be exchanged with its toolkit.

GOT-10k   <folder>/<tracker>/<sequence>/<sequence>_001.txt (%.3f, commas), <sequence>_time.txt (%.8f seconds)
OTB ...   <folder>/<tracker>/<sequence>.txt, <folder>/<tracker>/times/<sequence>_time.txt
VOT       <folder>/<tracker>/baseline/<sequence>/<sequence>_001.txt (1 initialised, 2 failed, 0 skipped, or a box),
          _time.txt
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracker.datasets.annotation_text import annotation_text
from tracker.datasets.base import Dataset, SequenceData
from tracker.errors import BoxError, OutputError, SourceError
from tracker.files import write_atomic
from tracker.media.box_lines import Line
from tracker.media.box_numbers import numbers
from tracker.metrics.results import FAILURE, INIT, SKIPPED, TRACKED, SequenceResult


def paths(folder: Path, layout: str, sequence: str) -> tuple[Path, Path]:
    """The box file and the time file of a sequence in a tracker's folder."""
    if layout == "got10k":
        return folder / sequence / f"{sequence}_001.txt", folder / sequence / f"{sequence}_time.txt"
    if layout == "vot":
        base = folder / "baseline" / sequence
        return base / f"{sequence}_001.txt", base / f"{sequence}_time.txt"
    return folder / f"{sequence}.txt", folder / "times" / f"{sequence}_time.txt"


def write(folder: Path, layout: str, result: SequenceResult) -> None:
    """Write a result's two text files, each atomically (the box file last, because its presence means done)."""
    boxes, times = paths(folder, layout, result.sequence)
    if result.codes is not None:
        lines = [
            ",".join(f"{v:.4f}" for v in b) if c == TRACKED else str(int(c))
            for b, c in zip(result.boxes, result.codes, strict=True)
        ]
        clock = ["NaN" if math.isnan(t) else f"{t:.4f}" for t in result.times]
    else:
        lines = [",".join(f"{v:.3f}" for v in b) for b in result.boxes]
        clock = [f"{t:.8f}" for t in result.times]
    write_atomic(times, "\n".join(clock) + "\n")
    write_atomic(boxes, "\n".join(lines) + "\n")


def claim(folder: Path, fingerprint: str) -> None:
    """Reserves a tracker's folder for a fingerprint: results of another fingerprint are moved aside, foreign ones are
    left alone.

    Raises:
        OutputError: The folder holds results that this program didn't write.
    """
    owner = folder.with_name(folder.name + ".json")
    if folder.is_dir() and any(folder.iterdir()):
        if not owner.is_file():
            raise OutputError(
                f"{folder} holds results that weren't written by this program; choose another --output or label."
            )
        old = str(json.loads(owner.read_text(encoding="utf-8")).get("fingerprint", ""))
        if old != fingerprint:
            target = folder.with_name(f"{folder.name}@{old[:12]}")
            while target.exists():
                target = target.with_name(target.name + "+")
            folder.rename(target)
            owner.rename(target.with_name(target.name + ".json"))
    write_atomic(owner, json.dumps({"fingerprint": fingerprint}, indent=1) + "\n")


def find_results(folder: str | Path, dataset: Dataset) -> dict[str, Path]:
    """Trackers with results for a data set in a given folder: the tracker's own folder, a folder of trackers, or the
    root above.

    Returns:
        Tracker name -> folder.

    Raises:
        SourceError: There are none; the message names what was expected.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SourceError(f"The results folder {root} doesn't exist.")
    places = [root, root / dataset.results_folder]
    for place in places:
        candidates = (
            [place, *sorted(p for p in place.iterdir() if p.is_dir() and "@" not in p.name)] if place.is_dir() else []
        )
        found = {
            p.resolve().name: p
            for p in candidates
            if any(paths(p, dataset.layout, n)[0].is_file() for n in dataset.names)
        }
        if found:
            return found
    example = paths(Path("TRACKER"), dataset.layout, dataset.names[0])[0]
    raise SourceError(
        f"No results for {dataset.title} in {root}; expected {root / dataset.results_folder / example} or "
        f"{root / example}."
    )


def read_results(folder: Path, tracker: str, dataset: Dataset) -> list[SequenceResult]:
    """Reads the results of an external tracker on every sequence; a missing or malformed file is an error that names
    it.

    Of several repetitions (_001, _002, ...) the first is used.
    """
    return [_read(folder, tracker, dataset, sequence) for sequence in dataset.sequences]


def _read(folder: Path, tracker: str, dataset: Dataset, sequence: SequenceData) -> SequenceResult:
    path, clock = paths(folder, dataset.layout, sequence.name)
    if not path.is_file():
        raise SourceError(
            f"{tracker} has no result for {sequence.name}: {path} is missing. Restrict the comparison with --sequences."
        )
    rows = [Line(k, line.strip()) for k, line in enumerate(annotation_text(path).splitlines(), 1) if line.strip()]
    count = len(sequence)
    if len(rows) != count:
        raise SourceError(f"{path} has {len(rows)} lines, but {sequence.name} has {count} frames.")
    boxes, codes = np.full((count, 4), np.nan), np.full(count, TRACKED, dtype=np.int8)
    for k, row in enumerate(rows):
        try:
            values = numbers(path, row)
        except BoxError as error:
            raise SourceError(f"{path} line {row.number} isn't x,y,w,h: {error}") from None
        if len(values) == 4:
            boxes[k] = values
        elif dataset.layout == "vot" and len(values) == 1 and values[0] in (SKIPPED, INIT, FAILURE):
            codes[k] = int(values[0])
        else:
            raise SourceError(f"{path} line {row.number} has {len(values)} values; expected four, x,y,w,h.")
    return SequenceResult(
        tracker=tracker,
        dataset=dataset.title,
        sequence=sequence.name,
        boxes=boxes,
        truth=sequence.truth,
        valid=sequence.valid,
        times=_times(clock, count),
        decode_times=np.full(count, np.nan),
        scores=np.full(count, np.nan),
        lost=np.zeros(count, dtype=bool),
        size=sequence.frame_size() if dataset.rules in ("got10k", "vot") and sequence.frames else sequence.size,
        attributes=sequence.attributes,
        object_class=sequence.object_class,
        frames=sequence.frames,
        codes=codes if dataset.layout == "vot" else None,
        polygons=sequence.polygons,
    )


def _times(path: Path, count: int) -> NDArray[np.float64]:
    """First column of a time file; NaN if there is none or its length doesn't match."""
    if not path.is_file():
        return np.full(count, np.nan)
    try:
        values = np.asarray(
            [float(re.split(r"[,\s]+", line.strip())[0]) for line in annotation_text(path).splitlines() if line.strip()]
        )
    except ValueError:
        raise SourceError(f"{path} isn't a time file; expected seconds, one line per frame.") from None
    return values if len(values) == count else np.full(count, np.nan)
