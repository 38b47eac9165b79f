"""The targets of the page: added and dropped individually while the video runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tracker.errors import BoxError
from tracker.media.draw import NetworkViewsLike
from tracker.tracking.multi import MultiTracker
from tracker.types import Box, Image, Track

if TYPE_CHECKING:
    from tracker.tracking.tracker import SiamTracker

MOST_TARGETS = 16


def check_room(count: int) -> None:
    """Raises unless a further target can be tracked beside `count` others.

    Raises:
        BoxError: There are too many.
    """
    if count >= MOST_TARGETS:
        raise BoxError(f"{MOST_TARGETS} targets are followed already, which is the most; remove one first.")


class TargetGroup:
    """Several targets with ids that are not reused until `renumber`, tracked by a `MultiTracker`: distributed over the
    cores, and look-alikes that cross keep their ids.

    Args:
        single: The tracker whose network and configuration are used.
    """

    def __init__(self, single: SiamTracker) -> None:
        self._single, self._multi = single, MultiTracker(single)

    def add(self, image: Image, box: Box, passed: Iterable[Image] = ()) -> int:
        """Adds a target from this frame on, tracks it through the frames that have passed since, and returns its id."""
        check_room(len(self._multi.targets))
        number = self._multi.add(image, box)
        # Only the new target has to catch up; the others were tracked in these frames.
        alone = MultiTracker(self._single)
        alone.targets[number] = self._multi.targets[number]
        for later in passed:
            alone.update(later)
        return number

    def drop(self, target_id: int) -> bool:
        """Drops a target; False if there is none with this id."""
        there = target_id in self._multi.targets
        if there:
            self._multi.drop(target_id)
        return there

    def update(self, image: Image, *, index: int = 0, timestamp: float | None = None) -> list[Track]:
        """Tracks every target in the next frame."""
        return self._multi.update(image, index=index, timestamp=timestamp)

    def ids(self) -> list[int]:
        """Ids of the current targets."""
        return list(self._multi.targets)

    def renumber(self) -> None:
        """Restarts the ids at 0, if there is no target."""
        if not self._multi.targets:
            self._multi.reset()

    def views(self) -> tuple[int, NetworkViewsLike] | None:
        """The first target, and the network's last views of it."""
        views = self._multi.views
        return None if views is None or not self._multi.targets else (next(iter(self._multi.targets)), views)
