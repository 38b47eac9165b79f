"""OTB and the data sets in its layout: <sequence>/img/*.jpg + groundtruth_rect.txt (Wu, Lim, Yang, CVPR 2013 and TPAMI
2015)."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path

import numpy as np

from tracker.datasets.annotation_text import annotated, annotation_text, derived_attributes, list_images, read_table
from tracker.datasets.base import Dataset, SequenceData, gather
from tracker.errors import SourceError

logger = logging.getLogger(__name__)

OTB2013 = (
    "Basketball Bolt Boy Car4 CarDark CarScale Coke Couple Crossing David David2 David3 Deer Dog1 Doll Dudek "
    "FaceOcc1 FaceOcc2 Fish FleetFace Football Football1 Freeman1 Freeman3 Freeman4 Girl Ironman Jogging Jumping "
    "Lemming Liquor Matrix Mhyang MotorRolling MountainBike Shaking Singer1 Singer2 Skating1 Skiing Soccer Subway "
    "Suv Sylvester Tiger1 Tiger2 Trellis Walking Walking2 Woman"
).split()
OTB50 = (
    "Basketball Biker Bird1 BlurBody BlurCar2 BlurFace BlurOwl Bolt Box Car1 Car4 CarDark CarScale ClifBar Couple "
    "Crowds David Deer Diving DragonBaby Dudek Football Freeman4 Girl Human3 Human4 Human6 Human9 Ironman Jump "
    "Jumping Liquor Matrix MotorRolling Panda RedTeam Shaking Singer2 Skating1 Skating2 Skiing Soccer Surfer "
    "Sylvester Tiger2 Trellis Walking Walking2 Woman"
).split()
OTB100 = (
    "Bird2 BlurCar1 BlurCar3 BlurCar4 Board Bolt2 Boy Car2 Car24 Coke Coupon Crossing Dancer Dancer2 David2 David3 "
    "Dog Dog1 Doll FaceOcc1 FaceOcc2 Fish FleetFace Football1 Freeman1 Freeman3 Girl2 Gym Human2 Human5 Human7 "
    "Human8 Jogging KiteSurf Lemming Man Mhyang MountainBike Rubik Singer1 Skater Skater2 Subway Suv Tiger1 Toy "
    "Trans Twinnings Vase"
).split() + OTB50

# key -> (title, results folder of the got10k package, folder names)
VERSIONS: dict[str, tuple[str, str, list[str]]] = {
    "otb2013": ("OTB-2013", "OTB2013", OTB2013),
    "otb50": ("OTB-50", "OTBtb50", OTB50),
    "otb100": ("OTB-100", "OTB2015", OTB100),
}
# 1-based first and last frame of the annotation, for sequences where it doesn't cover all images (the benchmark's own
# list).
RANGES = {"david": (300, 770), "football1": (1, 74), "freeman3": (1, 460), "freeman4": (1, 283), "diving": (1, 215)}


def load_otb(root: Path, key: str = "otb", pattern: str | None = None) -> Dataset:
    """Reads a folder of OTB sequences: those of one version, or (key "otb") all that exist.

    Args:
        root: Folder that holds one folder per sequence.
        key: "otb2013", "otb50", "otb100" or "otb".
        pattern: Glob pattern of the sequences to read; None for all.

    Raises:
        SourceError: The folder isn't laid out so; the message says what was expected where.
    """
    files = annotation_files(root)
    title, folder = "OTB", "OTB"
    if key in VERSIONS:
        title, folder, wanted = VERSIONS[key]
        files = [f for f in files if f.parent.name.split("-")[0].split(".")[0] in wanted]
        present = {f.parent.name.split("-")[0].split(".")[0] for f in files}
        missing = [n for n in wanted if n not in present]
        if not files:
            raise SourceError(
                f"None of the {len(wanted)} sequences of {title} is in {root} (expected for example "
                f"{root / wanted[0] / 'img'})."
            )
        if missing:
            logger.warning(
                "%s: %d of %d sequences are missing, for example %s.",
                title,
                len(missing),
                len(wanted),
                ", ".join(missing[:5]),
            )
            title = f"{title}, {len(present)} of {len(wanted)} sequences"
    else:
        title = f"OTB layout, {len(files)} sequences ({root.name})"
    extra = _attribute_file(root)
    items = [
        (name, partial(_from_first, f, name, extra.get(name, ())))
        for f, name in zip(files, names_of(files), strict=True)
    ]
    return gather(items, pattern, Dataset(key, title, folder, "otb", "otb", ()))


def load_dtb70(root: Path, pattern: str | None = None) -> Dataset:
    """DTB70 (Li and Yeung, AAAI 2017) has OTB's layout."""
    files = annotation_files(root)
    items = [(name, partial(_from_first, f, name)) for f, name in zip(files, names_of(files), strict=True)]
    title = "DTB70" if len(files) == 70 else f"DTB70, {len(files)} of 70 sequences"
    return gather(items, pattern, Dataset("dtb70", title, "DTB70", "otb", "otb", ()))


