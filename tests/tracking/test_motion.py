"""Where a target is expected: the camera's shift, the target's own velocity, and which of them is believed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.tracking.motion import CameraMotion, MotionModel, Shift


def ground(seed: int = 0, height: int = 700, width: int = 900) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("shift", [(7, -4), (-23, 11), (1, 0)])
def test_the_shift_of_a_moving_camera_is_found(shift: tuple[int, int]) -> None:
    world, (dx, dy) = ground(), shift
    camera = CameraMotion()
    assert camera.update(world[100:580, 100:740]) is None, "nothing is known in the first frame"
    found = camera.update(world[100 - dy : 580 - dy, 100 - dx : 740 - dx])
    assert found is not None
    point = np.array([300.0, 200.0])
    assert np.linalg.norm(found(point) - point - shift) < 1.0


def test_zoom_moves_points_away_from_the_middle() -> None:
    world = ground()[:480, :640]
    zoom = cv2.warpAffine(world, np.array([[1.06, 0, -0.06 * 320], [0, 1.06, -0.06 * 240]]), (640, 480))
    camera = CameraMotion()
    camera.update(world)
    found = camera.update(zoom)
    assert found is not None
    assert np.linalg.norm(found(np.array([520.0, 240.0])) - [532, 240]) < 2
    assert np.linalg.norm(found(np.array([320.0, 240.0])) - [320, 240]) < 2


@pytest.mark.parametrize("kind", ["still", "flat", "other size", "other scene", "black", "tiny"])
def test_nothing_is_claimed_where_nothing_can_be_known(kind: str) -> None:
    first = ground(0)[:480, :640]
    second = {
        "still": first.copy(),
        "flat": np.full_like(first, 90),
        "other size": ground(0)[:500, :600],
        "other scene": ground(5)[:480, :640],
        "black": np.zeros_like(first),
        "tiny": np.zeros((1, 1, 3), np.uint8),
    }[kind]
    camera = CameraMotion()
    camera.update(first)
    assert camera.update(second) is None


def run(steps: list[tuple[float, float]], shifts: list[tuple[float, float]] | None = None) -> list[float]:
    """Distance of each prediction to the place, for a target that takes these steps under this camera."""
    model, centre, off = MotionModel(), np.zeros(2), []
    for k, step in enumerate(steps):
        known = None if shifts is None else Shift(np.hstack([np.eye(2), np.array(shifts[k])[:, None]]))
        place = model.predict(centre, known)
        before, centre = centre, centre + step
        off.append(float(np.linalg.norm(place - centre)))
        model.observe(before, centre, 20.0)
    return off


def test_a_steady_walk_is_anticipated() -> None:
    off = run([(9.0, 3.0)] * 30)
    assert off[0] > 9 and max(off[15:]) < 1


def test_the_camera_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    shifts = [tuple(v) for v in rng.normal(0, 15, (40, 2))]
    assert np.mean(run(shifts, shifts)[10:]) < 1 < np.mean(run(shifts)[10:])


def test_a_camera_that_follows_the_target_moves_nothing() -> None:
    shifts = [(-12.0, 0.0)] * 40
    assert max(run([(0.0, 0.0)] * 40, shifts)) == 0


def test_a_target_that_jitters_is_expected_where_it_was() -> None:
    steps = [(10.0 * (-1) ** k, 0.0) for k in range(40)]
    assert max(run(steps)) <= 10


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=20))
def test_predictions_stay_finite(steps: list[tuple[float, float]]) -> None:
    assert np.isfinite(run(steps, steps[::-1])).all()
