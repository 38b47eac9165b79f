"""What is looked at in a frame, and what is read from the response."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop, SearchRegion
from tracker.runtime.base import Response
from tracker.tracking.arrays import Array, namespace
from tracker.tracking.decode import Decoded, Weighed
from tracker.types import Timing

Vector = NDArray[np.float64]
LARGEST_LOGIT, LARGEST_SIDE = 30.0, 1e5


@dataclass(frozen=True)
class Maps:
    """The maps that an observation was read from: one row of a batch, where the engine left it.

    Attributes:
        weighed: Of the whole batch, (B, ...).
        embedding: (B, C, H, W) unit-length search embeddings of the windows, or None: what the online filter learns
            from.
        row: Which of them.
        online: Whether the target has an online filter.
    """

    weighed: Weighed
    embedding: Array | None
    row: int
    online: bool


@dataclass(frozen=True)
class Observation:
    """What a look gave.

    Attributes:
        found: The best place.
        crop: The search window that `found` counts in.
        confidence_features: (F,) what the score was computed from.
        score: In [0, 1]; calibrated where the model is.
        size: (2,) size that was expected, frame pixels.
        maps: The maps behind it (boxes head).
    """

    found: Decoded
    crop: Crop
    confidence_features: NDArray[np.float64]
    score: float
    size: Vector
    maps: Maps | None = None

    @property
    def logit(self) -> float:
        """The network's own score at the place, before the sigmoid."""
        return self.found.logit

    @property
    def online(self) -> float | None:
        """The online filter's response there, or None without a filter."""
        return self.found.online

    @cached_property
    def weighed(self) -> Weighed | None:
        """Its own maps, on the host (boxes head); a device has to be asked for them."""
        if self.maps is None:
            return None
        own = self.maps.weighed.row(self.maps.row)
        return own if self.maps.online else replace(own, online=None)

    @property
    def centre(self) -> tuple[float, float]:
        """x, y of the place in frame pixels."""
        found, crop, half = self.found, self.crop, self.crop.size / 2
        return crop.left + (half + found.dx) / crop.scale, crop.top + (half + found.dy) / crop.scale

    @cached_property
    def place(self) -> tuple[Vector, Vector]:
        """Centre and size of the place in frame pixels."""
        found, crop, centre = self.found, self.crop, np.array(self.centre)
        if found.width is None or found.height is None:
            return centre, self.size * found.scale
        return centre, np.array([found.width / crop.scale, found.height / crop.scale])


@dataclass(frozen=True)
class FrameObservations:
    """One frame, as the targets were seen in it.

    Attributes:
        regions: The last look for each target.
        observations: What was read from it.
        timing: Of all targets together.
    """

    regions: list[SearchRegion]
    observations: list[Observation]
    timing: Timing


def combined(response: Response, weight: float, lost: bool) -> Response:
    """The responses of K views to one search -> one.

    Args:
        response: With K rows, numpy's or torch's.
        weight: Share of the later views while a target is followed; the first view dominates.
        lost: Whether it is LOST: then it may look like any of them.
    """
    maximum = namespace(response.score).maximum
    first, later = response.score[:1], reduce(maximum, response.score[1:])[None]
    score = maximum(first, later) if lost else (1 - weight) * first + weight * later
    one = response[:1]
    return Response(score, one.boxes, one.embedding)


def clean(response: Response) -> Response:
    """A response within bounds that the arithmetic after it can take, whatever an engine gave (not a number,
    infinity)."""
    if not isinstance(response.score, np.ndarray):
        return _clean_on_device(response)
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


def _clean_on_device(response: Response) -> Response:
    """The same of tensors: to ask whether it is needed would be to wait for them."""
    score, boxes, embedding = response.score, response.boxes, response.embedding
    number = namespace(score).nan_to_num
    return Response(
        number(score, nan=-LARGEST_LOGIT).clamp(-LARGEST_LOGIT, LARGEST_LOGIT),
        None if boxes is None else number(boxes, nan=0.0).clamp(-LARGEST_SIDE, LARGEST_SIDE),
        None if embedding is None else number(embedding, nan=0.0),
    )