def annotation_files(root: Path) -> list[Path]:
    """The non-empty annotation files of a folder of sequences.

    Raises:
        SourceError: There are none.
    """
    if not root.is_dir():
        raise SourceError(
            f"{root} is not a folder; expected ROOT/<sequence>/img/*.jpg and ROOT/<sequence>/groundtruth_rect.txt."
        )
    files = sorted(f for f in root.glob("*/groundtruth*.txt") if (f.parent / "img").is_dir() and not _blank(f))
    if not files:
        hint = ""
        if (root / "img").is_dir():
            hint = f" {root} looks like one sequence itself: give the folder above."
        elif (root / "list.txt").is_file():
            hint = f" {root} holds a list.txt, as GOT-10k and VOT do: try --dataset got10k or vot."
        raise SourceError(
            f"No sequence in {root}; expected ROOT/<sequence>/img/*.jpg and ROOT/<sequence>/groundtruth_rect.txt.{hint}"
        )
    return files


def _blank(file: Path) -> bool:
    """Whether a file is empty: in a folder with several targets, the file without a number often is."""
    return file.is_file() and not file.read_bytes().removeprefix(b"\xef\xbb\xbf").strip()


def names_of(files: list[Path]) -> list[str]:
    """Folder names; several targets in one folder become NAME.1, NAME.2 (Jogging, Skating2), as in the got10k
    package."""
    folders = [f.parent.name for f in files]
    return [n if folders.count(n) == 1 else f"{n}.{folders[: k + 1].count(n)}" for k, n in enumerate(folders)]


def read_sequence(annotation: Path, name: str, tags: tuple[str, ...] = ()) -> SequenceData:
    """The sequence of an annotation file; `tags`: attributes of all its frames."""
    truth = read_table(annotation)
    frames = list_images(annotation.parent / "img")
    first, last = RANGES.get(name.lower(), (1, len(frames)))
    if len(frames) != len(truth):
        frames = frames[first - 1 : last]
    if len(frames) != len(truth):
        raise SourceError(
            f"{annotation} has {len(truth)} lines for {len(frames)} images in {annotation.parent / 'img'}; they must "
            "be as many."
        )
    attributes = derived_attributes(truth)
    attributes.update({tag: np.ones(len(truth), dtype=bool) for tag in tags})
    return SequenceData(name, tuple(frames), truth, annotated(truth), truth[0], attributes=attributes)


def _from_first(annotation: Path, name: str, tags: tuple[str, ...] = ()) -> SequenceData:
    sequence = read_sequence(annotation, name, tags)
    if not sequence.valid[0]:
        raise SourceError(f"{annotation} line 1 isn't a box; the first line initialises the tracker.")
    return sequence


def _attribute_file(root: Path) -> dict[str, tuple[str, ...]]:
    """Sequence -> attribute names from ROOT/attributes.json ({"Basketball": ["IV", "OCC"], ...}), if the file
    exists."""
    path = root / "attributes.json"
    if not path.is_file():
        return {}
    try:
        return {str(k): tuple(map(str, v)) for k, v in json.loads(annotation_text(path)).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise SourceError(
            f'{path} isn\'t a table of attributes like {{"Basketball": ["IV", "OCC"]}}: {error}.'
        ) from None
