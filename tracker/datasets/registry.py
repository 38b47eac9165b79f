"""Data sets by name. Nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracker.datasets.base import Dataset, SequenceData
from tracker.datasets.folder import load_folder
from tracker.datasets.got10k import load_got10k
from tracker.datasets.lasot import load_lasot
from tracker.datasets.nfs import load_nfs
from tracker.datasets.otb import load_dtb70, load_otb
from tracker.datasets.tcolor128 import load_tcolor128
from tracker.datasets.trackingnet import load_trackingnet
from tracker.datasets.uav import load_uav
from tracker.datasets.vot import load_vot
from tracker.errors import SourceError, reading, shown
from tracker.files import as_path

__all__ = ["DATASETS", "Dataset", "SequenceData", "load_dataset", "with_truth"]


@dataclass(frozen=True)
class _Entry:
    load: Callable[[Path, str | None, str | None], Dataset]
    subsets: str = ""


DATASETS: dict[str, _Entry] = {
    "got10k": _Entry(lambda root, subset, names: load_got10k(root, subset or "val", names), "val, test, train"),
    "otb": _Entry(lambda root, subset, names: load_otb(root, "otb", names)),
    "otb2013": _Entry(lambda root, subset, names: load_otb(root, "otb2013", names)),
    "otb50": _Entry(lambda root, subset, names: load_otb(root, "otb50", names)),
    "otb100": _Entry(lambda root, subset, names: load_otb(root, "otb100", names)),
    "vot": _Entry(load_vot, "2013 ... 2019"),
    "lasot": _Entry(lambda root, subset, names: load_lasot(root, subset or "test", names), "test, train"),
    "uav123": _Entry(lambda root, subset, names: load_uav(root, "UAV123", names)),
    "uav20l": _Entry(lambda root, subset, names: load_uav(root, "UAV20L", names)),
    "nfs": _Entry(lambda root, subset, names: load_nfs(root, subset or "30", names), "30, 240"),
    "tcolor128": _Entry(lambda root, subset, names: load_tcolor128(root, names)),
    "dtb70": _Entry(lambda root, subset, names: load_dtb70(root, names)),
    "trackingnet": _Entry(lambda root, subset, names: load_trackingnet(root, subset or "test", names), "test, train"),
    "folder": _Entry(lambda root, subset, names: load_folder(root, names)),
}


def with_truth(dataset: Dataset, what: str) -> Dataset:
    """Returns a data set whose ground truth is public beyond the first boxes.

    Args:
        dataset: The loaded data set.
        what: The intended use, for the message: "tuned on", "measured on".

    Raises:
        SourceError: Its ground truth is withheld.
    """
    if dataset.truth_withheld:
        raise SourceError(
            f"The truth of {dataset.title} is withheld but for first boxes: nothing can be {what} it; take another "
            "subset."
        )
    return dataset


def load_dataset(key: str, root: str | Path, subset: str | None = None, sequences: str | None = None) -> Dataset:
    """Reads a data set's annotations (not its images).

    A sequence that can't be read is reported by a warning and in `Dataset.failures`, and left out.

    Args:
        key: One of `DATASETS`.
        root: The folder that holds it.
        subset: Split, year or frame rate, for data sets that have them; None selects the usual one.
        sequences: Glob pattern of the sequences to read, or several separated by commas; None for all. Others are not
            opened.

    Raises:
        SourceError: Unknown name or subset, or a folder that isn't laid out like it; the message names what was
            expected where.
    """
    if not isinstance(key, str) or key not in DATASETS:
        raise SourceError(f"There is no data set {shown(key)}; choose one of {', '.join(DATASETS)}.")
    root = as_path(root, SourceError, "data set's folder")
    with reading(lambda why: SourceError(f"The folder {shown(str(root))} of --root can't be read: {why}.")):
        there = root.exists()
    if not there:
        raise SourceError(
            f"The data folder {root} doesn't exist; nothing is downloaded, so get {key} first and give its folder."
        )
    if subset and not DATASETS[key].subsets:
        raise SourceError(f"The data set {key} has no subsets; leave --subset {subset} out.")
    with reading(lambda why: SourceError(f"The data set {key} in {root} can't be read: {why}.")):
        return DATASETS[key].load(root, subset, sequences)
