"""Annotated tracks: frames and boxes behind one interface, for all data set layouts
(`tracker.datasets.track_readers`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.datasets import got10k
from tracker.datasets.base import SequenceData
from tracker.errors import ConfigError, ImageError, SiamTrackError, SourceError, reading
from tracker.files import read_text
from tracker.media import images
from tracker.types import Image

logger = logging.getLogger(__name__)


class DataError(SiamTrackError):
    """Training data that can't be used: the message names the file."""


@dataclass(frozen=True)
class AnnotatedTrack:
    """One target through one clip.

    Attributes:
        name: Unique within its data set.
        frames: Image files in order.
        boxes: (N, 4) xywh; rows without area, or not finite, mean that the target is absent.
        kind: The target's class if it is known, else "".
        clip: Name of its clip, shared by the clip's other targets; the track's own name where empty.
        masks: One image per frame with the number of the object at each pixel (`davis.read_mask`); () if there are
            none.
    """

    name: str
    frames: tuple[Path, ...] = field(repr=False)
    boxes: NDArray[np.float64] = field(repr=False)
    kind: str = ""
    clip: str = ""
    masks: tuple[Path, ...] = field(default=(), repr=False)
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


class BadFiles:
    """Policy for training data that can't be used.

    Args:
        policy: stop (the error is raised) or skip (it is logged once, and the data left out).

    Raises:
        ConfigError: Another policy.
    """

    def __init__(self, policy: str = "stop") -> None:
        if policy not in ("stop", "skip"):
            raise ConfigError(f"train.data.material.on_bad_file is {policy!r}; it must be stop or skip.")
        self.policy = policy
        self.seen: set[str] = set()

    def report(self, error: SiamTrackError) -> None:
        """Raises the error, or logs it and returns.

        Raises:
            DataError: Under the policy "stop".
        """
        if self.policy == "stop":
            hint = "" if isinstance(error, _Told) else " (train.data.material.on_bad_file=skip goes on without it.)"
            raise _Told(f"{error}{hint}") from None
        if str(error) not in self.seen:
            self.seen.add(str(error))
            logger.warning("Left out: %s", error)


def read_index(path: Path) -> Any:
    """Reads an index stored in a json file beside the data.

    Raises:
        DataError: It is damaged.
    """
    with reading(lambda why: DataError(f"The index {path} is damaged ({why}); remove it, it is made again.")):
        return json.loads(path.read_text(encoding="utf-8"))


class _Told(DataError):
    """An error whose message already says how to continue."""


def read_image(path: Path) -> Image:
    """Reads a colour image as tracking and evaluation do.

    Raises:
        DataError: Missing or unreadable; the message names the file.
    """
    try:
        return images.read_image(path)
    except ImageError as error:
        raise DataError(f"{error} Restore it or take its sequence out.") from None


Item = tuple[str, Callable[[], Sequence[AnnotatedTrack]]]
"""The name of a sequence, and the function that reads its tracks."""


def gather(
    items: Iterable[Item],
    where: Path,
    names: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    bad: BadFiles | None = None,
) -> list[AnnotatedTrack]:
    """Reads the sequences whose names match.

    Args:
        items: The sequences that exist.
        where: Their folder, for error messages.
        names: Glob patterns of the sequences to use.
        exclude: Glob patterns of the sequences to leave out (a validation split).
        bad: Policy for a sequence that can't be read, or whose target is visible in fewer than two frames; None: stop.

    Raises:
        DataError: Nothing matches, or nothing that matches can be used.
    """
    bad = bad or BadFiles()
    tracks: list[AnnotatedTrack] = []
    matched = 0
    for name, read in items:
        if not any(fnmatch(name, p) for p in names) or any(fnmatch(name, p) for p in exclude):
            continue
        matched += 1
        try:
            with reading(lambda why, name=name: DataError(f"The sequence {name} of {where} can't be read: {why}.")):  # type: ignore[misc]
                found = read()
            for track in found:
                if len(track.present) < 2:
                    raise DataError(
                        f"The track {track.name} in {where} shows its target in {len(track.present)} frames; two are "
                        "needed."
                    )
                tracks.append(track)
        except (DataError, SourceError) as error:
            bad.report(error)
    if not matched:
        raise DataError(
            f"No sequence of {where} matches {', '.join(names)} (without {', '.join(exclude) or 'nothing'})."
        )
    if not tracks:
        raise DataError(f"None of the {matched} sequences of {where} can be used; the warnings above say why.")
    return tracks


def track_of(sequence: SequenceData, clip: str = "") -> AnnotatedTrack:
    """Converts a sequence to a training track: a frame whose flags mark the target as absent gets a box without area.

    Args:
        sequence: From the reader that evaluation uses as well.
        clip: As in `AnnotatedTrack`.
    """
    boxes = sequence.truth
    for name in ("absent", "full occlusion", "out of view"):
        if name in sequence.attributes:
            boxes = np.where(sequence.attributes[name][:, None], 0.0, boxes)
    return AnnotatedTrack(sequence.name, tuple(map(Path, sequence.frames)), boxes, sequence.object_class, clip=clip)


def read_got10k(
    root: Path, names: Sequence[str] = ("*",), exclude: Sequence[str] = (), bad: BadFiles | None = None
) -> list[AnnotatedTrack]:
    """Tracks of a GOT-10k folder (`list.txt`, one folder for each sequence with `groundtruth.txt` and `absence.label`).

    Args:
        root: The subset's folder, such as data/got/train.
        names, exclude, bad: As in `gather`.

    Raises:
        DataError: The folder or its list is missing, or nothing matches.
    """
    listing = root / "list.txt"
    if not listing.is_file():
        raise DataError(
            f"The folder {root} holds no list.txt; a GOT-10k subset has one, with a sequence's name on each line."
        )
    with reading(lambda why: DataError(f"The list {listing} can't be read: {why}.")):
        listed = read_text(listing).split()
    items = ((n, lambda n=n: [track_of(got10k.read_sequence(root / n))]) for n in listed)
    return gather(items, root, names, exclude, bad)  # type: ignore[arg-type,misc]
