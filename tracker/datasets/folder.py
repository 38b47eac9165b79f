"""The user's own data for evaluation: folders of images with a box file, or clips with a box file beside them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tracker.datasets.annotation_text import derived_attributes, has_area, list_images
from tracker.datasets.base import Dataset, Item, SequenceData, gather
from tracker.datasets.clips import NAMES_INSIDE, check_rows
from tracker.errors import BoxError, SiamTrackError, SourceError
from tracker.media.box_files import BOX_SUFFIXES, BoxFile, read_box_file
from tracker.media.containers import VIDEO_SUFFIXES
from tracker.media.sources.open import video_length

BOX_FILES = tuple(f"{name}{suffix}" for name in NAMES_INSIDE for suffix in BOX_SUFFIXES)


def load_folder(root: Path, pattern: str | None = None) -> Dataset:
    """Read every sequence of a folder, or the folder itself if it is one.

    A sequence is `<name>/img/*` or `<name>/*` images with groundtruth_rect.txt (or groundtruth.txt, boxes.txt) in
    `<name>/`, or a clip `<name>.mp4` with `<name>.txt` beside it: one line x,y,w,h per frame, or rows that name their
    frames (.csv, .jsonl, MOT; docs/boxes.md). A line 0,0,0,0 or nan, or a missing row, means that the target is absent;
    such frames don't count. Several targets in a file are several sequences, `<name>.<id>`.

    Raises:
        SourceError: The folder isn't laid out so; the message says what was expected where.
    """
    if root.is_file() and root.suffix.lower() in VIDEO_SUFFIXES:
        items = _items(root.stem, partial(_clip, root, _beside(root)))
    elif not root.is_dir():
        raise SourceError(
            f"{root} is neither a folder nor a clip; expected ROOT/<sequence>/img/* with groundtruth_rect.txt, or "
            "clips with box files."
        )
    elif box_file := _box_file(root):
        items = _items(root.resolve().name, partial(_images, root, box_file))
    else:
        items = []
        for path in sorted(root.iterdir()):
            if path.is_dir() and (box_file := _box_file(path)):
                items += _items(path.name, partial(_images, path, box_file))
            elif path.suffix.lower() in VIDEO_SUFFIXES and (box_file := _beside(path)):
                items += _items(path.stem, partial(_clip, path, box_file))
    if not items:
        raise SourceError(
            f"No sequence in {root}; expected ROOT/<sequence>/img/* with ROOT/<sequence>/groundtruth_rect.txt, or "
            "clips like ROOT/a.mp4 with ROOT/a.txt (one line x,y,w,h per frame)."
        )
    count = len(items)
    title = f"{root.resolve().name} ({count} sequence{'s' * (count > 1)})"
    return gather(items, pattern, Dataset("folder", title, "folder", "otb", "otb", ()))


def _box_file(folder: Path) -> Path | None:
    return next((folder / name for name in BOX_FILES if (folder / name).is_file()), None)


def _items(name: str, read: Callable[[], list[SequenceData]]) -> list[Item]:
    """The sequences of a box file, one per target; if the file can't be read, one item that raises the reason when
    read."""
    try:
        return [(sequence.name, partial(_same, sequence)) for sequence in read()]
    except SiamTrackError as error:
        return [(name, partial(_refuse, error))]


def _same(sequence: SequenceData) -> SequenceData:
    return sequence


def _refuse(error: SiamTrackError) -> SequenceData:
    raise error


def _beside(clip: Path) -> Path | None:
    return next((f for s in BOX_SUFFIXES if (f := clip.with_suffix(s)).is_file()), None)


def _images(folder: Path, boxes: Path) -> list[SequenceData]:
    frames = list_images(folder / "img") or list_images(folder)
    file = _read(boxes)
    if not file.numbered and file.lines != len(frames):
        raise SourceError(f"{boxes} has {file.lines} lines for {len(frames)} images; they must be as many.")
    return _make(folder.resolve().name, tuple(frames), file, len(frames))


def _clip(clip: Path, boxes: Path | None) -> list[SequenceData]:
    if boxes is None:
        raise SourceError(
            f"The boxes of {clip} are missing; expected {clip.with_suffix('.txt')} with one line x,y,w,h per frame."
        )
    file = _read(boxes)
    expected = file.lines if not file.numbered else file.span[1] + 1
    count = video_length(clip, expected)
    if not file.numbered:
        check_rows(boxes, file.lines, clip, count, "A csv with the columns frame,x,y,w,h names the frames of its rows.")
    return _make(clip.stem, (str(clip),), file, count)


def _read(boxes: Path) -> BoxFile:
    try:
        return read_box_file(boxes)
    except BoxError as error:
        raise SourceError(str(error)) from None


def _make(name: str, frames: tuple[str, ...], file: BoxFile, count: int) -> list[SequenceData]:
    """The sequences of a box file, one per target."""
    if file.span[1] >= count:
        raise SourceError(
            f"{file.path} has a box for frame {file.span[1]} (counted from 0), but there are {count} frames."
        )
    out = []
    for target, rows in file.targets.items():
        truth = rows.dense(count)
        valid = has_area(truth)
        own = name if len(file.targets) == 1 else f"{name}.{target}"
        if not valid[0]:
            which = f" of target {target}" if len(file.targets) > 1 else ""
            raise SourceError(
                f"{file.path} line 1{which} isn't a box with an area in frame 0; the first frame's box initialises "
                "the tracker."
            )
        attributes = derived_attributes(truth)
        if not valid.all():
            attributes["absent"] = ~valid
        out.append(SequenceData(own, frames, truth, valid, truth[0], attributes=attributes))
    return out
