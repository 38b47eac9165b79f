"""The online filter: what it learns, when it learns, and that the tracker does without it where it can't have one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import moving_square
from tests.runtime.models import random_model
from tests.tracking.standin import pixel_tracker
from tracker.runtime.select import build_engine
from tracker.settings import changed
from tracker.tracking.confidence import FEATURES, USUAL_ONLINE, confidence_features, probability
from tracker.tracking.decode import weigh_boxes
from tracker.tracking.online_filter import OnlineFilter, first_windows
from tracker.tracking.peaks import read_peaks
from tracker.tracking.tracker import SiamTracker

SIDE, CHANNELS = 17, 24


def scenery(seed: int = 0) -> np.ndarray:
    """(C, H, W) background cells of unit length that are a little alike."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(CHANNELS, SIDE, SIDE)).astype(np.float32) + 1.0
    return x / np.linalg.norm(x, axis=0)


def with_thing(background: np.ndarray, thing: np.ndarray, row: int, column: int) -> np.ndarray:
    out = background.copy()
    out[:, row - 1 : row + 2, column - 1 : column + 2] = thing[:, None, None]
    return out


def direction(seed: int) -> np.ndarray:
    v = np.random.default_rng(seed).normal(size=CHANNELS).astype(np.float32)
    return v / np.linalg.norm(v)


def fitted(thing: np.ndarray, gap: int = 1) -> OnlineFilter:
    places = [(8, 8), (6, 9), (10, 7)]
    maps = np.stack([with_thing(scenery(k), thing, *place) for k, place in enumerate(places)])
    return OnlineFilter(maps, places, (3.0, 3.0), channels=16, rate=0.2, gap=gap)


@settings(max_examples=25, deadline=None)
@given(row=st.integers(2, SIDE - 3), column=st.integers(2, SIDE - 3), seed=st.integers(10, 40))
def test_the_peak_stands_where_the_target_is(row: int, column: int, seed: int) -> None:
    thing = direction(1)
    response = fitted(thing).respond(with_thing(scenery(seed), thing, row, column))
    assert response.shape == (SIDE, SIDE)
    assert np.unravel_index(int(np.argmax(response)), response.shape) == (row, column)


def test_it_learns_to_tell_a_look_alike_from_the_target() -> None:
    target = direction(1)
    alike = target + 0.35 * direction(2)
    alike /= np.linalg.norm(alike)
    online = fitted(target)
    both = with_thing(with_thing(scenery(50), target, 8, 5), alike, 8, 12)
    before = online.respond(both)
    matched = np.zeros((SIDE, SIDE), np.float32)
    matched[7:10, 11:14] = 0.9  # the matcher takes it for the target
    for k in range(30):
        seen = with_thing(with_thing(scenery(60 + k), target, 8, 5), alike, 8, 12)
        online.learn(seen, (8, 5), (3.0, 3.0), matched)
    after = online.respond(both)
    assert after[8, 12] < before[8, 12] - 0.1
    assert after[8, 5] > 0.6 and after[8, 5] > 2 * after[8, 12]


def test_it_learns_every_gapth_frame_only() -> None:
    thing = direction(1)
    online = fitted(thing, gap=3)
    weights, changed = online.weights.copy(), []
    for k in range(6):
        online.learn(with_thing(scenery(70 + k), thing, 8, 8), (8, 8), (3.0, 3.0), np.zeros((SIDE, SIDE), np.float32))
        changed.append(not np.array_equal(weights, online.weights))
        weights = online.weights.copy()
    assert changed == [False, False, True, False, False, True]


def test_the_filter_decides_between_places_that_the_matcher_takes_for_equal() -> None:
    config = changed(pixel_tracker().config, {"online.weight": 0.7, "window_influence": 0.3})
    logits = np.full((SIDE, SIDE), -4.0, np.float32)
    logits[8, 6] = logits[8, 10] = 2.0
    steps = np.arange(SIDE, dtype=np.float32) * 16
    boxes = np.stack(
        np.broadcast_arrays(steps[None] - 30, steps[:, None] - 30, steps[None] + 30, steps[:, None] + 30)
    ).astype(np.float32)
    for column in (6, 10):
        online = np.zeros((SIDE, SIDE), np.float32)
        online[8, column] = 0.9
        weighed = weigh_boxes(logits, boxes, (60.0, 60.0), config, online)
        assert np.unravel_index(int(np.argmax(weighed.mixed)), weighed.mixed.shape) == (8, column)


def test_features_without_a_filter_are_the_usual_ones_and_old_calibrations_ignore_them() -> None:
    response = np.full((1, SIDE, SIDE), 0.1, np.float32)
    response[0, 8, 8] = 0.9
    online = np.zeros((1, SIDE, SIDE), np.float32)
    online[0, 8, 9], online[0, 2, 2] = 0.7, 0.4
    boxes = np.broadcast_to(np.array([98, 98, 158, 158], np.float32)[:, None, None], (1, 4, SIDE, SIDE))
    size, unknown = np.full((1, 2), 60.0), np.full(1, np.nan)

    def features(online: np.ndarray | None) -> np.ndarray:
        weighed = weigh_boxes(np.log(response / (1 - response)), boxes, size, pixel_tracker().config, online)
        peaks = read_peaks(weighed, np.array([8 * SIDE + 8]), 16, 257).astype(np.float64)
        return confidence_features(peaks, size, 257, unknown, unknown, np.array([online is not None]))[0]

    plain, learnt = features(None), features(online)
    assert tuple(plain[6:8]) == USUAL_ONLINE and len(plain) == len(FEATURES)
    assert learnt[6:8] == pytest.approx([0.7, 0.3])
    old = (-2.0, 1.0, 0.2, 0.0, 0.0, 0.0, 0.0)
    assert probability(plain, old) == probability(learnt, old)


