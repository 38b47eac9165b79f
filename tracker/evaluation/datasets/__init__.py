"""Data sets by name. Nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracker.errors import SourceError
from tracker.evaluation.datasets.base import Dataset, SequenceData
from tracker.evaluation.datasets.folder import load_folder
from tracker.evaluation.datasets.got10k import load_got10k
from tracker.evaluation.datasets.otb import load_dtb70, load_otb
from tracker.evaluation.datasets.others import load_lasot, load_nfs, load_tcolor128, load_trackingnet, load_uav
from tracker.evaluation.datasets.vot import load_vot

__all__ = ["DATASETS", "Dataset", "SequenceData", "load_dataset"]


@dataclass(frozen=True)
class _Entry:
    load: Callable[[Path, str | None], Dataset]
    subsets: str = ""


DATASETS: dict[str, _Entry] = {
    "got10k": _Entry(lambda root, subset: load_got10k(root, subset or "val"), "val, test, train"),
    "otb": _Entry(lambda root, subset: load_otb(root, "otb")),
    "otb2013": _Entry(lambda root, subset: load_otb(root, "otb2013")),
    "otb50": _Entry(lambda root, subset: load_otb(root, "otb50")),
    "otb100": _Entry(lambda root, subset: load_otb(root, "otb100")),
    "vot": _Entry(load_vot, "2013 ... 2019"),
    "lasot": _Entry(lambda root, subset: load_lasot(root, subset or "test"), "test, train"),
    "uav123": _Entry(lambda root, subset: load_uav(root, "UAV123")),
    "uav20l": _Entry(lambda root, subset: load_uav(root, "UAV20L")),
    "nfs": _Entry(lambda root, subset: load_nfs(root, subset or "30"), "30, 240"),
    "tcolor128": _Entry(lambda root, subset: load_tcolor128(root)),
    "dtb70": _Entry(lambda root, subset: load_dtb70(root)),
    "trackingnet": _Entry(lambda root, subset: load_trackingnet(root, subset or "test"), "test, train"),
    "folder": _Entry(lambda root, subset: load_folder(root)),
}


def load_dataset(key: str, root: str | Path, subset: str | None = None) -> Dataset:
    """Read a data set's annotations (not its images).

    Args:
        key: One of `DATASETS`.
        root: The folder that holds it.
        subset: Split, year or frame rate, for those that have them; None takes the usual one.

    Raises:
        SourceError: Unknown name or subset, or a folder that isn't laid out like it; the message names what was expected where.
    """
    if key not in DATASETS:
        raise SourceError(f"There is no data set {key!r}; choose one of {', '.join(DATASETS)}.")
    root = Path(root)
    if not root.exists():
        raise SourceError(f"The folder {root} of --root doesn't exist; nothing is downloaded, so get {key} first and give its folder.")
    if subset and not DATASETS[key].subsets:
        raise SourceError(f"The data set {key} has no subsets; leave --subset {subset} out.")
    return DATASETS[key].load(root, subset)
