"""A clip held in memory: the raw material of disturbances."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.datasets.annotation_text import has_area
from tracker.datasets.base import SequenceData
from tracker.errors import SourceError
from tracker.types import Image


@dataclass(frozen=True)
class Footage:
    """A clip in memory.

    Attributes:
        name: Name of the sequence.
        images: N pictures, BGR uint8, all of one size.
        truth: (N, 4) xywh.
        valid: (N,) whether there is ground truth.
    """

    name: str
    images: list[Image]
    truth: NDArray[np.float64]
    valid: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        return self.images[0].shape[1], self.images[0].shape[0]


def read_footage(sequence: SequenceData, frames: int | None = None) -> Footage:
    """The first frames of a sequence.

    Raises:
        SourceError: A frame can't be read, or sizes differ.
    """
    images = list(itertools.islice(sequence.images(), frames))
    if any(image.shape != images[0].shape for image in images):
        raise SourceError(f"The frames of {sequence.name} differ in size; the disturbances need one size.")
    count = len(images)
    return Footage(
        sequence.name, images, sequence.truth[:count].copy(), has_area(sequence.truth[:count]) & sequence.valid[:count]
    )
