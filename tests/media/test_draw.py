"""What is drawn, where, and in which colour."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.media.draw import AMBER, RED, NetworkViewsLike, colour_of, draw_tracks, heat_map, put_label, response_view
from tracker.types import Frame, Track, TrackState


def black(width: int = 320, height: int = 240) -> Frame:
    return Frame(np.zeros((height, width, 3), np.uint8), 0)


def track(
    box: tuple[float, ...] = (100, 80, 60, 50), state: TrackState = TrackState.TRACKING, target: int = 0
) -> Track:
    return Track(np.array(box, dtype=np.float64), 0.87, state, target_id=target)


def has(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((image == np.array(colour, np.uint8)).all(axis=-1).sum())


def views(size: int = 17) -> Any:
    response = np.zeros((size, size), np.float32)
    response[4, 12] = 0.9
    return SimpleNamespace(
        template=np.full((127, 127, 3), 90, np.uint8), search=np.full((255, 255, 3), 120, np.uint8), response=response
    )


def test_each_state_looks_different_and_the_frame_is_not_touched() -> None:
    frame = black()
    tracking, uncertain, lost = (draw_tracks(frame, [track(state=state)]) for state in TrackState)
    assert not frame.image.any()
    assert has(tracking, colour_of(0)) > 200 and not has(tracking, AMBER) and not has(tracking, RED)
    assert has(uncertain, AMBER) > 50 and not has(uncertain, colour_of(0))
    assert has(lost, RED) > 100 and not lost[80:131, 100:161].any()  # a badge, and no box


def test_the_box_is_where_it_should_be() -> None:
    image = draw_tracks(black(), [track()])
    assert image[105, 100].any() and image[105, 160].any() and image[130, 130].any()
    assert not image[100:110, 110:150].any()


def test_targets_have_their_own_colours() -> None:
    image = draw_tracks(black(), [track((10, 100, 40, 40)), track((200, 100, 40, 40), target=1)], note="25 fps")
    assert has(image[:, :120], colour_of(0)) and not has(image[:, :120], colour_of(1))
    assert has(image[:, 180:], colour_of(1)) and not has(image[:, 180:], colour_of(0))


@given(
    st.tuples(*[st.floats(-1e7, 1e7)] * 2, *[st.floats(0, 1e7)] * 2),
    st.sampled_from(TrackState),
    st.sampled_from([(1, 1), (7, 3), (64, 48), (640, 360)]),
)
@settings(max_examples=60, deadline=None)
def test_no_box_and_no_frame_breaks_the_drawing(
    box: tuple[float, ...], state: TrackState, size: tuple[int, int]
) -> None:
    image = draw_tracks(black(*size), [track(box, state)], note="12.3 fps")
    assert image.shape == (size[1], size[0], 3)


def test_labels_stay_inside() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    for at in ((-50, -50), (500, 500), (190, 5)):
        height = put_label(image, "0.93", at, (0, 255, 0), above=True)
        assert 0 < height < 40
    assert has(image[-20:, -60:], (0, 255, 0)) > 50


def test_heat_map_runs_from_blue_to_red() -> None:
    image = heat_map(np.array([[0.0, 1.0], [np.nan, 2.0]], np.float32), 64, 64)
    assert image.shape == (64, 64, 3)
    assert image[2, 2, 0] > image[2, 2, 2] - 10 and image[2, 61, 2] > image[2, 61, 0]


@pytest.mark.parametrize(("width", "height"), [(320, 240), (640, 480), (1280, 720)])
def test_response_view_has_one_size_per_frame_size(width: int, height: int) -> None:
    frame = black(width, height)
    seen: NetworkViewsLike = views()
    first, later = response_view(frame, [track()], None), response_view(frame, [track()], seen)
    assert first.shape == later.shape and later.shape[0] >= 480
    assert later.shape[1] == round(width * later.shape[0] / height) + later.shape[0] // 3
    assert has(later[:, : -later.shape[0] // 3], colour_of(0)) > 100


def test_response_view_marks_the_peak() -> None:
    image = response_view(black(640, 480), [track()], views())
    panel = image[320:480, 640:]
    white = np.argwhere((panel > 240).all(axis=-1) & (np.arange(160)[:, None] > 25))
    assert np.abs(white.mean(axis=0) - ((4 + 0.5) * 160 / 17, (12 + 0.5) * 160 / 17)).max() < 4
    search = image[160:320, 640:]
    assert np.abs(search[42, 118].astype(int) - 120).max() > 30 and np.abs(search[120, 40].astype(int) - 120).max() < 6
