"""The best guess for a LOST target: reported again where it holds for long, and moved to what a search saw."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.geometry import iou
from tracker.types import TrackState

GROUND, THING = ground(), thing()
STRICT = {"redetection.score": 1.0, "redetection.evidence": 1000.0, "redetection.follow_frames": 0}
"""Nothing is accepted as found."""


def scene(x: float, y: float) -> np.ndarray:
    return put(GROUND, THING, x, y)


def lost_at(x: float, y: float, changes: dict[str, float]) -> object:
    tracker = pixel_tracker({**STRICT, **changes})
    tracker.init(scene(x, y), (x, y, 28, 28))
    for _ in range(4):
        assert not tracker.update(GROUND).visible
    return tracker


def waits(tracker: object, frames: int, x: float, y: float) -> int | None:
    """The frame in which the target at a place is reported, None where it isn't."""
    for k in range(frames):
        track = tracker.update(scene(x, y))  # type: ignore[attr-defined]
        if track.visible:
            assert track.state is TrackState.UNCERTAIN and iou(track.box, (x, y, 28, 28)) > 0.5
            return k
    return None


def test_a_guess_that_holds_for_long_is_reported_again() -> None:
    few = waits(lost_at(60, 50, {"redetection.trail_evidence": 3.0}), 20, 62, 51)
    many = waits(lost_at(60, 50, {"redetection.trail_evidence": 9.0}), 20, 62, 51)
    assert few is not None and many is not None and few < many


def test_without_it_a_target_stays_lost_however_long_it_is_followed() -> None:
    assert waits(lost_at(60, 50, {"redetection.trail_evidence": 0.0}), 20, 62, 51) is None


def test_a_frame_without_the_target_takes_evidence_back() -> None:
    tracker = lost_at(60, 50, {"redetection.trail_evidence": 9.0, "redetection.enabled": False})
    alone = waits(lost_at(60, 50, {"redetection.trail_evidence": 9.0, "redetection.enabled": False}), 20, 62, 51)
    assert alone is not None and alone > 1
    for _ in range(6):  # as many frames with it as without
        assert not tracker.update(scene(62, 51)).visible  # type: ignore[attr-defined]
        assert not tracker.update(GROUND).visible  # type: ignore[attr-defined]


@pytest.mark.parametrize("guess", [0.5, 2.0])
def test_the_guess_moves_to_what_a_search_saw(guess: float) -> None:
    tracker = lost_at(60, 50, {"redetection.guess": guess, "redetection.trail_evidence": 999})
    tracks = [tracker.update(scene(270, 190)) for _ in range(14)]  # type: ignore[attr-defined]
    assert not any(t.visible for t in tracks)
    assert (iou(tracks[-1].box, (270, 190, 28, 28)) > 0.5) == (guess < 1)
