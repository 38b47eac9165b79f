"""Annotated tracks: frames and boxes behind one small interface, whatever layout they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.errors import SiamTrackError
from tracker.types import Image


class DataError(SiamTrackError):
    """Training data that can't be used: the message names the file."""


@dataclass(frozen=True)
class AnnotatedTrack:
    """One target through one clip.

    Attributes:
        name: Unique within its data set.
        frames: Image files in order.
        boxes: (N, 4) xywh; rows without area mean that the target is absent.
        kind: The target's class where it is known, else "".
    """

    name: str
    frames: tuple[Path, ...]
    boxes: NDArray[np.float64]
    kind: str = ""
    present: NDArray[np.intp] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        good = np.isfinite(self.boxes).all(axis=1) & (self.boxes[:, 2] > 1) & (self.boxes[:, 3] > 1)
        object.__setattr__(self, "present", np.flatnonzero(good[: len(self.frames)]))

    def image(self, index: int) -> Image:
        """Frame `index`, BGR uint8.

        Raises:
            DataError: The file can't be read.
        """
        return read_image(self.frames[index])


class TrackSet(Protocol):
    """A data set of tracks."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> AnnotatedTrack: ...


def read_image(path: Path) -> Image:
    """A colour image.

    Raises:
        DataError: Missing or unreadable; the message names the file.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"The image {path} can't be read: it is missing or damaged; restore it or take its sequence out.")
    return image  # type: ignore[return-value]


def read_got10k(root: Path, names: Sequence[str] = ("*",), exclude: Sequence[str] = ()) -> list[AnnotatedTrack]:
    """Tracks of a GOT-10k folder (`list.txt`, one folder for each sequence with `groundtruth.txt`).

    Args:
        root: The subset's folder, such as data/got/train.
        names: Glob patterns of the sequences to take.
        exclude: Glob patterns of the sequences to leave out (a validation split).

    Raises:
        DataError: The folder or its list is missing, or nothing matches.
    """
    from fnmatch import fnmatch

    listing = root / "list.txt"
    if not listing.is_file():
        raise DataError(f"The folder {root} holds no list.txt; a GOT-10k subset has one, with a sequence's name on each line.")
    tracks = []
    for name in listing.read_text().split():
        if not any(fnmatch(name, p) for p in names) or any(fnmatch(name, p) for p in exclude):
            continue
        folder = root / name
        try:
            boxes = np.loadtxt(folder / "groundtruth.txt", delimiter=",", ndmin=2)
        except (OSError, ValueError) as error:
            raise DataError(f"The boxes of {folder} can't be read: {error}") from None
        frames = tuple(sorted(folder.glob("*.jpg")))
        if not frames:
            raise DataError(f"The sequence {folder} holds no .jpg frames.")
        tracks.append(AnnotatedTrack(name, frames, boxes, name.split("-")[-1]))
    if not tracks:
        raise DataError(f"No sequence of {root} matches {', '.join(names)} (without {', '.join(exclude) or 'nothing'}).")
    return tracks
