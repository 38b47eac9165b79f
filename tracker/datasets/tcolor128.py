"""TColor-128 (Liang et al., TIP 2015) in its original layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tracker.datasets.annotation_text import (
    annotated,
    derived_attributes,
    read_table,
)
from tracker.datasets.base import Dataset, SequenceData, gather
from tracker.errors import SourceError


def load_tcolor128(root: Path, pattern: str | None = None) -> Dataset:
    """TColor128 (Liang, Blasch, Ling, TIP 2015): ROOT/<sequence>/<sequence>_gt.txt, <sequence>_frames.txt and
    img/%04d.jpg."""
    files = sorted(root.glob("*/*_gt.txt"))
    if not files:
        raise SourceError(
            f"No annotations in {root}; expected ROOT/<sequence>/<sequence>_gt.txt, <sequence>_frames.txt and "
            "img/0001.jpg."
        )

    def read(file: Path) -> SequenceData:
        truth = read_table(file)
        ranges = sorted(file.parent.glob("*_frames.txt"))
        if not ranges:
            raise SourceError(
                f"{file.parent / (file.parent.name + '_frames.txt')} is missing; it holds the first and last frame, "
                "like 1,100."
            )
        first, last = read_table(ranges[0], columns=(2,))[0].tolist()
        if last - first + 1 != len(truth) or not 0 <= first <= last:
            raise SourceError(
                f"{ranges[0]} says frames {first:g} to {last:g}, but {file} has {len(truth)} lines; they must be as "
                "many."
            )
        frames = [str(file.parent / "img" / f"{k:04d}.jpg") for k in range(int(first), int(last) + 1)]
        name = file.parent.name
        return SequenceData(
            name, tuple(frames), truth, annotated(truth), truth[0], attributes=derived_attributes(truth)
        )

    title = "TColor128" if len(files) == 128 else f"TColor128, {len(files)} of 128 sequences"
    items = [(f.parent.name, partial(read, f)) for f in files]
    return gather(items, pattern, Dataset("tcolor128", title, "TColor128", "otb", "otb", ()))
