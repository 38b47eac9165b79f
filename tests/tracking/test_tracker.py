"""The tracker of one target: it is followed, states follow what is seen, a lost target is found again."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.errors import BoxError, ImageError, SiamTrackError
from tracker.geometry import iou
from tracker.types import TrackState

GROUND, THING = ground(), thing()


def scene(x: float, y: float) -> np.ndarray:
    return put(GROUND, THING, x, y)


def path(k: int) -> tuple[float, float]:
    return 60 + 2.0 * k, 50 + 1.5 * k


def test_a_moving_target_is_followed() -> None:
    tracker = pixel_tracker()
    tracker.init(scene(*path(0)), (*path(0), 28, 28))
    for k in range(1, 30):
        track = tracker.update(scene(*path(k)), index=k, timestamp=k / 25)
        assert iou(track.box, (*path(k), 28, 28)) > 0.6
        assert track.state is TrackState.TRACKING and track.index == k and track.timestamp == k / 25
    assert (
        tracker.views is not None
        and tracker.views.template.shape == (65, 65, 3)
        and tracker.views.search.shape == (129, 129, 3)
    )
    assert track.response is not None and 0 <= track.response.min() <= track.response.max() <= 1


def test_one_network_call_for_each_frame_while_tracking() -> None:
    tracker = pixel_tracker({"template_memory.size": 0})
    tracker.init(scene(*path(0)), (*path(0), 28, 28))
    engine = tracker.engine
    for k in range(1, 10):
        tracker.update(scene(*path(k)))
    assert engine.calls == [(1, 1)] * 9  # type: ignore[attr-defined]


def test_a_covered_target_is_lost_at_its_last_place_and_found_again() -> None:
    tracker = pixel_tracker()
    tracker.init(scene(*path(0)), (*path(0), 28, 28))
    for k in range(1, 10):
        tracker.update(scene(*path(k)))
    last = tracker.target.box  # type: ignore[union-attr]
    for _ in range(12):
        track = tracker.update(GROUND)
        assert not track.visible and track.state is TrackState.LOST
        assert np.hypot(*(track.box - last)[:2]) < 28, "the best guess stays near where nothing answers"
    states = [tracker.update(scene(*path(12))).state for _ in range(4)]
    assert states[-1] is TrackState.TRACKING
    assert iou(tracker.update(scene(*path(12))).box, (*path(12), 28, 28)) > 0.5


@pytest.mark.parametrize(("x", "y"), [(270, 190), (5, 200), (280, 5)])
def test_a_target_that_comes_back_elsewhere_is_found(x: float, y: float) -> None:
    tracker = pixel_tracker()
    tracker.init(scene(60, 50), (60, 50, 28, 28))
    for _ in range(6):
        tracker.update(GROUND)
    tracks = [tracker.update(scene(x, y)) for _ in range(14)]
    assert any(track.visible for track in tracks)
    assert iou(tracks[-1].box, (x, y, 28, 28)) > 0.5


def test_more_evidence_takes_more_frames() -> None:
    waits = []
    for evidence in (0.0, 12.0):
        tracker = pixel_tracker({"redetection.evidence": evidence, "redetection.follow_frames": 0})
        tracker.init(scene(60, 50), (60, 50, 28, 28))
        for _ in range(4):
            tracker.update(GROUND)
        waits.append(next(k for k in range(20) if tracker.update(scene(60, 50)).visible))
    assert waits[0] < waits[1]


def test_one_bad_frame_of_a_moving_target_is_soon_forgiven() -> None:
    tracker = pixel_tracker({"redetection.evidence": 50.0})
    tracker.init(scene(*path(0)), (*path(0), 28, 28))
    for k in range(1, 8):
        tracker.update(scene(*path(k)))
    assert not tracker.update(GROUND).visible
    assert [tracker.update(scene(*path(k))).visible for k in (9, 10, 11)][-1]


def test_without_the_search_it_stays_lost() -> None:
    tracker = pixel_tracker({"redetection.enabled": False})
    tracker.init(scene(60, 50), (60, 50, 28, 28))
    for _ in range(6):
        tracker.update(GROUND)
    assert not any(tracker.update(scene(270, 190)).visible for _ in range(15))


def test_two_look_alikes_are_no_detection() -> None:
    tracker = pixel_tracker({"redetection.margin": 1.0})
    tracker.init(scene(60, 50), (60, 50, 28, 28))
    for _ in range(6):
        tracker.update(GROUND)
    twins = put(scene(270, 190), THING, 232, 190)
    assert not any(tracker.update(twins).visible for _ in range(8))


def test_an_uncertain_target_keeps_its_size_and_makes_small_steps() -> None:
    tracker = pixel_tracker(
        {
            "states.uncertain_score": 1.01,
            "states.sure_score": 1.02,
            "states.lost_score": 0.0,
            "states.uncertain_frames": 100,
            "states.uncertain_motion": 0.1,
        }
    )
    tracker.init(scene(60, 50), (60, 50, 28, 28))
    track = tracker.update(scene(80, 50))
    assert track.state is TrackState.UNCERTAIN and track.visible
    assert track.box[2:].tolist() == [28, 28]
    assert np.hypot(*(track.box[:2] - (60, 50))) == pytest.approx(2.8, abs=1e-6)


def test_states_need_a_calibrated_score() -> None:
    tracker = pixel_tracker({"calibration.confidence": ()})
    tracker.init(scene(60, 50), (60, 50, 28, 28))
    assert all(tracker.update(GROUND).state is TrackState.TRACKING for _ in range(5))


def test_black_frames_are_no_target_and_a_frozen_one_is() -> None:
    tracker = pixel_tracker()
    tracker.init(scene(60, 50), (60, 50, 28, 28))
    assert all(tracker.update(scene(60, 50)).visible for _ in range(10))
    black = [tracker.update(np.zeros_like(GROUND)) for _ in range(10)]
    assert not any(track.visible for track in black)


def test_errors_are_sentences() -> None:
    tracker = pixel_tracker()
    with pytest.raises(SiamTrackError, match="before init"):
        tracker.update(GROUND)
    with pytest.raises(SiamTrackError, match="no target to save"):
        tracker.save_target("target.npz")
    with pytest.raises(BoxError):
        tracker.init(GROUND, (1000, 0, 5, 5))
    with pytest.raises(ImageError):
        tracker.init(np.zeros((0, 5, 3), np.uint8), (0, 0, 1, 1))
    tracker.init(GROUND, (60, 50, 28, 28))
    tracker.reset()
    assert tracker.views is None
    with pytest.raises(SiamTrackError):
        tracker.update(GROUND)
