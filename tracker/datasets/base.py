"""The interface of all data set readers: sequences of frames with ground truth; and shared helpers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tracker.datasets.annotation_text import has_area
from tracker.errors import ImageError, SiamTrackError, SourceError, reading
from tracker.files import content_of
from tracker.media.containers import VIDEO_SUFFIXES
from tracker.media.images import read_image
from tracker.types import Image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SequenceData:
    """One annotated sequence of N frames.

    Attributes:
        name: Its name in the data set and in result files.
        frames: Paths of the N images, or one path of a video clip.
        truth: (N, 4) float64 xywh; NaN where there is no annotation.
        valid: (N,) bool, the frames that count in this data set's protocol.
        init: (4,) float64 xywh, the box that initialises the tracker in frame 0.
        size: (width, height) in pixels if the annotation contains it, else (0, 0).
        attributes: name -> (N,) bool.
        object_class: Class of the target, "" where unknown.
        polygons: (N, 8) float64 corners (VOT), else None.
    """

    name: str
    frames: tuple[str, ...] = field(repr=False)
    truth: NDArray[np.float64] = field(repr=False)
    valid: NDArray[np.bool_] = field(repr=False)
    init: NDArray[np.float64]
    size: tuple[int, int] = (0, 0)
    attributes: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict, repr=False)
    object_class: str = ""
    polygons: NDArray[np.float64] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def is_clip(self) -> bool:
        """Whether the frames come from one video file."""
        return len(self.frames) == 1 and Path(self.frames[0]).suffix.lower() in VIDEO_SUFFIXES

    def images(self) -> Iterator[Image]:
        """The N frames, BGR uint8 H x W x 3, read by `tracker.media` as in tracking and training.

        Raises:
            SourceError: A frame is missing or damaged.
        """
        from tracker.media.sources.video import VideoFileSource

        if not self.is_clip:
            for path in self.frames:
                try:
                    image = read_image(path)
                except ImageError as error:
                    raise SourceError(f"Sequence {self.name}: {error}") from None
                yield image
            return
        with VideoFileSource(Path(self.frames[0])) as clip:
            for k in range(len(self)):
                frame = next(clip, None)
                if frame is None:
                    lost = f" ({clip.damaged} damaged ones were left out)" if clip.damaged else ""
                    raise SourceError(
                        f"The clip {self.frames[0]} ends after {k} frames{lost}, but its boxes are for {len(self)}."
                    )
                yield frame.image

    def content(self) -> str:
        """A key of the sequence's content: its annotation, and name, size, modification time and samples of its
        images."""
        arrays = [self.truth, self.valid, self.init, np.zeros(0) if self.polygons is None else self.polygons]
        return content_of(self.frames, b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))

    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels, from the annotation or else from the first frame."""
        if self.size[0] > 0:
            return self.size
        image = next(iter(self.images()))
        return image.shape[1], image.shape[0]


@dataclass(frozen=True)
class Dataset:
    """A benchmark's sequences and its rules.

    Attributes:
        key: The value of --dataset.
        title: The title for display, with the split and, if it is incomplete, the part that is present.
        results_folder: Name of its folder in the got10k interchange layout ("GOT-10k", "OTB2015", ...).
        layout: The layout of result files: "got10k", "otb" or "vot".
        rules: The family of metrics: "got10k", "otb", "lasot", "trackingnet" or "vot".
        sequences: In the benchmark's order.
        eao_range: (low, high) sequence lengths over which the expected overlap is averaged (VOT), else None.
        truth_withheld: True where only the first box is public (GOT-10k test, TrackingNet test): nothing may be
            measured.
        failures: Name -> sentence for each requested sequence that can't be read; it is not among `sequences`.
    """

    key: str
    title: str
    results_folder: str
    layout: Literal["got10k", "otb", "vot"]
    rules: Literal["got10k", "otb", "lasot", "trackingnet", "vot"]
    sequences: tuple[SequenceData, ...] = field(repr=False)
    eao_range: tuple[int, int] | None = None
    truth_withheld: bool = False
    failures: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> list[str]:
        return [s.name for s in self.sequences]

    def select(self, pattern: str) -> Dataset:
        """The sequences whose names match a glob pattern, or one of several separated by commas.

        Raises:
            SourceError: None matches.
        """
        kept = tuple(s for s in self.sequences if matches(s.name, pattern))
        if not kept:
            some = ", ".join(self.names[:6])
            raise SourceError(
                f"No sequence of {self.title} matches {pattern!r}; there are {len(self.sequences)}: {some}, ..."
            )
        title = (
            self.title
            if len(kept) == len(self.sequences)
            else f"{self.title}, {len(kept)} of {len(self.sequences)} sequences"
        )
        return replace(self, sequences=kept, title=title)


Item = tuple[str, Callable[[], SequenceData]]
"""The name of a sequence, and the function that reads it."""


def matches(name: str, pattern: str | None) -> bool:
    """Whether a name matches a glob pattern, or one of several separated by commas; None matches any."""
    return pattern is None or any(fnmatchcase(name, p.strip()) for p in pattern.split(",") if p.strip())


def gather(items: Iterable[Item], pattern: str | None, dataset: Dataset) -> Dataset:
    """Builds a data set from the requested sequences; only these are read, and one that can't be read doesn't prevent
    the others.

    Args:
        items: The sequences that exist.
        pattern: Glob pattern, or several separated by commas; None for all.
        dataset: Its properties, without sequences.

    Raises:
        SourceError: None matches, or none of those that match can be read.
    """
    items = list(items)
    wanted = [item for item in items if matches(item[0], pattern)]
    if not wanted:
        some = ", ".join(name for name, _ in items[:6])
        raise SourceError(f"No sequence of {dataset.title} matches {pattern!r}; there are {len(items)}: {some}, ...")
    sequences, failures = [], {}
    for name, read in wanted:
        try:
            with reading(lambda why, name=name: SourceError(f"The sequence {name} can't be read: {why}.")):  # type: ignore[misc]
                sequence = read()
            if not has_area(sequence.init[None])[0]:
                raise SourceError(
                    f"The first box of {name} is {sequence.init.tolist()}, which has no area: nothing to start from."
                )
            sequences.append(first_box_alone(sequence) if dataset.truth_withheld else sequence)
        except SiamTrackError as error:
            failures[name] = str(error)
    if not sequences:
        others = f" (so are the other {len(failures) - 1})" if len(failures) > 1 else ""
        raise SourceError(f"{next(iter(failures.values()))}{others}")
    for name, sentence in failures.items():
        logger.warning("Left out: %s: %s", name, sentence)
    complete = len(sequences) == len(items)
    title = dataset.title if complete else f"{dataset.title}, {len(sequences)} of {len(items)} sequences"
    return replace(dataset, title=title, sequences=tuple(sequences), failures=failures)


def first_box_alone(sequence: SequenceData) -> SequenceData:
    """A sequence whose ground truth is withheld: no frame counts, whatever its files contain after the first box."""
    truth = np.full_like(sequence.truth, np.nan)
    truth[0] = sequence.init
    return replace(sequence, truth=truth, valid=np.zeros(len(truth), dtype=bool), attributes={})
