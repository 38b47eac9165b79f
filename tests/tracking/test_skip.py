"""Frames that the network leaves out: points carry the box where the scene is calm, and nowhere else."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.config import load_config
from tracker.errors import ConfigError
from tracker.geometry import iou
from tracker.tracking.median_flow import KeyFrame
from tracker.tracking.multi import MultiTracker
from tracker.tracking.scene import Scene
from tracker.tracking.skip import looked
from tracker.tracking.tracker import SiamTracker
from tracker.types import Track, TrackState

AUTO, OFF = {"skip.mode": "auto", "skip.after": 0}, {"skip.mode": "off"}
SIDE = 28


def calm(count: int, step: float = 1.0) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of a thing that goes slowly to the right, and its boxes."""
    places = [round(100 + step * k) for k in range(count)]
    return [put(ground(), thing(), x, 90) for x in places], np.array([(x, 90.0, SIDE, SIDE) for x in places])


def follow(tracker: SiamTracker, frames: list[np.ndarray], box: np.ndarray) -> list[Track]:
    tracker.init(frames[0], box)
    return [tracker.update(frame) for frame in frames[1:]]


def shown(image: np.ndarray) -> Scene:
    return Scene(pixel_tracker().observer, image)


def looks(tracker: SiamTracker) -> int:
    """Calls of the network."""
    return len(tracker.engine.calls)  # type: ignore[attr-defined]


@given(
    x=st.floats(-12, 12),
    y=st.floats(-12, 12),
    zoom=st.floats(0.97, 1.03),
    size=st.tuples(st.floats(16, 120), st.floats(16, 120)),
    off=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
)
@settings(max_examples=40, deadline=None)
def test_points_carry_a_box_by_the_shift_and_scale_of_what_it_shows(
    x: float, y: float, zoom: float, size: tuple[float, float], off: tuple[float, float]
) -> None:
    rng = np.random.default_rng(3)
    scene = cv2.GaussianBlur(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8), (0, 0), 2)
    centre = np.array([160.0, 120.0])
    matrix = np.array([[zoom, 0, (1 - zoom) * 159.5 + x], [0, zoom, (1 - zoom) * 119.5 + y]])
    moved = cv2.warpAffine(scene, matrix, (320, 240), borderMode=cv2.BORDER_REFLECT)
    found = KeyFrame(shown(scene), centre, np.array(size)).carry(shown(moved), centre + np.array([x, y]) + off)
    assert found is not None
    assert np.abs(found.centre - centre - (x, y)).max() < 0.03 * np.sqrt(np.prod(size)) + 0.2
    assert found.size / size == pytest.approx([zoom, zoom], abs=0.03)
    assert found.agree >= 0.5 and found.likeness > 0.8


def test_points_do_not_carry_into_another_scene_or_a_frame_of_another_size() -> None:
    key = KeyFrame(shown(put(ground(), thing(), 100, 90)), np.array([114.0, 104.0]), np.array([28.0, 28.0]))
    found = key.carry(shown(ground(seed=5)), key.centre)
    assert found is None or found.agree < 0.5 or found.likeness < 0.8
    assert key.carry(shown(ground(400, 300)), key.centre) is None
    assert not KeyFrame(shown(ground()), np.array([0.0, 0.0]), np.array([28.0, 28.0])).usable


def test_calm_frames_are_skipped_and_every_third_is_looked_at() -> None:
    frames, boxes = calm(32)  # the stand-in's boxes grow slowly
    tracker = pixel_tracker(AUTO)
    tracks = follow(tracker, frames, boxes[0])
    skipped = [track.skipped for track in tracks]
    assert np.mean(skipped) > 0.5 and looks(tracker) < 0.6 * len(tracks)
    assert not any(all(skipped[k : k + 3]) for k in range(len(skipped) - 2))
    assert (iou(np.array([track.box for track in tracks]), boxes[1:]) > 0.7).all()
    carried = [track for track in tracks if track.skipped]
    assert all(track.state is TrackState.TRACKING and track.response is None for track in carried)
    scores = [track.score for track in tracks]
    assert all(scores[k] == scores[k - 1] for k in range(1, len(tracks)) if skipped[k])


def test_off_looks_at_every_frame() -> None:
    frames, boxes = calm(30)
    tracker = pixel_tracker(OFF)
    tracks = follow(tracker, frames, boxes[0])
    assert looks(tracker) >= len(tracks) and not any(track.skipped for track in tracks)


def test_one_frame_in_a_row_at_most() -> None:
    frames, boxes = calm(40)
    skipped = [track.skipped for track in follow(pixel_tracker(AUTO | {"skip.frames": 1}), frames, boxes[0])]
    assert any(skipped) and not any(a and b for a, b in pairwise(skipped))


@pytest.mark.parametrize("change", ["jump", "covered", "gone"])
def test_the_network_looks_at_once_where_something_happens(change: str) -> None:
    frames, boxes = calm(24)
    tracker = pixel_tracker(AUTO)
    tracks = follow(tracker, frames, boxes[0])
    while not tracks[-1].skipped:  # the next frame may be skipped
        tracks.append(tracker.update(frames[-1]))
    x = int(boxes[-1, 0])
    frame = {
        "jump": put(ground(), thing(), x + 20, 90),
        "covered": put(frames[-1], thing(seed=8, cells=5), x + 4, 92),
        "gone": ground(),
    }[change]
    before = looks(tracker)
    assert not tracker.update(frame).skipped and looks(tracker) > before


