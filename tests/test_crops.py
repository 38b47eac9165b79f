"""The context crop: where a pixel of the frame lands."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.standin import ground
from tracker.crops import Crop, context_side, mean_colour

places = st.floats(-200, 500, width=32)
sides = st.floats(4, 800, width=32)


@given(places, places, sides, st.integers(16, 300), st.tuples(places, places, sides, sides))
def test_boxes_go_there_and_back(x: float, y: float, side: float, size: int, box: tuple[float, ...]) -> None:
    crop = Crop.around((x, y), side, size)
    there = crop.to_crop(box) / crop.scale
    assert np.allclose(there + np.array([crop.left, crop.top, 0, 0]), box, atol=1e-3)


@given(places, places, sides, st.integers(16, 300))
def test_the_centre_is_in_the_middle(x: float, y: float, side: float, size: int) -> None:
    crop = Crop.around((x, y), side, size)
    left, top, width, height = crop.to_crop([x - 1, y - 1, 2, 2])
    assert (left + width / 2, top + height / 2) == pytest.approx((size / 2, size / 2), abs=1e-3)


LEVELS = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 16
"""Of grey, by which OpenCV's warp may differ: before version 5 it rounds places to a 32nd of a pixel on both axes."""


@settings(deadline=None, max_examples=25)
@given(st.integers(-60, 300), st.integers(-60, 200), st.integers(20, 120))
def test_a_crop_at_scale_one_is_the_pixels_themselves(left: int, top: int, size: int) -> None:
    image = ground(240, 160)
    fill = (10.0, 20.0, 30.0)
    cut = Crop(float(left), float(top), 1.0, size).cut(image, fill)
    canvas = np.empty((160 + 800, 240 + 800, 3), np.uint8)
    canvas[:] = np.array(fill, np.uint8)
    canvas[400:560, 400:640] = image
    assert np.array_equal(cut, canvas[top + 400 : top + 400 + size, left + 400 : left + 400 + size])


@pytest.mark.parametrize(("side", "size"), [(64.0, 127), (150.0, 129), (90.0, 255)])
def test_a_blob_lands_where_the_geometry_says(side: float, size: int) -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.rectangle(image, (140, 90), (149, 97), (255, 255, 255), -1)  # covers [140, 150) x [90, 98)
    crop = Crop.around((133.3, 101.7), side, size)
    weight = crop.cut(image, (0, 0, 0))[..., 0].astype(np.float64)
    ys, xs = np.mgrid[0:size, 0:size] + 0.5
    centre = (weight * xs).sum() / weight.sum(), (weight * ys).sum() / weight.sum()
    x, y, w, h = crop.to_crop([140, 90, 10, 8])
    assert centre == pytest.approx((x + w / 2, y + h / 2), abs=0.15 * size / side)


@settings(deadline=None, max_examples=40)
@given(st.floats(-150, 350), st.floats(-150, 250), st.floats(4, 250), st.integers(16, 150))
def test_the_pixels_near_a_window_are_all_that_it_needs(left: float, top: float, side: float, size: int) -> None:
    image, crop = ground(240, 160), Crop(left, top, size / side, size)
    shift = 0.5 / crop.scale - 0.5
    matrix = np.array([[1 / crop.scale, 0, left + shift], [0, 1 / crop.scale, top + shift]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    whole = cv2.warpAffine(
        image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(10, 20, 30)
    )
    assert np.abs(crop.cut(image, (10.0, 20.0, 30.0)).astype(int) - whole).max() <= LEVELS + 1


def test_out_is_written_to() -> None:
    out = np.zeros((50, 50, 3), np.uint8)
    crop = Crop.around((60, 60), 80, 50)
    assert crop.cut(ground(), (0, 0, 0), out) is out
    assert np.array_equal(out, crop.cut(ground(), (0, 0, 0)))


def test_context_side_is_the_papers() -> None:
    # A square of side a: sqrt((a + a)(a + a)) = 2 a.
    assert context_side(50, 50) == pytest.approx(100)
    assert context_side(30, 60) == pytest.approx(np.sqrt((30 + 45) * (60 + 45)))
    assert context_side(30, 60, 0.0) == pytest.approx(np.sqrt(30 * 60))


def test_mean_colour() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2] = (10, 20, 30)
    assert mean_colour(image) == (5, 10, 15)


@settings(deadline=None, max_examples=60)
@given(places, places, st.floats(4, 400, width=32), st.integers(16, 300))
def test_the_warp_is_opencvs_within_a_grey_level(x: float, y: float, side: float, size: int) -> None:
    image, crop, fill = (
        cv2.cvtColor(ground(240, 160), cv2.COLOR_BGR2BGRA),
        Crop.around((x, y), side, size),
        (10.0, 20.0, 30.0, 0.0),
    )
    shift = 0.5 / crop.scale - 0.5
    matrix = np.array([[1 / crop.scale, 0, crop.left + shift], [0, 1 / crop.scale, crop.top + shift]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    whole = cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    assert np.abs(crop._warp(image, 0, 0, fill).astype(int) - whole).max() <= LEVELS


def test_a_view_is_written_to_as_well() -> None:
    canvas = np.zeros((60, 60, 3), np.uint8)
    crop = Crop.around((60, 60), 80, 50)
    crop.cut(ground(), (0, 0, 0), canvas[3:53, 4:54])
    assert np.array_equal(canvas[3:53, 4:54], crop.cut(ground(), (0, 0, 0)))
    crop = Crop.around(
        (60, 60), 200, 50
    )  # fewer pixels than the window has: warped from three channels, straight into the view
    crop.cut(ground(), (0, 0, 0), canvas[3:53, 4:54])
    assert (
        np.array_equal(canvas[3:53, 4:54], crop.cut(ground(), (0, 0, 0)))
        and not canvas[:3].any()
        and not canvas[:, 54:].any()
    )


def test_a_turned_crop_turns_clockwise_around_its_middle() -> None:
    image = cv2.GaussianBlur(ground(200, 300), (0, 0), 3)
    crop, fill = Crop.around((120.3, 90.7), 90, 129), (1.0, 2.0, 3.0)
    straight = crop.cut(image, fill)
    assert np.abs(crop.cut_turned(image, fill, 0).astype(int) - straight).max() <= 1
    assert np.abs(crop.cut_turned(image, fill, 90).astype(int) - np.rot90(straight, -1)).max() <= 2
    assert np.abs(crop.cut_turned(image, fill, -180).astype(int) - np.rot90(straight, 2)).max() <= 2
