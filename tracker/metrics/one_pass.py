"""One pass over a sequence: the tracker gets the first box and follows the target to the end, without restart (OPE)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.types import Image


class OnePassTracker(Protocol):
    """What is run: `tracker.tracking.tracker.SiamTracker` or anything with these two methods."""

    def init(self, image: Image, box: ArrayLike) -> None:
        """Takes the target from the first frame."""

    def update(self, image: Image) -> Any:
        """Finds it in the next frame: something with `box`, and if it has them `score` and `visible`."""


@dataclass(frozen=True)
class OnePass:
    """What a tracker gave, frame by frame; the first row is the box that it was given.

    Attributes:
        boxes: (N, 4) float64 xywh in pixels.
        scores: (N,) confidences; NaN where the tracker gives none.
        visible: (N,) whether the box is reported (False: LOST).
        size: (width, height) of the first frame, pixels.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    visible: NDArray[np.bool_]
    size: tuple[int, int]


def run_one_pass(tracker: OnePassTracker, images: Iterable[Image], box: ArrayLike) -> OnePass:
    """Follows a target through a sequence.

    Args:
        tracker: Its `init` and `update` are called.
        images: The frames, BGR uint8 H x W x 3, at least one.
        box: (4,) xywh of the target in the first of them.
    """
    boxes, scores, visible, size = [np.asarray(box, np.float64)], [1.0], [True], (0, 0)
    for k, image in enumerate(images):
        if k == 0:
            size = (image.shape[1], image.shape[0])
            tracker.init(image, box)
            continue
        track = tracker.update(image)
        boxes.append(track.box)
        scores.append(float(getattr(track, "score", np.nan)))
        visible.append(bool(getattr(track, "visible", True)))
    return OnePass(np.array(boxes, np.float64), np.array(scores), np.array(visible, np.bool_), size)
