"""LaSOT (Fan et al., CVPR 2019) in its original layout, with the flags for absent and occluded targets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tracker.datasets.annotation_text import (
    derived_attributes,
    has_area,
    list_images,
    read_flags,
    read_table,
)
from tracker.datasets.base import Dataset, SequenceData, gather
from tracker.datasets.package_tables import check_counts, package_table
from tracker.errors import SourceError


def load_lasot(root: Path, subset: str = "test", pattern: str | None = None) -> Dataset:
    """LaSOT (Fan et al., CVPR 2019): ROOT/<class>/<class>-<n>/img, groundtruth.txt, full_occlusion.txt,
    out_of_view.txt.

    Frames in which the target is fully occluded or out of view don't count, as in LaSOT's own toolkit.
    """
    if subset not in ("test", "train"):
        raise SourceError(f"LaSOT has no subset {subset!r}; choose test or train.")
    wanted = package_table("lasot.json")[subset]
    folders = [
        f for n in wanted for f in (root / n.rsplit("-", 1)[0] / n, root / n) if (f / "groundtruth.txt").is_file()
    ]
    if not folders:
        raise SourceError(
            f"No sequence of LaSOT {subset} in {root}; expected for example "
            f"{root / 'airplane' / wanted[0] / 'groundtruth.txt'}."
        )

    title = f"LaSOT {subset}" + ("" if len(folders) == len(wanted) else f", {len(folders)} of {len(wanted)} sequences")
    return gather(
        [(f.name, partial(read_sequence, f)) for f in folders],
        pattern,
        Dataset("lasot", title, "LaSOT", "otb", "lasot", ()),
    )


def read_sequence(folder: Path) -> SequenceData:
    """The sequence in a folder, with its flags."""
    frames, truth = list_images(folder / "img"), read_table(folder / "groundtruth.txt")
    check_counts(frames, truth, folder / "groundtruth.txt")
    hidden = {n: read_flags(folder / f"{n}.txt", len(truth)) for n in ("full_occlusion", "out_of_view")}
    attributes = derived_attributes(truth)
    valid = has_area(truth)
    for name, flags in hidden.items():
        if flags is not None:
            attributes[name.replace("_", " ")] = flags > 0
            valid &= flags == 0
    kind = folder.name.rsplit("-", 1)[0]
    return SequenceData(folder.name, tuple(frames), truth, valid, truth[0], attributes=attributes, object_class=kind)
