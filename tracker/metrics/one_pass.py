"""One-pass evaluation (OPE): the tracker is initialised with the first box and runs to the end without restart."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.types import Box, Image


class OnePassTracker(Protocol):
    """The interface of a tracker here: `tracker.tracking.tracker.SiamTracker` or anything with these two methods."""

    def init(self, image: Image, box: Box) -> None:
        """Initialises the target in the first frame."""

    def update(self, image: Image) -> Any:
        """Tracks it in the next frame: returns something with `box`, and optionally `score` and `visible`."""


@dataclass(frozen=True)
class Step:
    """The result of a tracker in one frame.

    Attributes:
        index: Frame index.
        box: xywh in pixels, as the tracker returned it; in the first frame the initial box.
        score: Its confidence; NaN if it has none.
        visible: Whether the box is reported (False: LOST).
        seconds: Duration of the call.
    """

    index: int
    box: Any
    score: float
    visible: bool
    seconds: float


def step(tracker: OnePassTracker, image: Image, index: int, box: Box | None = None) -> Step:
    """One timed call of a tracker: `init` with a box, `update` without one."""
    begin = time.perf_counter()
    if box is not None:
        tracker.init(image, box)
        return Step(index, box, 1.0, True, time.perf_counter() - begin)
    track = tracker.update(image)
    seconds = time.perf_counter() - begin
    score, visible = float(getattr(track, "score", np.nan)), bool(getattr(track, "visible", True))
    return Step(index, getattr(track, "box", track), score, visible, seconds)


def follow(tracker: OnePassTracker, images: Iterable[Image], box: Box, start: int = 0) -> Iterator[Step]:
    """Tracks a target through a sequence: the box initialises, nothing is corrected afterwards.

    Args:
        tracker: The tracker.
        images: The frames, BGR uint8 H x W x 3.
        box: (4,) xywh of the target in the frame `start`; earlier frames are skipped.
    """
    for k, image in enumerate(images):
        if k >= start:
            yield step(tracker, image, k, box if k == start else None)


@dataclass(frozen=True)
class OnePass:
    """The result of a tracker on a sequence; the first row is the initial box.

    Attributes:
        boxes: (N, 4) float64 xywh in pixels.
        scores: (N,) confidences; NaN if the tracker has none.
        visible: (N,) whether the box is reported (False: LOST).
        size: (width, height) of the first frame, pixels.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    visible: NDArray[np.bool_]
    size: tuple[int, int]


def run_one_pass(tracker: OnePassTracker, images: Iterable[Image], box: ArrayLike) -> OnePass:
    """Runs a tracker on a whole sequence of at least one frame; arguments as of `follow`."""
    size = [(0, 0)]

    def measured() -> Iterator[Image]:
        for k, image in enumerate(images):
            if k == 0:
                size[0] = (image.shape[1], image.shape[0])
            yield image

    steps = list(follow(tracker, measured(), np.asarray(box, np.float64)))
    return OnePass(
        np.array([one.box for one in steps], np.float64),
        np.array([one.score for one in steps]),
        np.array([one.visible for one in steps], np.bool_),
        size[0],
    )
