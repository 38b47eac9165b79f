"""Cross-modal tracking, measured: a thing marked in a picture of one modality is followed through a video of the
other one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tracker.geometry import iou
from tracker.matching.inputs import Rect
from tracker.matching.placing import aligned_squares, place, tracker_place
from tracker.matching.twins import Twins
from tracker.types import Image

if TYPE_CHECKING:
    from tracker.matching.config import MatchConfig
    from tracker.matching.protocols import TestConfig
    from tracker.tracking.tracker import SiamTracker

OVERLAP = 0.5
"""Intersection over union from which on a frame counts as followed."""
WINDOW = 0.8
"""Sides of the moving window that makes a video of a picture, as a share of the picture's."""


def pan(image: Image, box: Rect, frames: int, rng: np.random.Generator) -> Iterator[tuple[Image, Rect]]:
    """A video of a still picture: a window that moves over it from one place to another one, with the thing in it.

    Args:
        image: The picture.
        box: x, y, w, h of the thing in it.
        frames: Length.
        rng: Where randomness comes from.

    Yields:
        The frame, and the thing's box in it.
    """
    height, width = image.shape[:2]
    w, h = max(round(WINDOW * width), int(box[2])), max(round(WINDOW * height), int(box[3]))
    low = np.array([max(0.0, box[0] + box[2] - w), max(0.0, box[1] + box[3] - h)])
    high = np.array([min(width - w, box[0]), min(height - h, box[1])])
    ends = low + (np.maximum(high, low) - low) * rng.random((2, 2))
    for k in range(frames):
        x, y = (int(v) for v in (ends[0] + (ends[1] - ends[0]) * k / max(frames - 1, 1)).round())
        yield np.ascontiguousarray(image[y : y + h, x : x + w]), (box[0] - x, box[1] - y, box[2], box[3])


def follow(tracker: SiamTracker, start: Rect, video: Sequence[tuple[Image, Rect]]) -> float:
    """The share of frames in which a tracker that starts at a box of the first frame overlaps with the truth."""
    boxes = [np.array(start, np.float64)]
    tracker.init(video[0][0], boxes[0])
    boxes += [tracker.update(frame).box for frame, _ in video[1:]]
    truth = np.array([box for _, box in video], np.float64)
    return float(np.mean(iou(np.array(boxes), truth) >= OVERLAP))


def measure_following(twins: Twins, test: TestConfig, config: MatchConfig, tracker: SiamTracker) -> dict[str, float]:
    """How much of a video in the second modality is followed from a template in the first, of aligned pictures.

    The video is a window that moves over the second picture (`pan`). The twins place the template in its first frame
    and the tracker goes on from there, which is what `siamtrack track --template-from` does. Beside it the same
    tracker without twins, in two ways: its own energy places the template; or it keeps the template of the first
    modality and is told the right place to begin with.

    Args:
        twins: As of `placing.response`.
        test: Its source names the aligned pictures; `limit` squares of each, `frames` of each video.
        config: Root of the data.
        tracker: What follows.

    Returns:
        followed, tracker_followed, told_followed: shares of frames with an overlap of `OVERLAP`; videos, frames.

    Raises:
        SourceError: No aligned pictures.
    """
    rng = np.random.default_rng(test.seed)
    shares: list[tuple[float, float, float]] = []
    for _, first, second, box in aligned_squares(test, config, rng):
        video = list(pan(second, box, test.frames, rng))
        frame = video[0][0]
        found = place(twins, first, box, frame, (1.0,)).box
        own = tracker_place(tracker.observer, first, box, frame)
        shares.append((follow(tracker, found, video), follow(tracker, own, video), _told(tracker, first, box, video)))
    mean = np.mean(shares, axis=0)
    return {
        "followed": float(mean[0]),
        "tracker_followed": float(mean[1]),
        "told_followed": float(mean[2]),
        "videos": float(len(shares)),
        "frames": float(test.frames),
    }


def _told(tracker: SiamTracker, first: Image, box: Rect, video: Sequence[tuple[Image, Rect]]) -> float:
    """With the template of the first modality: the tracker is begun in the part of that picture that the video's
    first frame shows."""
    frame, there = video[0]
    x, y = round(box[0] - there[0]), round(box[1] - there[1])
    height, width = frame.shape[:2]
    tracker.init(first[y : y + height, x : x + width], np.array(there, np.float64))
    boxes = [tracker.update(image).box for image, _ in video]
    truth = np.array([at for _, at in video], np.float64)
    return float(np.mean(iou(np.array(boxes), truth) >= OVERLAP))
