"""Clips with a mask for each frame (DAVIS): boxes come from the masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.datasets.track_readers import images_of
from tracker.datasets.tracks import AnnotatedTrack, BadFiles, DataError, gather, read_index
from tracker.errors import ImageError
from tracker.files import content_of, write_atomic
from tracker.media.images import read_labels


def read_davis(
    root: Path, names: Sequence[str], exclude: Sequence[str], bad: BadFiles, store: Path | None = None
) -> list[AnnotatedTrack]:
    """DAVIS (Perazzi et al., CVPR 2016; Pont-Tuset et al. 2017): JPEGImages/RES/NAME/*.jpg, Annotations/RES/NAME/*.png.

    A mask holds the number of the object at each pixel (as palette index or gray value; 255 in single-object masks), or
    colours, one for each object. Each object is a track, its box the smallest around its pixels.

    Args:
        root, names, exclude, bad: As in `gather`.
        store: Folder for a cached index of the boxes; None: no index.

    Raises:
        DataError: The folder isn't laid out so.
    """
    folders = sorted(f for f in root.glob("Annotations/*/*") if f.is_dir())
    if not folders:
        raise DataError(
            f"The folder {root} holds no Annotations/480p/NAME/*.png with JPEGImages/480p/NAME/*.jpg, as DAVIS does."
        )
    largest = max((f.parent.name for f in folders), key=lambda n: (n == "480p", n))
    items = ((f.name, partial(_read, f, store)) for f in folders if f.parent.name == largest)
    return gather(items, root, names, exclude, bad)


def _read(folder: Path, store: Path | None) -> list[AnnotatedTrack]:
    masks = images_of(folder)
    frames = images_of(folder.parents[2] / "JPEGImages" / folder.parent.name / folder.name)
    by_stem = {p.stem: p for p in masks}
    masks = tuple(by_stem.get(p.stem, Path()) for p in frames)
    if Path() in masks:
        raise DataError(
            f"The clip {folder} has masks for {len(by_stem)} of {len(frames)} frames; each frame needs one."
        )
    mark = content_of(masks, str(folder.resolve()).encode())[:12]  # repaired masks are read again
    index = store / "davis" / f"{folder.name}-{mark}.json" if store else None
    if index is not None and index.is_file():
        table = read_index(index)
    else:
        table = _boxes(masks)
        if index is not None:
            write_atomic(index, json.dumps(table))
    if not table:
        raise DataError(f"The masks of {folder} are empty: there is no target in them.")
    return [
        AnnotatedTrack(_name(folder, key, len(table)), frames, np.asarray(rows, float), clip=folder.name, masks=masks)
        for key, rows in table.items()
    ]


def _name(folder: Path, key: str, targets: int) -> str:
    return folder.name if targets == 1 else f"{folder.name}.{key}"


def _boxes(masks: Sequence[Path]) -> dict[str, list[list[float]]]:
    """object -> xywh in each frame, zeros where it isn't visible."""
    table: dict[str, list[list[float]]] = {}
    for k, path in enumerate(masks):
        labels = read_mask(path)
        for value in np.unique(labels[labels > 0]).tolist():
            x, y, w, h = cv2.boundingRect((labels == value).astype(np.uint8))
            table.setdefault(str(value), [[0.0] * 4 for _ in masks])[k] = [float(x), float(y), float(w), float(h)]
    return table


def read_mask(path: Path) -> NDArray[np.int64]:
    """(H, W) number of the object at each pixel, 0 for none; colours are mapped to numbers.

    Raises:
        DataError: The file can't be read.
    """
    try:
        image = read_labels(path)
    except ImageError as error:
        raise DataError(str(error)) from None
    if image.ndim == 2:
        return image.astype(np.int64)
    b, g, r = (image[..., k].astype(np.int64) for k in range(3))
    return (r << 16) + (g << 8) + b
