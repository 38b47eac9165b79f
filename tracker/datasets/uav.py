"""UAV123 and UAV20L (Mueller et al., ECCV 2016) in their original layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tracker.datasets.annotation_text import (
    annotated,
    derived_attributes,
    read_table,
)
from tracker.datasets.base import Dataset, SequenceData, gather
from tracker.datasets.package_tables import check_counts, package_table
from tracker.errors import SourceError


def load_uav(root: Path, version: str = "UAV123", pattern: str | None = None) -> Dataset:
    """UAV123 and UAV20L (Mueller, Smith, Ghanem, ECCV 2016): ROOT/anno/<version>/*.txt,
    ROOT/data_seq/UAV123/<folder>/%06d.jpg.

    Frames without a target are annotated NaN; they don't count.
    """
    table = package_table("uav123.json")[version]
    files = sorted(f for f in (root / "anno" / version).glob("*.txt") if f.stem in table)
    if not files:
        raise SourceError(
            f"No annotations of {version} in {root / 'anno' / version}; expected ROOT/anno/{version}/bike1.txt and "
            "ROOT/data_seq/UAV123/bike1/000001.jpg."
        )

    def read(file: Path) -> SequenceData:
        entry, truth = table[file.stem], read_table(file)
        folder = root / "data_seq" / "UAV123" / entry["folder_name"]
        frames = [str(folder / f"{k:06d}.jpg") for k in range(entry["start_frame"], entry["end_frame"] + 1)]
        check_counts(frames, truth, file)
        if not Path(frames[0]).is_file():
            raise SourceError(f"The first image of {file.stem} is missing: {frames[0]}.")
        return SequenceData(
            file.stem, tuple(frames), truth, annotated(truth), truth[0], attributes=derived_attributes(truth)
        )

    title = version if len(files) == len(table) else f"{version}, {len(files)} of {len(table)} sequences"
    return gather(
        [(f.stem, partial(read, f)) for f in files], pattern, Dataset(version.lower(), title, version, "otb", "otb", ())
    )
