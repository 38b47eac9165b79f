"""What a LOST target costs: the pixels that the network sees in a frame stay within `redetection.work` looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.standin import SEARCH, TEMPLATE, ground, pixel_tracker, put, thing
from tracker.config import TrackingConfig
from tracker.settings import changed
from tracker.tracking.redetection_search import Redetection, window_within
from tracker.tracking.tracker import SiamTracker
from tracker.types import TrackState

LARGE = 30
"""Frames without the target: longer than its trail is followed."""


def counted(tracker: SiamTracker) -> list[float]:
    """From now on, the search pixels of each call, in full windows."""
    seen: list[float] = []
    engine = tracker.engine
    match = engine.match

    def counting(templates: np.ndarray, crops: Sequence[np.ndarray]) -> object:
        seen.append(sum(crop.shape[0] ** 2 for crop in crops) / SEARCH**2)
        return match(templates, crops)

    engine.match = counting  # type: ignore[method-assign,assignment]
    return seen


def hide_and_show(tracker: SiamTracker) -> tuple[list[float], int]:
    """Work of each LOST frame, and the frames until a target that comes back elsewhere was found."""
    scene, patch = ground(480, 360), thing()
    tracker.init(put(scene, patch, 60, 60), (60, 60, 28, 28))
    for _ in range(4):
        tracker.update(put(scene, patch, 60, 60))
    work, seen = [], counted(tracker)
    for k in range(LARGE + 120):
        seen.clear()
        track = tracker.update(scene if k < LARGE else put(scene, patch, 400, 290))
        if track.state is TrackState.LOST:
            work.append(sum(seen))
        elif k > LARGE:
            assert np.hypot(*(track.box[:2] - (400, 290))) < 8
            return work, k - LARGE
    raise AssertionError("it was not found again")


@pytest.mark.parametrize("steady", [0, 97])
def test_a_lost_frame_costs_at_most_two_looks_and_the_target_is_still_found(steady: int) -> None:
    work, _ = hide_and_show(pixel_tracker({"small_search.size": steady, "redetection.work": 2.0}))
    # The frame in which it is lost, and one that asks what else stood at a place, may differ.
    assert len(work) > LARGE // 2 and np.percentile(work, 95) <= 2.0 + 1e-9
    free, _ = hide_and_show(pixel_tracker({"small_search.size": steady, "redetection.work": 0.0}))
    assert np.median(free) > 1.5 * np.median(work)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.0, 20.0), st.sampled_from([129, 193]))
def test_windows_fit_the_work(work: float, most: int) -> None:
    side = window_within(work, (TEMPLATE, SEARCH), 4, most)
    assert TEMPLATE <= side <= most and (side - 1) % 4 == 0
    assert (side / SEARCH) ** 2 <= max(work, (TEMPLATE / SEARCH) ** 2) * 1.05


def test_room_counts_whole_windows() -> None:
    config = changed(TrackingConfig(), {"redetection.tiles": 4})
    args = (np.array([50.0, 50.0]), 20.0, (640, 480), (65, 97), config)
    assert [len(Redetection().next_windows(*args, room)) for room in (None, 0.5, 1.0, 2.9, 9.0)] == [4, 1, 1, 2, 4]