def test_a_tracker_learns_while_it_tracks_and_not_without_a_weight() -> None:
    model = random_model("boxes cosine")
    config = changed(model.config.tracking, {"online.gap": 1, "states.sure_score": 0.0})
    frames, boxes = moving_square(6)
    for weight in (0.7, 0.0):
        tracker = SiamTracker(model, build_engine(model, "cpu", "torch"), changed(config, {"online.weight": weight}))
        tracker.init(frames[0], boxes[0])
        assert tracker.target is not None
        assert (tracker.target.filter is not None) == (weight > 0)
        first = None if tracker.target.filter is None else tracker.target.filter.to_arrays()["weights"]
        for frame in frames[1:]:
            tracker.update(frame)
        if first is not None and tracker.target.filter is not None:
            assert not np.array_equal(first, tracker.target.filter.to_arrays()["weights"])


def test_an_engine_without_an_embedding_tracks_without_a_filter() -> None:
    frames, boxes = moving_square(5)
    tracker = pixel_tracker({"online.weight": 0.7})
    tracker.init(frames[0], boxes[0])
    for frame in frames[1:]:
        track = tracker.update(frame)
    assert tracker.target is not None and tracker.target.filter is None
    assert np.isfinite(track.box).all()


def test_a_target_without_a_filter_gets_one_from_the_first_sure_frame() -> None:
    """As a known target does that was found in this video."""
    model = random_model("boxes cosine")
    tracker = SiamTracker(
        model, build_engine(model, "cpu", "torch"), changed(model.config.tracking, {"states.sure_score": 0.0})
    )
    frames, boxes = moving_square(3)
    tracker.init(frames[0], boxes[0])
    assert tracker.target is not None
    tracker.target.filter = None
    tracker.update(frames[1])
    assert tracker.target.filter is not None


def test_a_frame_that_is_not_sure_teaches_nothing() -> None:
    model = random_model("boxes cosine")
    tracker = SiamTracker(
        model,
        build_engine(model, "cpu", "torch"),
        changed(model.config.tracking, {"states.sure_score": 1.1, "online.gap": 1}),
    )
    frames, boxes = moving_square(4)
    tracker.init(frames[0], boxes[0])
    assert tracker.target is not None and tracker.target.filter is not None
    weights = tracker.target.filter.weights.copy()
    for frame in frames[1:]:
        tracker.update(frame)
    assert np.array_equal(weights, tracker.target.filter.weights)


def test_without_a_filter_the_score_has_weights_of_its_own() -> None:
    model = random_model("boxes cosine")
    config = changed(
        model.config.tracking,
        {
            "calibration.confidence": (50.0,) + (0.0,) * 9,
            "calibration.confidence_plain": (-50.0,) + (0.0,) * 9,
            "states.enabled": False,
        },
    )
    frames, boxes = moving_square(3)
    scores = {}
    for weight in (0.7, 0.0):
        tracker = SiamTracker(model, build_engine(model, "cpu", "torch"), changed(config, {"online.weight": weight}))
        tracker.init(frames[0], boxes[0])
        scores[weight] = tracker.update(frames[1]).score
    assert scores[0.7] > 0.99 and scores[0.0] < 0.01


@pytest.mark.parametrize("learnt", [0, 1, 3])
def test_a_filter_that_was_saved_goes_on_bit_for_bit(learnt: int) -> None:
    thing = direction(1)
    before = fitted(thing, gap=2)
    frames = [(with_thing(scenery(20 + k), thing, 8 + k, 8), (8 + k, 8)) for k in range(4)]
    blank = np.zeros((SIDE, SIDE), np.float32)
    for one, place in frames[:learnt]:
        before.learn(one, place, (3.0, 3.0), blank)
    after = OnlineFilter.from_arrays(before.to_arrays(), rate=0.2, gap=2)
    for one, place in frames:
        assert np.array_equal(before.respond(one), after.respond(one))
        for filter_ in (before, after):
            filter_.learn(one, place, (3.0, 3.0), blank)
    broken = {**before.to_arrays(), "basis": np.zeros((3, 2), np.float32)}
    with pytest.raises(ValueError):
        OnlineFilter.from_arrays(broken, rate=0.2, gap=2)


def test_turned_samples_of_the_first_frame_are_added() -> None:
    for turn in (0.0, 30.0):
        windows = first_windows((50.0, 40.0), 30.0, 65, turn)
        assert [angle for _, angle in windows] == [0.0] * 4 + [turn, -turn] * bool(turn)
        assert all(crop.size == 65 and crop.scale == pytest.approx(65 / 30) for crop, _ in windows)
    model = random_model("boxes cosine")
    frames, boxes = moving_square(2)
    weights = []
    for turn in (0.0, 30.0):
        config = changed(model.config.tracking, {"online.turn": turn})
        tracker = SiamTracker(model, build_engine(model, "cpu", "torch"), config)
        tracker.init(frames[0], boxes[0])
        assert tracker.target is not None and tracker.target.filter is not None
        weights.append(tracker.target.filter.weights)
    assert weights[0].shape == weights[1].shape and not np.allclose(weights[0], weights[1])
