"""The tracker of one target: boxes stay sane whatever comes, states follow what is seen, a lost target is found
again."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.errors import BoxError, ImageError, SiamTrackError
from tracker.geometry import iou
from tracker.runtime.base import Engine
from tracker.types import Track, TrackState

GROUND, THING = ground(), thing()


def scene(x: float, y: float) -> np.ndarray:
    return put(GROUND, THING, x, y)


def path(k: int) -> tuple[float, float]:
    return 60 + 2.0 * k, 50 + 1.5 * k


def check(track: Track, width: int, height: int) -> None:
    assert np.isfinite(track.box).all() and 0 <= track.score <= 1
    assert (track.box[2:] >= 1).all() and track.box[2] <= max(width, 4) and track.box[3] <= max(height, 4)
    centre = track.box[:2] + track.box[2:] / 2
    assert (centre >= 0).all() and (centre <= [width, height]).all()


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


def nonsense(kind: str) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for k in range(12):
        yield {
            "black": np.zeros((240, 320, 3), np.uint8),
            "white": np.full((240, 320, 3), 255, np.uint8),
            "noise": rng.integers(0, 256, (240, 320, 3), dtype=np.uint8),
            "growing": cv2.resize(scene(60, 50), None, fx=1 + 0.3 * k, fy=1 + 0.3 * k),
            "other size": rng.integers(0, 256, (37 + 9 * k, 211 - 11 * k, 3), dtype=np.uint8),
            "one pixel": np.zeros((1, 1, 3), np.uint8),
            "gray": scene(60, 50)[..., 0],
            "bgra": np.dstack([scene(60, 50), np.full((240, 320), 9, np.uint8)]),
            "16 bit": scene(60, 50).astype(np.uint16) * 257,
        }[kind]


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize(
    "kind", ["black", "white", "noise", "growing", "other size", "one pixel", "gray", "bgra", "16 bit"]
)
def test_boxes_stay_sane_whatever_comes(kind: str, states: bool) -> None:
    tracker = pixel_tracker({"states.enabled": states})
    tracker.init(scene(60, 50), (60, 50, 28, 28))
    for image in nonsense(kind):
        check(tracker.update(image), image.shape[1], image.shape[0])


@pytest.mark.parametrize("kind", ["gray", "bgra", "16 bit"])
def test_other_kinds_of_pictures_are_tracked(kind: str) -> None:
    tracker = pixel_tracker()
    images = list(nonsense(kind))
    tracker.init(images[0], (60, 50, 28, 28))
    for image in images:
        track = tracker.update(image)
    assert iou(track.box, (60, 50, 28, 28)) > 0.8


@pytest.mark.parametrize(
    "box",
    [(50, 50, 1, 1), (0.2, 0.3, 0.5, 0.4), (-20, -20, 40, 40), (300, 220, 60, 60), (0, 0, 320, 240), (10, 10, 200, 1)],
)
def test_small_huge_and_border_targets(box: tuple[float, ...]) -> None:
    tracker = pixel_tracker()
    tracker.init(GROUND, box)
    for k in range(8):
        check(tracker.update(np.roll(GROUND, k, axis=1)), 320, 240)


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, 2**31),
    st.integers(8, 90),
    st.integers(8, 90),
    st.floats(-5, 80),
    st.floats(-5, 80),
    st.floats(0.5, 60),
    st.floats(0.5, 60),
)
def test_any_box_in_any_frame(seed: int, width: int, height: int, x: float, y: float, w: float, h: float) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    tracker = pixel_tracker()
    try:
        tracker.init(image, (x, y, w, h))
    except BoxError:
        return
    for _ in range(3):
        check(tracker.update(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)), width, height)


class Wild(Engine):
    """An engine that answers nonsense."""

    name, device = "wild", "cpu"

    def __init__(self, value: float) -> None:
        self.value = value

    def embed_template(self, crops, targets):  # type: ignore[no-untyped-def]
        return np.zeros((len(crops), 4, 5, 5), np.float32)

    def match(self, templates, crops):  # type: ignore[no-untyped-def]
        from tracker.runtime.base import Response

        n = max(len(templates), len(crops))
        return Response(np.full((n, 9, 9), self.value, np.float32), np.full((n, 4, 9, 9), self.value, np.float32))

    def stack(self, templates):  # type: ignore[no-untyped-def]
        return np.concatenate(templates)

    def to_host(self, templates):  # type: ignore[no-untyped-def]
        return templates

    from_host = to_host


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0])
def test_an_engine_gone_wild_gives_finite_boxes(value: float, states: bool) -> None:
    tracker = pixel_tracker({"states.enabled": states})
    tracker.engine = tracker.observer.engine = Wild(value)  # type: ignore[assignment]
    tracker.init(GROUND, (60, 50, 28, 28))
    for _ in range(6):
        check(tracker.update(GROUND), 320, 240)


def test_growth_is_bounded() -> None:
    tracker = pixel_tracker({"max_growth": 2.0, "states.enabled": False, "size_lr": 1.0})

    class Large(Wild):
        def match(self, templates, crops):  # type: ignore[no-untyped-def]
            response = super().match(templates, crops)
            response.boxes[:] = np.array([0, 0, 129, 129], np.float32)[None, :, None, None]
            response.score[:] = 9
            return response

    tracker.engine = tracker.observer.engine = Large(0.0)  # type: ignore[assignment]
    tracker.init(GROUND, (60, 50, 28, 28))
    for _ in range(30):
        track = tracker.update(GROUND)
    assert np.sqrt(track.box[2] * track.box[3]) <= 56 + 1e-6


def test_the_box_follows_a_size_at_a_rate_of_its_own() -> None:
    """The search window, places and scores are those of `size_lr`, whatever the box does."""

    class Larger(Wild):
        def match(self, templates, crops):  # type: ignore[no-untyped-def]
            response = super().match(templates, crops)
            response.boxes[:] = np.array([34, 44, 94, 84], np.float32)[None, :, None, None]
            response.score[:] = 9
            return response

    told = {}
    for rate in (0.0, 0.4, 1.0):
        tracker = pixel_tracker({"states.enabled": False, "size_lr": 0.4, "box_size_lr": rate, "online.weight": 0.0})
        tracker.engine = tracker.observer.engine = Larger(0.0)  # type: ignore[assignment]
        tracker.init(GROUND, (60, 50, 28, 28))
        told[rate] = [tracker.update(GROUND) for _ in range(12)]
    for slow, quick, still in zip(told[0.4], told[1.0], told[0.0], strict=True):
        assert slow.score == quick.score == still.score
        centres = [t.box[:2] + t.box[2:] / 2 for t in (slow, quick, still)]
        assert np.allclose(centres, centres[0], atol=1e-9), "the same place"
        assert np.allclose(still.box[2:], 28), "0 keeps the first size"
    widths = {rate: [t.box[2] for t in tracks] for rate, tracks in told.items()}
    assert 28 < widths[0.4][0] < widths[1.0][0], "a higher rate follows sooner"
    assert widths[0.4][-1] / widths[1.0][-1] > widths[0.4][0] / widths[1.0][0], "and the other comes after it"


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
