"""`tools/live.py` with a tracker that matches the template pixel by pixel: quick, exact on synthetic clips, no weights
needed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tracker.loop import SingleTracker
from tracker.media.draw import NetworkViewsLike
from tracker.types import Box, Image, Track
from tracker.web.targets import check_room

ROOT = Path(__file__).resolve().parents[2]
MARGIN = 60


class MatchTemplate:
    """Follows a patch by normalised correlation within MARGIN pixels of where it was; `views` as the real one has."""

    def __init__(self) -> None:
        self.box, self.patch, self.views = np.zeros(4), np.zeros((1, 1, 3), np.uint8), None

    def init(self, image: Any, box: Any) -> None:
        from tracker.tracking.tracker import NetworkViews

        self.box = np.asarray(box, dtype=np.float64)
        x, y, w, h = (round(float(v)) for v in self.box)
        self.patch = image[max(y, 0) : y + h, max(x, 0) : x + w].copy()
        self.views = NetworkViews(self.patch, self.patch, np.zeros((1, 1), np.float32))

    def update(self, image: Any, *, index: int = 0, timestamp: float | None = None) -> Any:
        from tracker.tracking.tracker import NetworkViews
        from tracker.types import Track, TrackState

        height, width = self.patch.shape[:2]
        left, top = max(round(self.box[0]) - MARGIN, 0), max(round(self.box[1]) - MARGIN, 0)
        search = image[top : top + height + 2 * MARGIN, left : left + width + 2 * MARGIN]
        response = np.clip(cv2.matchTemplate(search, self.patch, cv2.TM_CCOEFF_NORMED), 0, 1)
        y, x = np.unravel_index(int(response.argmax()), response.shape)
        score = float(response.max())
        state = TrackState.TRACKING if score > 0.6 else TrackState.UNCERTAIN if score > 0.4 else TrackState.LOST
        if state is not TrackState.LOST:
            self.box = np.array([left + x, top + y, width, height], dtype=np.float64)
        self.views = NetworkViews(self.patch, search, response)
        return Track(self.box.copy(), score, state, index, timestamp, response=response)


class SingleTrackers:
    """A `TargetGroup` out of single trackers of any kind; those of dropped targets are used again.

    Args:
        build: Makes a tracker; further ones should share their network with the first.
    """

    def __init__(self, build: Callable[[], SingleTracker]) -> None:
        self._build = build
        self._active: dict[int, SingleTracker] = {}
        self._spare: list[SingleTracker] = []
        self._numbers = itertools.count()

    def add(self, image: Image, box: Box, passed: Iterable[Image] = ()) -> int:
        check_room(len(self._active))
        if not self._spare:
            self._spare.append(self._build())
        tracker = self._spare[-1]  # stays a spare one where this box can't be tracked
        tracker.init(image, box)
        for later in passed:
            tracker.update(later)
        self._spare.remove(tracker)
        number = next(self._numbers)
        self._active[number] = tracker
        return number

    def drop(self, target_id: int) -> bool:
        tracker = self._active.pop(target_id, None)
        if tracker is not None:
            self._spare.append(tracker)
        return tracker is not None

    def update(self, image: Image, *, index: int = 0, timestamp: float | None = None) -> list[Track]:
        return [
            replace(tracker.update(image, index=index, timestamp=timestamp), target_id=number)
            for number, tracker in self._active.items()
        ]

    def ids(self) -> list[int]:
        return list(self._active)

    def renumber(self) -> None:
        if not self._active:
            self._numbers = itertools.count()

    def views(self) -> tuple[int, NetworkViewsLike] | None:
        for number, tracker in self._active.items():
            views = getattr(tracker, "views", None)
            return None if views is None else (number, views)
        return None


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from tracker.cli import common, live, model_options, web

    model_options.check_model_options = lambda args: None
    web.build_group = lambda args: (SingleTrackers(MatchTemplate), "match-template on cpu (opencv)")
    raise SystemExit(common.run(live.main))
