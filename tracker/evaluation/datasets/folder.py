"""Anybody's own data: folders of images with a box file, or clips with a box file beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from tracker.errors import SourceError
from tracker.evaluation.datasets.base import (
    CLIPS,
    Dataset,
    Item,
    SequenceData,
    derived_attributes,
    gather,
    has_area,
    list_images,
    read_table,
)

BOX_FILES = ("groundtruth_rect.txt", "groundtruth.txt", "boxes.txt")


def load_folder(root: Path, pattern: str | None = None) -> Dataset:
    """Read every sequence of a folder, or the folder itself if it is one.

    A sequence is `<name>/img/*` or `<name>/*` images with groundtruth_rect.txt (or groundtruth.txt, boxes.txt) in `<name>/`, or
    a clip `<name>.mp4` with `<name>.txt` beside it: one line x,y,w,h per frame. A line 0,0,0,0 or nan says that the target
    isn't there; such frames don't count.

    Raises:
        SourceError: What was expected where.
    """
    if root.is_file() and root.suffix.lower() in CLIPS:
        items = [_clip(root)]
    elif not root.is_dir():
        raise SourceError(
            f"{root} is neither a folder nor a clip; expected ROOT/<sequence>/img/* with groundtruth_rect.txt, or clips with box files."
        )
    elif box_file := _box_file(root):
        items = [_images(root, box_file)]
    else:
        items = []
        for path in sorted(root.iterdir()):
            if path.is_dir() and (box_file := _box_file(path)):
                items.append(_images(path, box_file))
            elif path.suffix.lower() in CLIPS and path.with_suffix(".txt").is_file():
                items.append(_clip(path))
    if not items:
        raise SourceError(
            f"No sequence in {root}; expected ROOT/<sequence>/img/* with ROOT/<sequence>/groundtruth_rect.txt, or clips like "
            "ROOT/a.mp4 with ROOT/a.txt (one line x,y,w,h per frame)."
        )
    count = len(items)
    title = f"{root.resolve().name} ({count} sequence{'s' * (count > 1)})"
    return gather(items, pattern, Dataset("folder", title, "folder", "otb", "otb", ()))


def _box_file(folder: Path) -> Path | None:
    return next((folder / name for name in BOX_FILES if (folder / name).is_file()), None)


def _images(folder: Path, boxes: Path) -> Item:
    return folder.resolve().name, partial(_read_images, folder, boxes)


def _clip(clip: Path) -> Item:
    return clip.stem, partial(_read_clip, clip, clip.with_suffix(".txt"))


def _read_images(folder: Path, boxes: Path) -> SequenceData:
    frames = list_images(folder / "img") or list_images(folder)
    truth = read_table(boxes)
    if len(frames) != len(truth):
        raise SourceError(f"{boxes} has {len(truth)} lines for {len(frames)} images; they must be as many.")
    return _make(folder.resolve().name, tuple(frames), truth, boxes)


def _read_clip(clip: Path, boxes: Path) -> SequenceData:
    if not boxes.is_file():
        raise SourceError(f"The boxes of {clip} are missing; expected {boxes} with one line x,y,w,h per frame.")
    return _make(clip.stem, (str(clip),), read_table(boxes), boxes)


def _make(name: str, frames: tuple[str, ...], truth: np.ndarray, boxes: Path) -> SequenceData:
    valid = has_area(truth)
    if not valid[0]:
        raise SourceError(f"{boxes} line 1 isn't a box with an area; the first line initialises the tracker.")
    attributes = derived_attributes(truth)
    if not valid.all():
        attributes["absent"] = ~valid
    return SequenceData(name, frames, truth, valid, truth[0], attributes=attributes)
