"""Look-alikes that stood elsewhere while the target was in sight, and the usual response that tells a target from its
remains."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tracking.standin import ground, pixel_tracker, put, thing
from tests.tracking.test_parts import peak_maps
from tracker.crops import Crop
from tracker.tracking.distractors import DistractorMemory
from tracker.tracking.redetection_search import Redetection

GROUND, THING = ground(), thing()
BOX = (60, 50, 28, 28)


def twins() -> tuple[DistractorMemory, np.ndarray, Crop]:
    """A target of 12 x 12 at (32.5, 32.5) and one almost as alike at (64.5, 32.5), one cell for 8 pixels."""
    kept = DistractorMemory(np.zeros((65, 65, 3), np.uint8), np.array([32.5, 32.5]), np.array([12.0, 12.0]), age=100)
    return kept, peak_maps(2.9)[0], Crop(0, 0, 1.0, 65)


@pytest.mark.parametrize(
    ("place", "least", "told"), [((62, 34), 2.0, True), ((62, 34), 2.95, False), ((40, 34), 2.0, False)]
)
def test_what_stood_beside_the_target_is_another(place: tuple[int, int], least: float, told: bool) -> None:
    kept, logits, crop = twins()
    assert kept.shows_distractor(logits, crop, 8, np.array(place, dtype=np.float64), least) is told
    assert not kept.shows_distractor(logits - 4, crop, 8, np.array(place, dtype=np.float64), least - 4), (
        "where all is weak, nothing follows"
    )


def test_another_is_followed_and_forgotten() -> None:
    kept, _, _ = twins()
    kept.others.append((np.array([64.5, 32.5]), 104))
    assert not kept.claims(np.array([64.5, 60.0]), 105, 30)
    for k in range(1, 6):
        assert kept.claims(np.array([64.5, 32.5 + 6 * k]), 104 + k, 30)
    assert not kept.claims(np.array([64.5, 62.5]), 109 + 31, 30) and not kept.others


def test_an_unbroken_trail_is_not_questioned() -> None:
    size, place = np.array([20.0, 20.0]), np.array([50.0, 50.0])
    redetection = Redetection(trail=True)
    assert not redetection.strays(place + np.array([10, 0]), place, size)
    assert redetection.strays(place + np.array([16, 0]), place, size)
    assert redetection.strays(place, place, size), "once it has jumped, it may be another's"
    assert Redetection().strays(place, place, size) and not Redetection(pending=(place, size)).strays(
        place, place, size
    )


@pytest.mark.parametrize("frames", [0, 30])
def test_a_look_alike_that_stood_there_before_is_not_the_target(frames: int) -> None:
    tracker = pixel_tracker(distractor_frames=frames, lost_follow_frames=0)
    twin = put(GROUND, THING, 250, 180)
    tracker.init(put(twin, THING, 60, 50), BOX)
    for k in range(1, 6):
        assert tracker.update(put(twin, THING, 60 + k, 50)).visible
    gone = [tracker.update(twin).visible for _ in range(20)]
    assert any(gone) is (frames == 0)
    if frames:
        assert any(tracker.update(put(twin, THING, 66, 50)).visible for _ in range(5)), "back beside its twin"


def test_a_frame_is_kept_as_a_copy_now_and_then() -> None:
    tracker = pixel_tracker(distractor_gap=4)
    picture = put(GROUND, THING, 60, 50)
    tracker.init(picture, BOX)
    ages = []
    for _ in range(9):
        tracker.update(picture)
        kept = tracker.target.distractors  # type: ignore[union-attr]
        assert kept is not None and not np.shares_memory(kept.frame, picture)
        ages.append(kept.age)
    assert ages == [1, 1, 1, 1, 5, 5, 5, 5, 9]


def test_the_usual_response_rises_fast_and_falls_slowly() -> None:
    tracker = pixel_tracker()
    tracker.init(put(GROUND, THING, 60, 50), BOX)
    target = tracker.target
    assert target is not None
    for logit in [2.0, 4.0] * 30:
        target.update_reference_logit(logit, 0.02)
    high = target.reference_logit
    assert high is not None and high > 3.4, "the better half counts for more"
    for _ in range(10):
        target.update_reference_logit(-3.0, 0.02)
    assert target.drop(-3.0) > 0.7 * (high + 3), "a target that slides away doesn't become its own measure"
    for _ in range(30):
        target.update_reference_logit(5.0, 0.02)
    assert target.drop(5.0) < 0.5
