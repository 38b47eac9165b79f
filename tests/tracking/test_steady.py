"""The small search window: taken for a target that hardly moves, left at once where it isn't enough."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tracking.standin import SEARCH, STRIDE, ground, pixel_tracker, put, thing
from tracker.geometry import iou
from tracker.tracking.cosine_window import cosine_window
from tracker.tracking.decode import weigh_boxes
from tracker.tracking.multi import MultiTracker
from tracker.tracking.tracker import SiamTracker
from tracker.types import TrackState

SMALL, MIDDLE = 81, 105
assert all((SEARCH - size) % (2 * STRIDE) == 0 for size in (SMALL, MIDDLE))


def steps(path: list[tuple[float, float]]) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of a thing that takes these places, and its boxes."""
    return [put(ground(), thing(), x, y) for x, y in path], np.array(
        [(round(x), round(y), 28, 28) for x, y in path], np.float64
    )


def follow(tracker: SiamTracker, frames: list[np.ndarray], boxes: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Side of the window of each frame, and the boxes."""
    tracker.init(frames[0], boxes[0])
    sides, found = [], [boxes[0]]
    for frame in frames[1:]:
        found.append(tracker.update(frame).box)
        assert tracker.views is not None
        sides.append(tracker.views.search.shape[0])
    return sides, np.array(found)


def test_a_steady_target_is_looked_for_in_the_small_window_and_a_jump_in_the_full_one() -> None:
    path = [(100.0 + k, 90.0) for k in range(16)]
    path += [(path[-1][0] + 46.0, 90.0)] * 12  # more than the small window shows of it
    frames, boxes = steps(path)
    sides, found = follow(pixel_tracker({"small_search.size": SMALL}), frames, boxes)
    assert sides[0] == SEARCH  # nothing is known yet of how it moves
    assert sides[8:15] == [SMALL] * 7
    assert sides[15] == SEARCH and sides[16] == SEARCH  # the jump, and unrest after it
    assert sides[-1] == SMALL
    assert (iou(found, boxes) > 0.6).all()


def test_a_target_of_middling_pace_is_looked_for_in_the_window_between() -> None:
    # Half of its side in every second frame, back and forth: no velocity predicts that.
    frames, boxes = steps([(90.0 + 14 * (k // 2 % 2), 90.0) for k in range(11)])
    settings = {"small_search.size": SMALL, "small_search.middle": MIDDLE}
    sides, found = follow(pixel_tracker(settings), frames, boxes)
    assert sides[0] == SEARCH and set(sides[4:]) == {MIDDLE}
    assert (iou(found, boxes) > 0.6).all()
    sides, _ = follow(pixel_tracker(settings | {"small_search.reach": 0.27}), frames, boxes)
    assert set(sides[:6]) == {SEARCH}
    sides, _ = follow(pixel_tracker({"small_search.middle": MIDDLE}), frames[:1] * 12, boxes[:1].repeat(12, axis=0))
    assert sides[-1] == MIDDLE  # a smaller one is not in use


def test_a_fast_target_that_is_predicted_well_is_looked_for_in_the_small_window() -> None:
    frames, boxes = steps([(20.0 + 10 * k, 90.0) for k in range(20)])
    sides, found = follow(pixel_tracker({"small_search.size": SMALL}), frames, boxes)
    assert sides[0] == SEARCH and sides[-1] == SMALL
    assert (iou(found, boxes) > 0.6).all()


def test_the_small_window_finds_what_the_full_one_finds() -> None:
    frames, boxes = steps([(100 + 12 * np.sin(k / 6), 90 + 8 * np.cos(k / 5)) for k in range(40)])
    small, full = (follow(pixel_tracker({"small_search.size": size}), frames, boxes) for size in (SMALL, 0))
    assert set(full[0]) == {SEARCH} and SMALL in small[0]
    assert (iou(small[1], full[1]) > 0.9).all()


def test_a_lost_target_is_never_looked_for_in_the_small_window() -> None:
    frames, boxes = steps([(100.0, 90.0)] * 12)
    tracker = pixel_tracker({"small_search.size": SMALL})
    follow(tracker, frames, boxes)
    for _ in range(8):
        track = tracker.update(ground(seed=5))
    assert track.state is TrackState.LOST and tracker.views is not None
    assert tracker.views.search.shape[0] == SEARCH


def test_targets_with_windows_of_two_sizes_are_matched_in_a_call_for_each_size() -> None:
    shapes = [thing(seed=s) for s in (1, 7, 9)]
    frames = []
    for k in range(14):
        image = ground(400, 300)
        for n, shape in enumerate(shapes):
            image = put(image, shape, 60 + 110 * n, 60 + 80 * n + 20 * (k // 2 % 2) * (n == 2))
        frames.append(image)
    single = pixel_tracker({"small_search.size": SMALL})
    several = MultiTracker(single)
    several.init(frames[0], [(60 + 110 * n, 60 + 80 * n, 28, 28) for n in range(3)])
    for frame in frames[1:]:
        single.engine.calls.clear()  # type: ignore[attr-defined]
        several.update(frame)
    assert sorted(single.engine.calls) == [(1, 1), (2, 2)]  # type: ignore[attr-defined]


def test_a_small_response_meets_the_middle_of_the_full_window() -> None:
    config = pixel_tracker({"window_influence": 1.0}).config
    flat, boxes = np.zeros((11, 11), np.float32), np.zeros((4, 11, 11), np.float32)
    boxes[2:] = 20.0
    assert weigh_boxes(flat, boxes, (20.0, 20.0), config, cells=17).mixed == pytest.approx(
        cosine_window(17, 17)[3:-3, 3:-3]
    )
    assert weigh_boxes(flat, boxes, (20.0, 20.0), config).mixed == pytest.approx(cosine_window(11, 11))
