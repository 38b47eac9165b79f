"""The cosine window of a target that stands still is narrower."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tracker.config import TrackingConfig
from tracker.tracking.decode import weigh_boxes
from tracker.tracking.observer import Observer
from tracker.tracking.readout import narrowness
from tracker.tracking.state_machine import missing
from tracker.tracking.target import Target


def peak(exponent: float) -> tuple[int, int]:
    """Of a response with the target in the middle, and a slightly better one as far off as the target is wide."""
    logits = np.full((9, 9), -4.0, np.float32)
    logits[4, 4], logits[4, 8] = 1.0, 3.0
    at = np.arange(9, dtype=np.float32) * 16 + 8
    x, y = np.meshgrid(at, at)
    boxes = np.stack([x - 32, y - 32, x + 32, y + 32])
    weighed = weigh_boxes(logits, boxes, (64.0, 64.0), TrackingConfig(), cells=17, exponent=exponent)
    row, column = np.unravel_index(int(np.argmax(weighed.mixed)), (9, 9))
    return int(row), int(column)


@pytest.mark.parametrize(("exponent", "column"), [(1.0, 8), (2.5, 4), (4.0, 4)])
def test_a_narrow_window_prefers_the_near_one(exponent: float, column: int) -> None:
    assert peak(exponent) == (4, column)


def test_it_narrows_for_a_target_that_stands_still_and_is_followed() -> None:
    config = TrackingConfig()
    observer = cast(Observer, SimpleNamespace(config=config))
    size = np.array([20.0, 30.0])
    target = Target(size, size, size, (0, 0, 0), cast(Any, None))

    def exponent(motion: float) -> float:
        target.recent_motion = motion
        return float(narrowness(observer, [target])[0])

    assert exponent(0.0) == 1 + config.small_search.narrowing > exponent(0.1) > exponent(0.2) > 1
    assert exponent(config.small_search.step) == exponent(1.0) == 1
    target.belief = missing()
    assert exponent(0.0) == 1
