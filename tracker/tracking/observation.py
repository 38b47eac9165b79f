"""The result of observing a target in a frame: response maps and what is read from them."""

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
from tracker.types import Image, Timing

Vector = NDArray[np.float64]
LARGEST_LOGIT, LARGEST_SIDE = 30.0, 1e5


@dataclass(frozen=True)
class Maps:
    """The maps that an observation was read from: one row of a batch, where the engine left it.

    Attributes:
        weighed: Those of the whole batch, (B, ...).
        embedding: (B, C, H, W) unit-length search embeddings of the windows, or None: input of the online filter.
        row: Row of the batch.
        online: Whether the target has an online filter.
    """

    weighed: Weighed
    embedding: Array | None
    row: int
    online: bool


@dataclass(frozen=True)
class Observation:
    """The observation of a target in one frame.

    Attributes:
        found: The best position.
        crop: The search window that `found` refers to.
        confidence_features: (F,) features of the score.
        score: In [0, 1]; calibrated if the model is.
        size: (2,) predicted size, frame pixels.
        maps: The maps behind it (boxes head).
        picture: The pixels of `crop`, if they were cut here.
    """

    found: Decoded
    crop: Crop
    confidence_features: NDArray[np.float64]
    score: float
    size: Vector
    maps: Maps | None = None
    picture: Image | None = None

    @property
    def logit(self) -> float:
        """The network's own score at the position, before the sigmoid."""
        return self.found.logit

    @property
    def online(self) -> float | None:
        """The online filter's response there, or None without a filter."""
        return self.found.online

    @cached_property
    def weighed(self) -> Weighed | None:
        """Its own maps, copied to the host if necessary (boxes head)."""
        if self.maps is None:
            return None
        own = self.maps.weighed.row(self.maps.row)
        return own if self.maps.online else replace(own, online=None)

    @property
    def centre(self) -> tuple[float, float]:
        """x, y of the position in frame pixels."""
        found, crop, half = self.found, self.crop, self.crop.size / 2
        return crop.left + (half + found.dx) / crop.scale, crop.top + (half + found.dy) / crop.scale

    @cached_property
    def place(self) -> tuple[Vector, Vector]:
        """Centre and size of the position in frame pixels."""
        found, crop, centre = self.found, self.crop, np.array(self.centre)
        if found.width is None or found.height is None:
            return centre, self.size * found.scale
        return centre, np.array([found.width / crop.scale, found.height / crop.scale])


@dataclass(frozen=True)
class FrameObservations:
    """The observations of all targets in one frame.

    Attributes:
        regions: The last search region of each target.
        observations: The observations.
        timing: Total over all targets.
    """

    regions: list[SearchRegion]
    observations: list[Observation]
    timing: Timing


def combined(response: Response, weight: float, lost: bool) -> Response:
    """Combines the responses of K views to one search.

    Args:
        response: With K rows, numpy's or torch's.
        weight: Weight of the later views while a target is tracked; the first view dominates.
        lost: Whether it is LOST: then the maximum over all views counts.
    """
    maximum = namespace(response.score).maximum
    first, later = response.score[:1], reduce(maximum, response.score[1:])[None]
    score = maximum(first, later) if lost else (1 - weight) * first + weight * later
    one = response[:1]
    return Response(score, one.boxes, one.embedding)


def clean(response: Response) -> Response:
    """A response clipped to bounds that later arithmetic can handle, whatever an engine returned (NaN, infinity)."""
    if not isinstance(response.score, np.ndarray):
        return _clean_on_device(response)
    score = _within(response.score, LARGEST_LOGIT, -LARGEST_LOGIT)
    if response.boxes is None:
        return Response(score, None)
    embedding = response.embedding
    # A sum of squares is finite only if all values are, and takes a tenth of the time.
    if embedding is not None and not math.isfinite(np.vdot(embedding, embedding)):
        embedding = np.nan_to_num(embedding, nan=0.0)
    return Response(score, _within(response.boxes, LARGEST_SIDE, 0.0), embedding)


def _within(values: NDArray[np.float32], most: float, instead: float) -> NDArray[np.float32]:
    """The values clipped to [-most, most]; NaN is replaced by `instead`."""
    if -most <= values.min() and values.max() <= most:  # false for NaN
        return values
    return np.nan_to_num(values, nan=instead).clip(-most, most)


def _clean_on_device(response: Response) -> Response:
    """The same for tensors, unconditionally: checking whether it is needed would wait for the device."""
    score, boxes, embedding = response.score, response.boxes, response.embedding
    number = namespace(score).nan_to_num
    return Response(
        number(score, nan=-LARGEST_LOGIT).clamp(-LARGEST_LOGIT, LARGEST_LOGIT),
        None if boxes is None else number(boxes, nan=0.0).clamp(-LARGEST_SIDE, LARGEST_SIDE),
        None if embedding is None else number(embedding, nan=0.0),
    )
