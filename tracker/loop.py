"""The video loop: frames in, tracks out, one frame at a time and in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.errors import BoxError, SourceError, shown
from tracker.geometry import check_box, rows_of
from tracker.media.images import to_bgr8
from tracker.media.sources.open import open_source
from tracker.tracking.multi import MultiTracker
from tracker.tracking.tracker import SiamTracker
from tracker.types import Box, Frame, Image, Track

if TYPE_CHECKING:
    from tracker.tracking.tracker import SiamTracker

Source = str | int | Path | Iterable[Frame] | Iterable[NDArray[Any]]


class SingleTracker(Protocol):
    """The interface that `SiamTracker` offers to the loop: one target."""

    def init(self, image: Image, box: ArrayLike) -> None:
        """Start to track what is inside the box (xywh)."""

    def update(self, image: Image, *, index: int = 0, timestamp: float | None = None) -> Track:
        """Track the target in the next frame."""


class Targets(Protocol):
    """Several targets in one video, identified by `Track.target_id`."""

    def init(self, image: Image, boxes: Sequence[Box]) -> None:
        """Start to track the boxes (xywh); earlier targets are dropped."""

    def update(self, image: Image, *, index: int = 0, timestamp: float | None = None) -> list[Track]:
        """Track every target in the next frame, in the order of their ids."""


class OneTarget:
    """A single-target tracker behind the `Targets` interface."""

    def __init__(self, tracker: SingleTracker) -> None:
        self._tracker = tracker

    def init(self, image: Image, boxes: Sequence[Box]) -> None:
        """Start to track the one box."""
        (box,) = boxes
        self._tracker.init(image, box)

    def update(self, image: Image, *, index: int = 0, timestamp: float | None = None) -> list[Track]:
        """Track the target in the next frame."""
        return [self._tracker.update(image, index=index, timestamp=timestamp)]


def targets_of(tracker: SiamTracker, count: int) -> Targets:
    """A `Targets` for the given number of targets, with the model and engine of a tracker."""
    if count == 1:
        return OneTarget(tracker)
    return MultiTracker(tracker)


def as_boxes(box: ArrayLike) -> list[Box]:
    """One xywh box or several -> a list of them.

    Args:
        box: (4,) or (n, 4) numbers.

    Raises:
        BoxError: Not of that shape, or none at all.
    """
    boxes = rows_of(box)
    if not boxes:
        raise BoxError("There is no box; give one as x,y,w,h in pixels, or several as rows of four.")
    return boxes


def begin(targets: Targets, frame: Frame, boxes: Sequence[Box]) -> list[Track]:
    """Start targets on a frame; their first tracks are the boxes themselves.

    Raises:
        BoxError: A box that can't be tracked in this frame.
    """
    height, width = to_bgr8(frame.image).shape[:2]
    checked = [check_box(box, width, height) for box in boxes]
    targets.init(frame.image, checked)
    return [
        Track(box=box, score=1.0, index=frame.index, timestamp=frame.timestamp, target_id=k)
        for k, box in enumerate(checked)
    ]


def follow(frames: Iterable[Frame], targets: Targets, boxes: Sequence[Box]) -> Iterator[tuple[Frame, list[Track]]]:
    """Every frame with the tracks of all targets; the first frame carries the given boxes.

    Args:
        frames: Pictures in order.
        targets: The tracker of the boxes.
        boxes: xywh in pixels of the first frame.
    """
    for k, frame in enumerate(frames):
        if k == 0:
            yield frame, begin(targets, frame, boxes)
        else:
            yield frame, targets.update(frame.image, index=frame.index, timestamp=frame.timestamp)


def track(
    source: Source,
    box: ArrayLike,
    *,
    tracker: SiamTracker | None = None,
    model: str | Path = "siamtrack-s",
    device: str = "auto",
    engine: str = "auto",
    config: str | Path | None = None,
    overrides: Sequence[str] = (),
    start: int = 0,
) -> Iterator[Track]:
    """Tracks one target, or several, through a video.

    Args:
        source: Anything `open_source` takes (file, folder, glob, pattern, camera index, URL), or an iterable of frames
            or of images (BGR uint8 H x W x 3).
        box: (4,) xywh in pixels of the frame `start`, or (n, 4) for several targets.
        tracker: A tracker to use; without it one is built from the next five arguments.
        model, device, engine, config, overrides: As for `SiamTracker.from_pretrained`.
        start: 0-based frame at which the box was taken; earlier frames are skipped.

    Yields:
        A Track per target and frame. The first of each target is its box, with score 1, in the frame `start`.

    Raises:
        SourceError: The source can't be opened, has no frames, or failed in the middle.
        BoxError: A box that can't be tracked in the first frame.
        WeightsError, ConfigError, DeviceError: The tracker can't be built.

    Examples:
        >>> for t in track("clip.mp4", (100, 80, 40, 30)):  # doctest: +SKIP
        ...     print(t.index, t.box, t.score, t.state.value)
    """
    boxes = as_boxes(box)

    if tracker is None:
        tracker = SiamTracker.from_pretrained(model, device, engine=engine, config=config, overrides=overrides)
    targets = targets_of(tracker, len(boxes))
    with open_frames(source, start) as frames:
        for _, tracks in follow(frames, targets, boxes):
            yield from tracks


def open_frames(source: Source, start: int = 0) -> AbstractContextManager[Iterable[Frame]]:
    """Anything that `track` takes as a source -> a context manager around an iterable of frames.

    Raises:
        SourceError: It is none. From the iterable an `ImageError`, where an item is neither a frame nor an image.
    """
    if isinstance(start, bool) or not isinstance(start, int | np.integer) or start < 0:
        raise SourceError(f"The start frame {shown(start)} is not a count from 0; leave it at 0 for the first frame.")
    if isinstance(source, (str, int, Path)) and not isinstance(source, bool):
        return open_source(source, start=int(start))
    try:
        items = iter(cast("Iterable[Any]", () if isinstance(source, bytes) else source))
    except TypeError:
        items = None
    if items is None or isinstance(source, bytes):
        raise SourceError(
            f"The source {shown(source)} is no file, folder, address or camera, and can't be gone through frame by "
            "frame."
        )
    numbered = (
        item if isinstance(item, Frame) else Frame(image=to_bgr8(item), index=k) for k, item in enumerate(items)
    )
    return nullcontext(itertools.islice(numbered, int(start), None))
