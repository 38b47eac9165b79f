"""The targets that the page follows: added and dropped one by one while the video runs."""

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
    """Whether a further target can be followed beside `count` others.

    Raises:
        BoxError: No.
    """
    if count >= MOST_TARGETS:
        raise BoxError(f"{MOST_TARGETS} targets are followed already, which is the most; remove one first.")


class TargetGroup:
    """Several targets, told apart by an id that is not used again until `renumber`: spread over the cores, and
    look-alikes that cross keep their ids (`MultiTracker`).

    Args:
        single: A tracker whose network and configuration are used.
    """

    def __init__(self, single: SiamTracker) -> None:
        self._single, self._multi = single, MultiTracker(single)

    def add(self, image: Image, box: Box, passed: Iterable[Image] = ()) -> int:
        """Follow a further target from this picture on, through the pictures that have passed since; its id."""
        check_room(len(self._multi.targets))
        number = self._multi.add(image, box)
        # Only the new target has to catch up; the others have seen these pictures.
        alone = MultiTracker(self._single)
        alone.targets[number] = self._multi.targets[number]
        for later in passed:
            alone.update(later)
        return number

    def drop(self, target_id: int) -> bool:
        """Forget a target; False if there is none with this id."""
        there = target_id in self._multi.targets
        if there:
            self._multi.drop(target_id)
        return there

    def update(self, image: Image, *, index: int = 0, timestamp: float | None = None) -> list[Track]:
        """Find every target in the next picture."""
        return self._multi.update(image, index=index, timestamp=timestamp)

    def ids(self) -> list[int]:
        """Who is followed."""
        return list(self._multi.targets)

    def renumber(self) -> None:
        """Ids begin at 0 again, if nobody is followed."""
        if not self._multi.targets:
            self._multi.reset()

    def views(self) -> tuple[int, NetworkViewsLike] | None:
        """The first target, and what the network saw of it last."""
        views = self._multi.views
        return None if views is None or not self._multi.targets else (next(iter(self._multi.targets)), views)
