"""Readers of annotated data sets in their original layouts; each returns tracks.

The got10k package's own classes for LaSOT and TrackingNet fail on current Python (its `datasets/lasot.py` and
`datasets/trackingnet.py`), so these have readers here. So have OTB and ImageNet-VID, whose classes require every
sequence or write a cache into the working directory. `read_toolkit` uses the classes that do work.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.datasets import lasot, otb, trackingnet
from tracker.datasets.annotation_text import list_images
from tracker.datasets.package_tables import check_counts, package_table
from tracker.datasets.tracks import AnnotatedTrack, BadFiles, DataError, gather, read_index, track_of
from tracker.errors import ConfigError
from tracker.files import content_of, write_atomic
from tracker.media.images import IMAGE_SUFFIXES
from tracker.media.sources.images import natural_key

BROKEN = {"LaSOT": "lasot", "TrackingNet": "trackingnet"}


def images_of(folder: Path) -> tuple[Path, ...]:
    """The images of a folder in natural order.

    Raises:
        DataError: There are none.
    """
    found = tuple(Path(file) for file in list_images(folder))
    if not found:
        raise DataError(f"The folder {folder} holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return found


def read_otb(root: Path, names: Sequence[str], exclude: Sequence[str], bad: BadFiles) -> list[AnnotatedTrack]:
    """OTB (Wu, Lim, Yang, TPAMI 2015) and sets in its layout: NAME/img/*.jpg, NAME/groundtruth_rect*.txt (1 to 3
    targets)."""
    if not root.is_dir():
        raise DataError(f"The folder {root} does not exist; check train.data.material.root and the path of the source.")
    files = otb.annotation_files(root)
    named = list(zip(files, otb.names_of(files), strict=True))

    def read(folder: Path) -> list[AnnotatedTrack]:
        return [track_of(otb.read_sequence(f, name), clip=folder.name) for f, name in named if f.parent == folder]

    folders = dict.fromkeys(f.parent for f in files)
    return gather(((f.name, partial(read, f)) for f in folders), root, names, exclude, bad)


def read_lasot(
    root: Path, names: Sequence[str], exclude: Sequence[str], bad: BadFiles, subset: str = ""
) -> list[AnnotatedTrack]:
    """LaSOT (Fan et al., CVPR 2019): CLASS/CLASS-N/{img/, groundtruth.txt, full_occlusion.txt, out_of_view.txt}.

    Args:
        root, names, exclude, bad: As in `gather`.
        subset: train or test (the split comes from the got10k package), or "" for all that exists.
    """
    wanted = set(package_table("lasot.json")[_choice("LaSOT", subset, ("train", "test"))]) if subset else None
    folders = sorted(
        (f.parent for p in ("*/groundtruth.txt", "*/*/groundtruth.txt") for f in root.glob(p)),
        key=lambda p: natural_key(p.name),
    )
    folders = [f for f in folders if (f / "img").is_dir() and (wanted is None or f.name in wanted)]
    if not folders:
        raise DataError(
            f"The folder {root} holds no {subset} sequence of LaSOT, such as airplane/airplane-1/groundtruth.txt."
        )
    items = ((f.name, lambda f=f: [track_of(lasot.read_sequence(f))]) for f in folders)
    return gather(items, root, names, exclude, bad)  # type: ignore[arg-type,misc]


def read_trackingnet(root: Path, names: Sequence[str], exclude: Sequence[str], bad: BadFiles) -> list[AnnotatedTrack]:
    """TrackingNet's training parts (Mueller et al., ECCV 2018): TRAIN_*/anno/NAME.txt and TRAIN_*/frames/NAME/0.jpg
    ..."""
    files = sorted(root.glob("TRAIN_*/anno/*.txt"))
    if not files:
        raise DataError(f"The folder {root} holds no TRAIN_0/anno/*.txt, as TrackingNet's training parts do.")
    items = ((f.stem, lambda f=f: [track_of(trackingnet.read_sequence(f))]) for f in files)
    return gather(items, root, names, exclude, bad)  # type: ignore[arg-type,misc]


def read_imagenet_vid(
    root: Path, names: Sequence[str], exclude: Sequence[str], bad: BadFiles, subset: str = "", store: Path | None = None
) -> list[AnnotatedTrack]:
    """ImageNet-VID (Russakovsky et al. 2015): {Data,Annotations}/VID/{train/*/*,val/*}/000000.{JPEG,xml}; several
    targets per clip.

    Args:
        root, names, exclude, bad: As in `gather`.
        subset: train or val, or "" for both.
        store: Folder for an index of the annotations (one file per frame, a million of them); None: no index.
    """
    parts = [_choice("ImageNet-VID", subset, ("train", "val"))] if subset else ["train", "val"]
    notes = root / "Annotations" / "VID"
    folders = sorted(f for p in parts for f in notes.glob("train/*/*" if p == "train" else "val/*") if f.is_dir())
    if not folders:
        raise DataError(
            f"The folder {root} holds no Annotations/VID/train/*/* or Annotations/VID/val/*, as ImageNet-VID does."
        )

    def read(folder: Path) -> list[AnnotatedTrack]:
        frames = root / "Data" / "VID" / folder.relative_to(notes)
        tracks = []
        for key, (kind, rows) in _indexed(folder, store).items():
            numbers = sorted(rows, key=int)
            boxes = np.asarray([rows[n] for n in numbers], dtype=np.float64)
            paths = tuple(frames / f"{n}.JPEG" for n in numbers)
            if len(paths) >= 2:
                if not paths[0].is_file():
                    raise DataError(f"The image {paths[0]} of {folder.name} is missing.")
                tracks.append(AnnotatedTrack(f"{folder.name}.{key}", paths, boxes, kind, clip=folder.name))
        return tracks

    return gather(((f.name, partial(read, f)) for f in folders), root, names, exclude, bad)


def _indexed(folder: Path, store: Path | None) -> dict[str, tuple[str, dict[str, list[float]]]]:
    """track id -> (class, {frame: xywh}) of one clip of ImageNet-VID."""
    from xml.etree import ElementTree

    files = sorted(folder.glob("*.xml"))
    mark = content_of(files, str(folder.resolve()).encode())[:12]  # corrected boxes are read again
    index = store / "imagenet-vid" / f"{folder.name}-{mark}.json" if store else None
    if index is not None and index.is_file():
        return {key: (kind, rows) for key, (kind, rows) in read_index(index).items()}
    found: dict[str, tuple[str, dict[str, list[float]]]] = {}
    for file in files:
        try:
            for item in ElementTree.parse(file).getroot().iter("object"):
                left, top, right, bottom = (
                    float(item.findtext(f"bndbox/{k}", "")) for k in ("xmin", "ymin", "xmax", "ymax")
                )
                rows = found.setdefault(item.findtext("trackid", ""), (item.findtext("name", ""), {}))[1]
                rows[file.stem] = [left, top, right - left, bottom - top]
        except (ElementTree.ParseError, ValueError, OSError) as error:
            raise DataError(f"The annotation {file} can't be read: {error}.") from None
    if index is not None:
        write_atomic(index, json.dumps(found))
    return found


def read_toolkit(
    root: Path, names: Sequence[str], exclude: Sequence[str], bad: BadFiles, dataset: str, options: dict[str, Any]
) -> list[AnnotatedTrack]:
    """A data set class of the got10k package: GOT10k, OTB, VOT, DTB70, TColor128, UAV123, NfS, ImageNetVID.

    Args:
        root, names, exclude, bad: As in `gather`.
        dataset: Name of the class.
        options: Its arguments except the folder; nothing is ever downloaded.

    Raises:
        ConfigError: There is no such class, or it doesn't work.
        DataError: The class refuses the folder.
    """
    import inspect
    from importlib import import_module

    if dataset in BROKEN:
        raise ConfigError(
            f"The got10k package's {dataset} fails on current Python; kind: {BROKEN[dataset]} reads the same folder."
        )
    cls: Any = getattr(import_module("got10k.datasets"), dataset, None)
    if not isinstance(cls, type):
        raise ConfigError(
            f"The got10k package has no data set {dataset!r}; there are GOT10k, OTB, VOT, DTB70, TColor128, UAV123, "
            "NfS."
        )
    known = inspect.signature(cls).parameters
    fixed = {key: False for key in ("download", "return_meta") if key in known}
    try:
        data: Any = cls(str(root), **{**fixed, **options})
    except Exception as error:  # the package raises bare Exception, AssertionError and more
        raise DataError(
            f"The got10k package's {dataset} can't read {root}: {' '.join(repr(error).split())}."
        ) from error

    def read(index: int, name: str) -> list[AnnotatedTrack]:
        try:
            files, boxes = data[index][:2]
        except Exception as error:  # as above
            raise DataError(f"The got10k package's {dataset} can't read {name} in {root}: {error!r}.") from error
        boxes = _upright_boxes(np.asarray(boxes, dtype=np.float64))
        check_counts(files, boxes, root / name)
        return [AnnotatedTrack(name, tuple(Path(f) for f in files), boxes)]

    return gather(((n, partial(read, k, n)) for k, n in enumerate(data.seq_names)), root, names, exclude, bad)


def _upright_boxes(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 4) xywh unchanged; (N, 8) corners of polygons (VOT) -> their upright bounding boxes."""
    if rows.shape[1] == 4:
        return rows
    xs, ys = rows[:, 0::2], rows[:, 1::2]
    low = np.stack([xs.min(1), ys.min(1)], axis=1)
    return np.concatenate([low, np.stack([xs.max(1), ys.max(1)], axis=1) - low], axis=1)


def _choice(what: str, subset: str, allowed: tuple[str, ...]) -> str:
    if subset not in allowed:
        raise ConfigError(f"{what} has no subset {subset!r}; choose {' or '.join(allowed)}.")
    return subset