def test_an_uncertain_or_lost_target_is_looked_for_in_every_frame() -> None:
    frames, boxes = calm(20)
    tracker = pixel_tracker(AUTO)
    follow(tracker, frames, boxes[0])
    states = []
    for k in range(12):
        track = tracker.update(ground(seed=5 + k))
        states.append(track.state)
        assert not track.skipped
    assert states[-1] is TrackState.LOST


def test_what_is_learnt_first_is_learnt_from_every_frame() -> None:
    frames, boxes = calm(32)
    skipped = [track.skipped for track in follow(pixel_tracker(AUTO | {"skip.after": 20}), frames, boxes[0])]
    assert not any(skipped[:20]) and any(skipped[20:])


def test_a_target_that_changes_its_shape_is_looked_for_in_every_frame() -> None:
    frames, boxes = calm(30)
    tracker = pixel_tracker(AUTO)
    skipped = [track.skipped for track in follow(tracker, frames, boxes[0])]
    target = tracker.target
    assert target is not None and any(skipped[-3:])
    width, height = target.size.tolist()
    for k in range(1, 13):  # wider by three in a hundred in each frame, its height as it was
        target.size = np.array([width * 1.03**k, height])
        looked(target, 1.0, shown(frames[-1]), tracker.config)
    across, down = target.skip.growth
    assert 0.02 < across < np.log(1.03) and abs(down) < 0.003
    assert target.skip.key is None
    for _ in range(20):
        looked(target, 1.0, shown(frames[-1]), tracker.config)
    assert target.skip.key is not None


@pytest.mark.parametrize(("pace", "most"), [(1.005, 2), (1.015, 1), (1.025, 0)])
def test_the_faster_a_target_changes_its_shape_the_fewer_frames_are_skipped(pace: float, most: int) -> None:
    frames, boxes = calm(30)
    tracker = pixel_tracker(AUTO | {"skip.turning": 0.02})
    follow(tracker, frames, boxes[0])
    target = tracker.target
    assert target is not None
    width, height = target.size.tolist()
    for k in range(1, 30):
        target.size = np.array([width * pace**k, height])
        looked(target, 1.0, shown(frames[-1]), tracker.config)
    assert (0 if target.skip.key is None else target.skip.most) == most


def test_without_a_calibrated_score_nothing_is_skipped() -> None:
    frames, boxes = calm(20)
    tracker = pixel_tracker(AUTO | {"calibration.confidence": ()})
    assert not any(track.skipped for track in follow(tracker, frames, boxes[0]))


def test_the_frame_that_points_start_from_may_be_written_over() -> None:
    frames, boxes = calm(30)
    wanted = [track.box for track in follow(pixel_tracker(AUTO), frames, boxes[0])]
    tracker, buffer = pixel_tracker(AUTO), frames[0].copy()
    tracker.init(buffer, boxes[0])
    for frame, box in zip(frames[1:], wanted, strict=True):
        buffer[:] = frame
        assert tracker.update(buffer).box == pytest.approx(box, abs=0)
        buffer[:] = 0


def test_several_targets_that_stand_clear_are_carried_as_in_runs_of_their_own_and_close_ones_are_not() -> None:
    def scene(k: int, places: list[tuple[int, int]]) -> np.ndarray:
        image = ground(500, 400)
        for seed, (x, y) in enumerate(places):
            image = put(image, thing(seed=seed + 1), x + k, y)
        return image

    far = [(60, 60), (300, 300)]
    several, singles = MultiTracker(pixel_tracker(AUTO)), [pixel_tracker(AUTO) for _ in far]
    several.init(scene(0, far), [(x, y, SIDE, SIDE) for x, y in far])
    for single, (x, y) in zip(singles, far, strict=True):
        single.init(scene(0, far), (x, y, SIDE, SIDE))
    skipped = []
    for k in range(1, 30):
        for track, single in zip(several.update(scene(k, far)), singles, strict=True):
            alone = single.update(scene(k, far))
            assert track.box == pytest.approx(alone.box) and track.skipped == alone.skipped
            skipped.append(track.skipped)
    assert np.mean(skipped) > 0.3
    near = [(60, 60), (110, 60)]
    several.init(scene(0, near), [(x, y, SIDE, SIDE) for x, y in near])
    assert not any(track.skipped for k in range(1, 20) for track in several.update(scene(k, near)))


def test_the_short_and_the_long_name_of_the_setting() -> None:
    for text in ("tracking.skip=off", "tracking.skip.mode=off", "tracking.skip=false"):
        assert load_config(None, [text]).tracking.skip.mode == "off"
    for text in ("tracking.skip=auto", "tracking.skip=on", "tracking.skip.mode=true"):
        assert load_config(None, [text]).tracking.skip.mode == "auto"
    with pytest.raises(ConfigError, match="auto or off"):
        load_config(None, ["tracking.skip=sometimes"])
