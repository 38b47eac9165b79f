"""Measurement of cross-modal tracking: an object marked in an image of one modality is tracked through a video of the
other."""

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
"""Least intersection over union of a frame that counts as tracked."""
WINDOW = 0.8
"""Side of the moving window that turns an image into a video, as a fraction of the image's."""


def pan(image: Image, box: Rect, frames: int, rng: np.random.Generator) -> Iterator[tuple[Image, Rect]]:
    """A video made from an image: a window that moves from one position to another, with the object inside.

    Args:
        image: The picture.
        box: x, y, w, h of the object in it.
        frames: Length.
        rng: Random generator.

    Yields:
        The frame, and the object's box in it.
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
    """The fraction of frames in which a tracker that starts from a box of the first frame overlaps with the ground
    truth."""
    boxes = [np.array(start, np.float64)]
    tracker.init(video[0][0], boxes[0])
    boxes += [tracker.update(frame).box for frame, _ in video[1:]]
    truth = np.array([box for _, box in video], np.float64)
    return float(np.mean(iou(np.array(boxes), truth) >= OVERLAP))


def measure_following(twins: Twins, test: TestConfig, config: MatchConfig, tracker: SiamTracker) -> dict[str, float]:
    """How much of a video in the second modality is tracked from a template in the first, for aligned images.

    The video is a window that moves over the second image (`pan`). The matcher localises the template in its first
    frame and the tracker continues from there, which is what `siamtrack track --template-from` does. For comparison the
    tracker runs without the matcher in two ways: its own energy localises the template; or it keeps the template of the
    first modality and starts at the true position.

    Args:
        twins: As of `placing.response`.
        test: Its source names the aligned images; `limit` squares per scene, `frames` per video.
        config: Root of the data.
        tracker: The tracker.

    Returns:
        followed, tracker_followed, told_followed: fractions of frames with an overlap of `OVERLAP`; videos, frames.

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
    """Variant with the template of the first modality: the tracker is initialised in the part of that image that the
    video's first frame shows."""
    frame, there = video[0]
    x, y = round(box[0] - there[0]), round(box[1] - there[1])
    height, width = frame.shape[:2]
    tracker.init(first[y : y + height, x : x + width], np.array(there, np.float64))
    boxes = [tracker.update(image).box for image, _ in video]
    truth = np.array([at for _, at in video], np.float64)
    return float(np.mean(iou(np.array(boxes), truth) >= OVERLAP))
