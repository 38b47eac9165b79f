"""Colours: what they say of what a search found, and of a target that is about to be LOST."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.geometry import iou
from tracker.tracking.colours import EVEN, colours_alike, recoloured
from tracker.tracking.observer import Scene
from tracker.tracking.tracker import SiamTracker
from tracker.types import TrackState

GROUND, THING = ground(), thing()
OTHER = np.ascontiguousarray(THING[..., ::-1])
"""The same pattern in other colours."""
BOX = (60, 50, 28, 28)
PLACE = np.array([74.0, 64.0]), np.array([28.0, 28.0])


def followed(changes: dict[str, object] | None = None) -> SiamTracker:
    tracker = pixel_tracker(changes or {})
    tracker.init(put(GROUND, THING, 60, 50), BOX)
    for _ in range(3):
        tracker.update(put(GROUND, THING, 60, 50))
    return tracker


def test_own_colours_are_alike_and_another_s_are_not() -> None:
    tracker = followed()
    assert tracker.target is not None
    own = colours_alike(Scene(tracker.observer, put(GROUND, THING, 60, 50)), tracker.target, PLACE)
    other = colours_alike(Scene(tracker.observer, put(GROUND, OTHER, 60, 50)), tracker.target, PLACE)
    assert own is not None and other is not None and EVEN + 0.1 < own <= 1 + 1e-6 and 0 <= other < EVEN
    assert tracker.target.distractors is not None and tracker.target.distractors.colours is not None
    tracker.target.distractors = None
    assert colours_alike(Scene(tracker.observer, put(GROUND, THING, 60, 50)), tracker.target, PLACE) is None


@given(score=st.floats(0, 1), weight=st.floats(0, 100))
def test_a_score_stays_one_and_moves_the_right_way(score: float, weight: float) -> None:
    tracker = FOLLOWED
    assert tracker.target is not None
    same, other = (Scene(tracker.observer, put(GROUND, one, 60, 50)) for one in (THING, OTHER))
    raised = recoloured(same, tracker.target, PLACE, score, weight, jumped=True)
    lowered = recoloured(other, tracker.target, PLACE, score, weight, jumped=True)
    assert 0 <= lowered <= max(score, 1e-4) + 1e-9 and min(score, 1 - 1e-4) <= raised + 1e-9 and raised <= 1
    followed_on = recoloured(other, tracker.target, PLACE, score, weight, jumped=False)
    assert followed_on == pytest.approx(min(max(score, 1e-4), 1 - 1e-4) if weight > 0 else score, abs=1e-9)


FOLLOWED = followed()


def found_in(changes: dict[str, object], shown: np.ndarray) -> int:
    """After how many frames something is reported on what stands elsewhere after the target was gone; 40: never."""
    tracker = followed(changes)
    for _ in range(6):
        assert not tracker.update(GROUND).visible
    for k in range(40):
        track = tracker.update(put(GROUND, shown, 120, 90))
        if track.visible and iou(track.box, (120, 90, 28, 28)) > 0.5:
            return k
    return 40


def test_colours_speak_for_and_against_what_a_search_found() -> None:
    # The stand-in's matcher takes a paler thing for the target; it takes some frames of evidence to be reported.
    slow = {"redetection.drop": 99.0, "redetection.trail_evidence": 0.0, "redetection.evidence": 8.0}
    without, paler, own = (
        found_in({**slow, "redetection.colours": weight}, shown)
        for weight, shown in ((0.0, OTHER_SHADE), (60.0, OTHER_SHADE), (60.0, THING))
    )
    assert own < without < paler


OTHER_SHADE = (THING * 0.45 + 120).clip(0, 255).astype(np.uint8)
"""The same pattern, paler: correlation is blind to that."""


def test_a_target_known_by_its_colours_is_not_lost_at_once() -> None:
    plain, bent = np.full_like(GROUND, 127), THING.copy()
    bent[:12] = THING[:12][::-1]  # the rest still tells where it is
    strict = {
        "states.lost_score": 0.98,
        "states.uncertain_score": 0.99,
        "states.sure_score": 1.0,
        "states.lost_peak": 2.0,
    }
    lost = {}
    for weight in (0.0, 60.0):
        changes = {**strict, "states.lost_colours": weight, "states.lost_evidence": 0.1, "states.uncertain_frames": 6}
        tracker = pixel_tracker(changes)
        tracker.init(put(plain, THING, 60, 50), BOX)
        assert tracker.update(put(plain, THING, 60, 50)).state is TrackState.TRACKING
        lost[weight] = [not tracker.update(put(plain, bent, 60, 50)).visible for _ in range(10)]
    assert lost[0.0][1] and not any(lost[60.0][:5])
    assert any(lost[60.0]), "not for ever: UNCERTAIN for so long is LOST"
