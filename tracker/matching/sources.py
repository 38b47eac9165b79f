"""Sources of training and test data: classes of images, pairs and triplets from csv files; split by identity, never by
image."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tracker.config_merge import merge
from tracker.errors import ConfigError, SourceError
from tracker.matching.config import InputConfig, MatchDataConfig
from tracker.matching.inputs import ImageSample
from tracker.matching.tables import Pairs, Triplets, read_pairs, read_triplets
from tracker.matching.video import read_coco_classes, read_track_classes
from tracker.media.images import IMAGE_SUFFIXES
from tracker.media.sources.images import list_tree

KINDS = ("folder", "aligned", "pairs", "triplets", "tracks", "coco", "strokes")


@dataclass(frozen=True)
class MatchSourceConfig:
    """One part of the material.

    Attributes:
        kind: folder: classes are the folders (or zips) of images; aligned: images with the same name in `path` and
            `second` show the same object in two modalities; pairs: csv of a, b and a label or score; triplets: csv of
            anchor, positive, negative; tracks: crops of the same video track are a class; coco: boxes of the same
            category are a class; strokes: synthetic drawn characters.
        path: Folder, zip or file, relative to the data root.
        second: aligned: the folder of the other modality.
        names: Glob patterns of classes to take.
        exclude: Glob patterns of classes to leave out.
        weight: Fraction of the classes of a batch from this source, relative to the other sources.
        columns: pairs, triplets: names or numbers (from 0) of the columns; with names, the first line contains them.
        delimiter: pairs, triplets: comma, tab or semicolon.
        encoding: Encoding of a csv file.
        scale: pairs: divisor of scores, so that they lie in [0, 1].
        layout: tracks: got10k, otb, folder, ... as in `tracker.training.data.sources`.
        limit: tracks: crops per track; strokes: number of writers.
        count: strokes: number of classes.
        crop, step: aligned: side of the squares that each image is cut into, and their spacing, pixels; each square is
            a class. 0: whole images.
        context: tracks, coco: margin around the box, as a fraction of its sides.
    """

    kind: str = "folder"
    path: str = ""
    second: str = ""
    names: list[str] = field(default_factory=lambda: ["*"])
    exclude: list[str] = field(default_factory=list)
    weight: float = 1.0
    columns: dict[str, Any] = field(default_factory=dict)
    delimiter: str = "comma"
    encoding: str = "utf-8"
    scale: float = 1.0
    layout: str = "got10k"
    limit: int = 40
    count: int = 1000
    crop: int = 0
    step: int = 32
    context: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"The source kind {self.kind!r} is unknown; there are {', '.join(KINDS)}.")
        if self.limit < 2 or self.count < 2 or not self.weight > 0 or not self.scale > 0:
            raise ConfigError(
                f"The source {self.kind}:{self.path} has limit={self.limit}, count={self.count}, "
                f"weight={self.weight:g}, scale={self.scale:g}; limit and count start at 2, weight and scale are "
                "above 0."
            )


@dataclass(frozen=True)
class Classes:
    """Images by class.

    Attributes:
        names: Names of the classes, without duplicates.
        samples: For each class, its images; for `strokes` the writers.
        partners: For each image its partner in the other modality, or None.
        weight: Fraction of a batch.
        strokes: Whether images are drawn by `tracker.matching.strokes` instead of read.
    """

    names: list[str]
    samples: list[list[ImageSample]]
    partners: list[list[ImageSample]] | None = None
    weight: float = 1.0
    strokes: bool = False

    def __len__(self) -> int:
        return len(self.names)

    @property
    def identities(self) -> list[str]:
        """For each class its identity, which must not be split: itself, or the image that aligned squares were cut
        from."""
        return self.names if self.partners is None else [name.split("/")[0] for name in self.names]

    def take(self, chosen: Sequence[int]) -> Classes:
        """A subset of the classes."""
        partners = None if self.partners is None else [self.partners[k] for k in chosen]
        return Classes(
            [self.names[k] for k in chosen], [self.samples[k] for k in chosen], partners, self.weight, self.strokes
        )


Material = Classes | Pairs | Triplets


def read_source(raw: Any, root: Path, given: InputConfig) -> Material:
    """Reads the data of one source.

    Args:
        raw: A mapping as in `MatchSourceConfig`.
        root: Folder that its paths are relative to.
        given: The encoder's input.

    Raises:
        ConfigError, SourceError: An unknown kind, missing files, a class without images.
    """
    source = merge(MatchSourceConfig(), raw, where="data.sources")
    path = root / source.path
    if source.kind in ("pairs", "triplets"):
        read = read_pairs if source.kind == "pairs" else read_triplets
        return read(path, source.columns, source.delimiter, source.encoding, source.scale, given)
    if given.modality != "image":
        raise ConfigError(
            f"The source kind {source.kind!r} holds pictures, and the matcher reads texts; take pairs or triplets."
        )
    if source.kind == "strokes":
        names = [f"strokes-{k}" for k in range(source.count)]
        return Classes(
            names,
            [[ImageSample(Path(str(k)), str(w)) for w in range(source.limit)] for k in range(source.count)],
            None,
            source.weight,
            True,
        )
    if source.kind == "tracks":
        found = read_track_classes(source, path)
    elif source.kind == "coco":
        found = read_coco_classes(source, path)
    elif source.kind == "aligned":
        return _aligned(source, path, root / source.second)
    else:
        found = _by_folder(path)
    classes = {name: samples for name, samples in sorted(found.items()) if _wanted(name, source)}
    if not classes:
        raise SourceError(f"The source {source.kind}:{path} holds no class of the names {', '.join(source.names)}.")
    for name, samples in classes.items():
        if not samples:
            raise SourceError(f"The class {name!r} of {path} holds no pictures; add some, or exclude it.")
    return Classes(list(classes), list(classes.values()), None, source.weight)


def _wanted(name: str, source: MatchSourceConfig) -> bool:
    from fnmatch import fnmatch

    return any(fnmatch(name, p) for p in source.names) and not any(fnmatch(name, p) for p in source.exclude)


def _by_folder(path: Path) -> dict[str, list[ImageSample]]:
    """Images grouped by their folder; from a folder or a zip."""
    found: dict[str, list[ImageSample]] = {}
    if path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                members = sorted(m for m in archive.namelist() if Path(m).suffix.lower() in IMAGE_SUFFIXES)
        except (OSError, zipfile.BadZipFile) as error:
            raise SourceError(f"The archive {path} can't be read: {error}.") from None
        for member in members:
            parent = "/".join(member.split("/")[1:-1]) or member.split("/")[0]
            found.setdefault(parent, []).append(ImageSample(path, member))
        return found
    if not path.is_dir():
        raise SourceError(f"The folder of classes {path} does not exist; set data.root and the path of the source.")
    folders = [p for p in sorted(path.rglob("*")) if p.is_dir() and not any(q.is_dir() for q in p.iterdir())]
    for folder in folders:
        found[str(folder.relative_to(path))] = [ImageSample(p) for p in list_tree(folder)]
    for picture in list_tree(path):
        if picture.parent not in folders and picture.parent != path:
            found.setdefault(str(picture.parent.relative_to(path)), []).append(ImageSample(picture))
    if not found:
        raise SourceError(
            f"The folder {path} holds no folders of pictures; a class is a folder, named as the class, with its "
            "pictures."
        )
    return found


def _aligned(source: MatchSourceConfig, path: Path, second: Path) -> Classes:
    """Each image is a class of its own; its partner has the same name."""
    for folder in (path, second):
        if not folder.is_dir():
            raise SourceError(
                f"The folder {folder} of aligned pictures does not exist; set data.root, path and second."
            )
    others = {p.stem: p for p in list_tree(second)}
    both = [(p, others[p.stem]) for p in list_tree(path) if p.stem in others and _wanted(p.stem, source)]
    if not both:
        raise SourceError(f"No picture of {path} has one of the same name in {second}.")
    if not source.crop:
        return Classes(
            [p.stem for p, _ in both],
            [[ImageSample(p)] for p, _ in both],
            [[ImageSample(q)] for _, q in both],
            source.weight,
        )
    names, first, other = [], [], []
    for p, q in both:
        height, width = ImageSample(p).read().shape[:2]
        for y in range(0, height - source.crop + 1, source.step):
            for x in range(0, width - source.crop + 1, source.step):
                box = (float(x), float(y), float(source.crop), float(source.crop))
                names.append(f"{p.stem}/{x},{y}")
                first.append([ImageSample(p, box=box)])
                other.append([ImageSample(q, box=box)])
    return Classes(names, first, other, source.weight)


def part_of(names: Sequence[str], folds: int, fold: int, kept: bool, seed: int = 0) -> list[int]:
    """The identities used for training, or held out, in one fold of a cross-validation.

    Args:
        names: Identities, without duplicates; their order does not matter.
        folds, fold: Number of folds, and the held-out one.
        kept: Whether to return the held-out part.
        seed: Seed of the shuffling.

    Returns:
        Indices of the chosen names, ascending.

    Raises:
        ConfigError: More folds than identities.
    """
    if folds == 1:
        return [] if kept else list(range(len(names)))
    if folds > len(names):
        raise ConfigError(
            f"{len(names)} identities can't be parted into {folds} folds; take data.folds of at most {len(names)}."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    by_name = sorted(range(len(names)), key=lambda k: names[k])
    chosen = {by_name[k] for k in order[fold::folds]}
    return [k for k in range(len(names)) if (k in chosen) == kept]


def read_material(data: MatchDataConfig, given: InputConfig, kept: bool = False) -> list[Material]:
    """All sources of a recipe, one fold of them.

    Args:
        data: The recipe's data section.
        given: The encoder's input.
        kept: Whether to return the part held out from training.

    Raises:
        ConfigError, SourceError: No sources, or one that can't be used.
    """
    if not data.sources:
        raise ConfigError("The recipe names no training data; list sources under data.sources (kind, path).")
    root = Path(data.root).expanduser()
    if not root.is_dir() and any(dict(s).get("kind") != "strokes" for s in data.sources):
        raise ConfigError(f"The data root {root} does not exist; set data.root=FOLDER.")
    out: list[Material] = []
    for raw in data.sources:
        material = read_source(raw, root, given)
        if isinstance(material, Classes) and material.strokes:
            if not kept:
                out.append(material)
            continue
        identities = material.identities if isinstance(material, Classes) else material.names
        wanted = set(part_of(sorted(set(identities)), data.folds, data.fold, kept))
        numbers = {name: k for k, name in enumerate(sorted(set(identities)))}
        part = material.take([k for k, name in enumerate(identities) if numbers[name] in wanted])
        if len(part):
            out.append(part)
    return out
