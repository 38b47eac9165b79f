"""What is looked at in a frame, and what is read from the response."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop
from tracker.runtime.base import Response
from tracker.tracking.confidence import FEATURES
from tracker.tracking.decode import Decoded, Weighed

Vector = NDArray[np.float64]
LARGEST_LOGIT, LARGEST_SIDE = 30.0, 1e5


@dataclass(frozen=True)
class Observation:
    """What a look gave.

    Attributes:
        found: The best place.
        crop: The search window that `found` counts in.
        confidence_features: (F,) what the score was computed from.
        score: In [0, 1]; calibrated where the model is.
        weighed: The maps behind it (boxes head).
        size: (2,) size that was expected, frame pixels.
        embedding: (C, H, W) unit-length search embedding of the window, or None: what the online filter learns from.
    """

    found: Decoded
    crop: Crop
    confidence_features: NDArray[np.float64]
    score: float
    weighed: Weighed | None
    size: Vector
    embedding: NDArray[np.float32] | None = None

    @property
    def logit(self) -> float:
        """The network's own score at the place, before the sigmoid."""
        return float(self.found.logits[self.found.cell])

    @property
    def online(self) -> float | None:
        """The online filter's response there, or None without a filter."""
        return None if self.found.online is None else float(self.confidence_features[FEATURES.index("online")])

    @property
    def place(self) -> tuple[Vector, Vector]:
        """Centre and size of the place in frame pixels."""
        centre = (
            np.array([self.crop.left, self.crop.top])
            + (self.crop.size / 2 + np.array([self.found.dx, self.found.dy])) / self.crop.scale
        )
        if self.found.width is None or self.found.height is None:
            return centre, self.size * self.found.scale
        return centre, np.array([self.found.width, self.found.height]) / self.crop.scale


def clean(response: Response) -> Response:
    """A response within bounds that the arithmetic after it can take, whatever an engine gave (not a number,
    infinity)."""
    score = _within(response.score, LARGEST_LOGIT, -LARGEST_LOGIT)
    if response.boxes is None:
        return Response(score, None)
    embedding = response.embedding
    # A sum of squares is finite only where all are, and takes a tenth of the time.
    if embedding is not None and not math.isfinite(np.vdot(embedding, embedding)):
        embedding = np.nan_to_num(embedding, nan=0.0)
    return Response(score, _within(response.boxes, LARGEST_SIDE, 0.0), embedding)


def _within(values: NDArray[np.float32], most: float, instead: float) -> NDArray[np.float32]:
    """The values from -most to most; `instead` of what is not a number."""
    if -most <= values.min() and values.max() <= most:  # false for what is not a number
        return values
    return np.nan_to_num(values, nan=instead).clip(-most, most)
