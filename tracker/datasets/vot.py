"""VOT short-term challenges 2013-2019: root/list.txt, <sequence>/groundtruth.txt and *.jpg or color/*.jpg."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracker.datasets.annotation_text import (
    derived_attributes,
    has_area,
    list_images,
    read_flags,
    read_names,
    read_table,
)
from tracker.datasets.base import Dataset, SequenceData, gather
from tracker.errors import SourceError

# Interval of lengths over which the expected overlap is averaged, by year (VOT reports; 2013 and 2014 had no EAO; 2015
# has 2016's sequences).
EAO_RANGES = {
    "2013": None,
    "2014": None,
    "2015": (108, 371),
    "2016": (108, 371),
    "2017": (100, 356),
    "2018": (100, 356),
    "2019": (46, 291),
}


def load_vot(root: Path, subset: str | None = None, pattern: str | None = None) -> Dataset:
    """Read a VOT data set.

    Args:
        root: Folder with list.txt.
        subset: Year "2013" ... "2019", which decides the interval of the EAO; None takes it from the folder's name.
        pattern: Glob pattern of the sequences to read; None for all.

    Raises:
        SourceError: The folder isn't laid out so; the message says what was expected where.
    """
    if subset is None:
        match = re.search(r"20(1[3-9])", root.resolve().name)
        if not match:
            raise SourceError(
                f"The name of {root} doesn't contain the year, which the EAO depends on; give --subset 2013, ..., 2018 "
                "or 2019."
            )
        subset = match.group()
    if subset not in EAO_RANGES:
        raise SourceError(
            f"VOT {subset!r} isn't covered; choose --subset 2013 ... 2019 (the supervised protocol ended with 2019)."
        )
    listing = root / "list.txt"
    if not listing.is_file():
        raise SourceError(
            f"{listing} is missing: VOT is laid out as ROOT/list.txt (sequence names, one per line), "
            "ROOT/<sequence>/groundtruth.txt and ROOT/<sequence>/*.jpg or color/*.jpg."
        )
    items = [(n, partial(_sequence, root / n)) for n in read_names(listing)]
    return gather(
        items, pattern, Dataset("vot", f"VOT{subset}", f"VOT{subset}", "vot", "vot", (), eao_range=EAO_RANGES[subset])
    )


def _sequence(folder: Path) -> SequenceData:
    if not folder.is_dir():
        raise SourceError(f"The folder {folder} is missing; unpack the data completely or shorten list.txt.")
    frames = list_images(folder / "color") or list_images(folder)
    regions = read_table(folder / "groundtruth.txt", columns=(4, 8))
    if len(frames) != len(regions):
        raise SourceError(
            f"{folder / 'groundtruth.txt'} has {len(regions)} lines for {len(frames)} images in {folder} or "
            f"{folder / 'color'}."
        )
    polygons = regions if regions.shape[1] == 8 else None
    boxes = corners_to_boxes(regions) if polygons is not None else regions
    # A region that is NaN or has no area marks an absent target: the frame doesn't count, and no re-initialisation
    # happens there.
    shown = (
        has_area(regions)
        if polygons is None
        else np.array([bool(np.isfinite(p).all()) and area(p.reshape(4, 2)) > 0 for p in regions])
    )
    if not shown.any():
        raise SourceError(
            f"{folder / 'groundtruth.txt'} has no region with an area; there is nothing to start a tracker with."
        )
    truth = np.where(shown[:, None], boxes, np.nan)
    attributes = {}
    for file in sorted([*folder.glob("*.tag"), *folder.glob("*.label")]):
        flags = read_flags(file, len(frames))
        if flags is not None:
            attributes[file.stem] = flags > 0
    if attributes:
        attributes["empty"] = ~np.logical_or.reduce(list(attributes.values()))
    else:
        attributes = derived_attributes(truth)
    first = truth[int(np.argmax(shown))]
    return SequenceData(folder.name, tuple(frames), truth, shown, first, attributes=attributes, polygons=polygons)


def area(points: NDArray[np.float64]) -> float:
    """Area of a polygon (K, 2), by the shoelace formula."""
    if len(points) < 3:
        return 0.0
    x, y = points[:, 0], points[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def corners_to_boxes(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Converts rotated rectangles to upright boxes of the same centre and area, as SiamFC, pysot and got10k initialise
    on VOT.

    w = s (x2 - x1) + 1, h = s (y2 - y1) + 1 with s = sqrt(area of the rectangle / area of its bounding box), as in the
    code released with "Fully-convolutional Siamese networks" (Bertinetto et al., 2016).

    Args:
        corners: (N, 8) x1, y1, ..., x4, y4.

    Returns:
        (N, 4) xywh.
    """
    points = corners.reshape(-1, 4, 2)
    centre = points.mean(axis=1)
    low, high = points.min(axis=1), points.max(axis=1)
    sides = np.linalg.norm(points[:, 0] - points[:, 1], axis=1) * np.linalg.norm(points[:, 1] - points[:, 2], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # rows that are NaN or a point stay NaN
        scale = np.sqrt(sides / np.prod(high - low, axis=1))
    size = scale[:, None] * (high - low) + 1
    return np.concatenate([centre - size / 2, size], axis=1)
