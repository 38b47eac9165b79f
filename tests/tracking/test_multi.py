"""Several targets: results of single runs, one network call, identities that survive a crossing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.standin import PixelEngine, ground, pixel_tracker, put, thing
from tracker.errors import BoxError, SiamTrackError
from tracker.geometry import iou
from tracker.model.checkpoint import load_model, shipped_models
from tracker.runtime.onnxruntime_engine import OnnxEngine
from tracker.settings import changed
from tracker.tracking.multi import MultiTracker
from tracker.tracking.parallel import TOGETHER, shares
from tracker.tracking.tracker import SiamTracker
from tracker.types import Track, TrackState

GROUND = ground(400, 300)


def test_targets_apart_are_followed_as_single_runs_do_in_one_call() -> None:
    things = [thing(26, seed) for seed in range(1, 5)]
    starts = [(30, 30), (320, 40), (40, 220), (300, 230)]
    steps = [(2, 1), (-2, 1), (2, -1), (-1, -2)]

    def scene(k: int) -> np.ndarray:
        image = GROUND
        for patch, (x, y), (dx, dy) in zip(things, starts, steps, strict=True):
            image = put(image, patch, x + dx * k, y + dy * k)
        return image

    boxes = [(x, y, 26, 26) for x, y in starts]
    several = MultiTracker(pixel_tracker({"template_memory.size": 0}))
    several.init(scene(0), boxes)
    singles = []
    for box in boxes:
        single = pixel_tracker({"template_memory.size": 0})
        single.init(scene(0), box)
        singles.append(single)
    for k in range(1, 15):
        tracks = several.update(scene(k), index=k)
        assert [t.target_id for t in tracks] == [0, 1, 2, 3]
        for track, single in zip(tracks, singles, strict=True):
            alone = single.update(scene(k), index=k)
            assert np.allclose(track.box, alone.box, atol=1e-6) and track.state == alone.state
            assert track.score == pytest.approx(alone.score, abs=1e-6)
    assert several.engine.calls == [(4, 4)] * 14  # type: ignore[attr-defined]


@pytest.mark.parametrize("lane", [0, 6])
def test_two_look_alikes_that_cross_keep_their_ids(lane: int) -> None:
    patch = thing(30, 3)

    def places(k: int) -> tuple[tuple[float, float], tuple[float, float]]:
        return (60 + 4.0 * k, 120.0), (300 - 4.0 * k, 120.0 + lane)

    several = MultiTracker(pixel_tracker({"template_memory.size": 0, "states.uncertain_frames": 30}))
    a, b = places(0)
    several.init(put(put(GROUND, patch, *b), patch, *a), [(*a, 30, 30), (*b, 30, 30)])
    for k in range(1, 60):
        a, b = places(k)
        tracks = several.update(put(put(GROUND, patch, *b), patch, *a), index=k)
    assert iou(tracks[0].box, (*a, 30, 30)) > 0.5
    assert iou(tracks[1].box, (*b, 30, 30)) > 0.5


def test_two_trackers_alone_end_on_the_same_one() -> None:
    """The crossing above is one that single trackers do not survive."""
    patch = thing(30, 3)

    def places(k: int) -> tuple[tuple[float, float], tuple[float, float]]:
        return (60 + 4.0 * k, 120.0), (300 - 4.0 * k, 120.0)

    singles = [pixel_tracker({"template_memory.size": 0}), pixel_tracker({"template_memory.size": 0})]
    for single, place in zip(singles, places(0), strict=True):
        single.init(put(put(GROUND, patch, *places(0)[1]), patch, *places(0)[0]), (*place, 30, 30))
    for k in range(1, 60):
        a, b = places(k)
        tracks = [single.update(put(put(GROUND, patch, *b), patch, *a)) for single in singles]
    right = [iou(track.box, (*place, 30, 30)) > 0.5 for track, place in zip(tracks, (a, b), strict=True)]
    assert not all(right)


def test_targets_come_and_go() -> None:
    first, second = thing(26, 1), thing(26, 2)
    image = put(put(GROUND, first, 50, 50), second, 250, 180)
    several = MultiTracker(pixel_tracker())
    several.init(image, [(50, 50, 26, 26)])
    assert several.add(image, (250, 180, 26, 26)) == 1
    assert [t.target_id for t in several.update(image)] == [0, 1]
    several.drop(0)
    tracks = several.update(image)
    assert [t.target_id for t in tracks] == [1] and iou(tracks[0].box, (250, 180, 26, 26)) > 0.8
    assert several.add(image, (50, 50, 26, 26)) == 2
    with pytest.raises(SiamTrackError, match="no target 0"):
        several.drop(0)
    with pytest.raises(BoxError):
        several.add(image, (5000, 0, 3, 3))
    several.reset()
    assert several.update(image) == []


def test_a_lost_one_is_found_while_others_are_followed() -> None:
    first, second = thing(26, 1), thing(26, 2)
    several = MultiTracker(pixel_tracker())
    several.init(put(put(GROUND, first, 50, 50), second, 250, 180), [(50, 50, 26, 26), (250, 180, 26, 26)])
    for _ in range(6):
        tracks = several.update(put(GROUND, first, 50, 50))
    assert [t.state for t in tracks] == [TrackState.TRACKING, TrackState.LOST]
    for _ in range(12):
        tracks = several.update(put(put(GROUND, first, 50, 50), second, 120, 230))
    assert tracks[0].visible and tracks[1].visible
    assert iou(tracks[1].box, (120, 230, 26, 26)) > 0.5


def test_a_lost_one_does_not_come_back_on_top_of_its_look_alike() -> None:
    patch = thing(30, 3)
    several = MultiTracker(pixel_tracker())
    several.init(put(put(GROUND, patch, 100, 100), patch, 180, 100), [(100, 100, 30, 30), (180, 100, 30, 30)])
    for _ in range(15):
        tracks = several.update(put(GROUND, patch, 100, 100))
    assert tracks[0].visible and not tracks[1].visible


def test_ten_targets_at_once() -> None:
    places = [(20 + 75 * (k % 5), 40 + 120 * (k // 5)) for k in range(10)]
    image = GROUND
    for k, (x, y) in enumerate(places):
        image = put(image, thing(26, 10 + k), x, y)
    several = MultiTracker(pixel_tracker())
    several.init(image, [(x, y, 26, 26) for x, y in places])
    for _ in range(3):
        tracks = several.update(image)
    assert len(tracks) == 10
    assert all(iou(t.box, (x, y, 26, 26)) > 0.7 for t, (x, y) in zip(tracks, places, strict=True))


def test_targets_that_keep_a_frame_share_one_copy() -> None:
    image = put(put(GROUND, thing(26, 1), 50, 50), thing(26, 2), 250, 180)
    several = MultiTracker(pixel_tracker())
    several.init(image, [(50, 50, 26, 26), (250, 180, 26, 26)])
    several.update(image)
    kept = [target.distractors.frame for target in several.targets.values() if target.distractors]
    assert len(kept) == 2 and kept[0] is kept[1] and kept[0] is not image and np.array_equal(kept[0], image)


class SharedEngine(PixelEngine):
    """May be called from several threads at once."""

    concurrent = True

    def one_thread(self) -> SharedEngine:
        return self


def shared_tracker(changes: Mapping[str, Any] | None = None) -> SiamTracker:
    single = pixel_tracker(changes)
    return SiamTracker(single.model, SharedEngine(), single.config)


@given(st.integers(1, 70), st.integers(1, 16))
def test_shares_hold_every_target_once_and_are_alike(count: int, threads: int) -> None:
    parts = shares(count, threads)
    assert [k for part in parts for k in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert 1 <= min(sizes) and max(sizes) <= min(min(sizes) + 1, TOGETHER)
    assert len(parts) % threads == 0 or len(parts) == count


def test_targets_are_dealt_out_to_threads() -> None:
    places = [(20 + 75 * (k % 5), 40 + 120 * (k // 5)) for k in range(8)]
    image = GROUND
    for k, (x, y) in enumerate(places):
        image = put(image, thing(26, 10 + k), x, y)
    several = MultiTracker(shared_tracker({"template_memory.size": 0}), threads=3)
    several.init(image, [(x, y, 26, 26) for x, y in places])
    tracks = several.update(image)
    assert sorted(several.engine.calls) == [(2, 2), (3, 3), (3, 3)]  # type: ignore[attr-defined]
    assert [t.target_id for t in tracks] == list(range(8))
    assert all(iou(t.box, (x, y, 26, 26)) > 0.7 for t, (x, y) in zip(tracks, places, strict=True))
    assert tracks[0].timing.total > 0
    for left, calls in ((3, [(1, 1)] * 3), (1, [(1, 1)])):  # no thread idles while another has two
        for number in list(several.targets)[left:]:
            several.drop(number)
        several.engine.calls.clear()  # type: ignore[attr-defined]
        several.update(image)
        assert several.engine.calls == calls  # type: ignore[attr-defined]


def test_threads_change_nothing_for_targets_that_cross_or_are_lost() -> None:
    patch, other = thing(30, 3), thing(26, 1)
    runs: list[list[Track]] = []
    for threads in (1, 2, 5):
        several = MultiTracker(shared_tracker({"template_memory.size": 0}), threads)
        tracks: list[Track] = []
        for k in range(45):
            a, b = (60 + 4 * k, 120), (300 - 4 * k, 120)
            image = put(put(GROUND, patch, *b), patch, *a)
            image = image if 10 < k < 30 else put(image, other, 200, 220)
            if k == 0:
                several.init(image, [(*a, 30, 30), (*b, 30, 30), (200, 220, 26, 26)])
            else:
                tracks += several.update(image, index=k)
        runs.append(tracks)
    assert {t.state for t in runs[0]} == set(TrackState)
    for tracks in runs[1:]:
        assert [t.state for t in tracks] == [t.state for t in runs[0]]
        assert np.allclose([t.box for t in tracks], [t.box for t in runs[0]])


@pytest.mark.skipif("siamtrack-n" not in shipped_models(), reason="the weights are not in the package")
def test_a_network_on_several_threads_gives_each_target_what_a_run_of_its_own_gives() -> None:
    model = load_model("siamtrack-n")
    engine = OnnxEngine(
        model.config.model, model.state, threads=2, sizes=(model.config.tracking.small_search.size,), parallel_threads=3
    )
    places = [(20 + 75 * (k % 5), 40 + 120 * (k // 5)) for k in range(10)]
    image = GROUND
    for k, place in enumerate(places):
        image = put(image, thing(26, 20 + k), *place)
    config = changed(model.config.tracking, {"skip.mode": "off"})  # these stand too close to each other for it
    several = MultiTracker(SiamTracker(model, engine, config))
    assert several.parallel.threads == 3
    several.init(image, [(*place, 26, 26) for place in places])
    singles = [SiamTracker(model, engine, config) for _ in places]
    for single, place in zip(singles, places, strict=True):
        single.init(image, (*place, 26, 26))
    learnt = [single.target.filter.weights for single in singles if single.target and single.target.filter]
    for k in range(1, 8):
        frame = np.roll(image, (k, k), axis=(0, 1))
        for track, single in zip(several.update(frame), singles, strict=True):
            alone = single.update(frame)
            assert np.allclose(track.box, alone.box, atol=0.01) and track.score == pytest.approx(alone.score, abs=1e-3)
    filters = [
        (single.target.filter, target.filter)
        for single, target in zip(singles, several.targets.values(), strict=True)
        if single.target
    ]
    assert len(filters) == len(learnt) == 10
    for before, (alone, together) in zip(learnt, filters, strict=True):
        assert alone and together and np.allclose(alone.weights, together.weights, atol=1e-3)
        assert not np.array_equal(before, together.weights)  # the frames were learnt, in the threads


def test_an_engine_that_takes_one_call_at_a_time_gets_one_batch() -> None:
    several = MultiTracker(pixel_tracker(), threads=4)
    assert several.parallel.threads == 1


def test_a_failure_in_a_thread_reaches_the_caller() -> None:
    several = MultiTracker(shared_tracker(), threads=2)
    image = put(put(GROUND, thing(26, 1), 50, 50), thing(26, 2), 250, 180)
    several.init(image, [(50, 50, 26, 26), (250, 180, 26, 26)])
    del several.targets[1].bank.views[:]
    several.targets[1].bank.first = None
    with pytest.raises(TypeError):
        several.update(image)
