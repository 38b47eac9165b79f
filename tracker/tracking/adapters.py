"""Adapters to the interfaces of other libraries' trackers, to replace them in existing code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tracker.tracking.tracker import SiamTracker
from tracker.types import Track


class OpenCVTracker:
    """A SiamTracker with the interface of `cv2.Tracker`: `init(image, box)`, `update(image) -> (ok, box)`.

    Attributes:
        tracker: The wrapped tracker.
        track: Its last result (score, state), or None.
    """

    def __init__(self, tracker: SiamTracker | None = None) -> None:
        self.tracker = tracker or SiamTracker.from_pretrained()
        self.track: Track | None = None

    @classmethod
    def create(cls, *args: Any, **options: Any) -> OpenCVTracker:
        """The factory function that every OpenCV tracker class has; the arguments are those of
        `SiamTracker.from_pretrained`."""
        return cls(SiamTracker.from_pretrained(*args, **options))

    def init(self, image: ArrayLike, boundingBox: ArrayLike) -> None:
        """Initialises the target in the first frame.

        Args:
            image: H x W x 3 BGR uint8.
            boundingBox: x, y, w, h in pixels.

        Raises:
            ImageError, BoxError: With the value, the reason and the next step.
        """
        self.tracker.init(image, boundingBox)
        self.track = None

    def update(self, image: ArrayLike) -> tuple[bool, tuple[int, int, int, int]]:
        """Tracks the target in the next frame.

        Returns:
            Whether it is visible (False when LOST), and x, y, w, h as whole pixels, as OpenCV returns them.
        """
        self.track = self.tracker.update(image)
        x, y, w, h = (int(v) for v in np.round(self.track.box))
        return self.track.visible, (x, y, max(w, 1), max(h, 1))

    def getTrackingScore(self) -> float:
        """The score of the last update, in [0, 1]; 0 before the first."""
        return self.track.score if self.track is not None else 0.0
