"""GOT-10k: root/{train,val,test}/list.txt and one folder per sequence (Huang, Zhao, Huang, TPAMI 2021)."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from tracker.datasets.annotation_text import (
    annotated,
    annotation_text,
    derived_attributes,
    list_images,
    read_flags,
    read_names,
    read_table,
)
from tracker.datasets.base import Dataset, SequenceData, gather
from tracker.errors import SourceError

SUBSETS = ("val", "test", "train")


def load_got10k(root: Path, subset: str = "val", pattern: str | None = None) -> Dataset:
    """Read a GOT-10k tree.

    Frames whose `cover.label` is 0 (target not visible) and the first frame don't count, as in the official toolkit.

    Args:
        root: Folder that holds `val/`, `test/` or `train/`.
        subset: Which of them.
        pattern: Glob pattern of the sequences to read; None for all.

    Raises:
        SourceError: The folder isn't laid out so; the message says what was expected where.
    """
    if subset not in SUBSETS:
        raise SourceError(f"GOT-10k has no subset {subset!r}; choose one of {', '.join(SUBSETS)}.")
    folder = root / subset
    listing = folder / "list.txt"
    if not listing.is_file():
        if (root / "list.txt").is_file():
            raise SourceError(
                f"{listing} is missing, but {root} itself holds a list.txt: give the folder above as --root "
                f"and {root.name!r} as --subset (val, test or train)."
            )
        found = [s for s in SUBSETS if (root / s / "list.txt").is_file()]
        hint = f" There is {' and '.join(found)}: choose it with --subset." if found else ""
        raise SourceError(
            f"{listing} is missing: GOT-10k is laid out as ROOT/{subset}/list.txt (sequence names, one per line) and "
            f"ROOT/{subset}/<sequence>/00000001.jpg, groundtruth.txt.{hint}"
        )
    items = [(n, partial(read_sequence, folder / n, withheld=subset == "test")) for n in read_names(listing)]
    dataset = Dataset(
        key="got10k",
        title=f"GOT-10k {subset}",
        results_folder="GOT-10k",
        layout="got10k",
        rules="got10k",
        sequences=(),
        truth_withheld=subset == "test",
    )
    return gather(items, pattern, dataset)


def read_sequence(folder: Path, withheld: bool = False) -> SequenceData:
    """One sequence of a subset; `withheld`: its ground truth is the first box alone."""
    if not folder.is_dir():
        raise SourceError(f"The folder {folder} is missing; unpack the data completely or shorten list.txt.")
    frames = list_images(folder)
    if not frames:
        raise SourceError(f"No images in {folder}; expected 00000001.jpg, 00000002.jpg, ...")
    truth = read_table(folder / "groundtruth.txt")
    count = len(frames)
    if withheld and len(truth) == 1:
        truth = np.concatenate([truth, np.full((count - 1, 4), np.nan)])
    if len(truth) != count:
        raise SourceError(
            f"{folder / 'groundtruth.txt'} has {len(truth)} lines for {count} images; expected one line per image."
        )
    meta = _meta(folder / "meta_info.ini")
    cover, absence, cut = (read_flags(folder / f"{name}.label", count) for name in ("cover", "absence", "cut_by_image"))
    valid = annotated(truth)
    valid[0] = False
    attributes = derived_attributes(truth)
    if cover is not None:
        valid &= cover > 0
        attributes["occlusion"] = (cover > 0) & (cover < 8)
    elif absence is not None:
        valid &= absence == 0
    if absence is not None:
        attributes["absent"] = absence > 0
    if cut is not None:
        attributes["cut by image"] = cut > 0
    size = re.findall(r"\d{1,6}", meta.get("resolution", ""))
    return SequenceData(
        name=folder.name,
        frames=tuple(frames),
        truth=truth,
        valid=valid,
        init=truth[0],
        size=(int(size[0]), int(size[1])) if len(size) == 2 else (0, 0),
        attributes=attributes,
        object_class=meta.get("object_class", ""),
    )


def _meta(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = annotation_text(path).splitlines()
    return {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines) if v}
