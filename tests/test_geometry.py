"""Boxes: conversions, overlap, clipping and validity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import geometry
from tracker.errors import BoxError

numbers = st.floats(-1e4, 1e4, allow_nan=False, width=32)
sizes = st.floats(0.125, 1e4, width=32)
boxes = st.tuples(numbers, numbers, sizes, sizes)
whole = st.tuples(st.integers(-40, 40), st.integers(-40, 40), st.integers(0, 30), st.integers(0, 30))


@given(boxes)
def test_conversions_undo_each_other(box: tuple[float, ...]) -> None:
    assert np.allclose(geometry.xyxy_to_xywh(geometry.xywh_to_xyxy(box)), box, atol=1e-6)
    assert np.allclose(geometry.cxcywh_to_xywh(geometry.xywh_to_cxcywh(box)), box, atol=1e-6)


@given(boxes, boxes)
def test_iou_is_symmetric_and_within_bounds(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    value = float(geometry.iou(a, b))
    assert 0 <= value <= 1 + 1e-12
    assert value == pytest.approx(float(geometry.iou(b, a)))
    assert float(geometry.iou(a, a)) == pytest.approx(1)


@given(whole, whole)
def test_iou_counts_pixels(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    def cells(box: tuple[int, ...]) -> set[tuple[int, int]]:
        x, y, w, h = box
        return {(i, j) for i in range(x, x + w) for j in range(y, y + h)}

    p, q = cells(a), cells(b)
    expected = len(p & q) / len(p | q) if p | q else 0.0
    assert float(geometry.iou(a, b)) == pytest.approx(expected)


@given(boxes, st.integers(1, 500), st.integers(1, 500))
def test_clipped_boxes_are_in_the_frame(box: tuple[float, ...], width: int, height: int) -> None:
    x, y, w, h = geometry.clip_box(box, width, height)
    assert 0 <= x <= width and 0 <= y <= height and w >= 0 and h >= 0
    assert x + w <= width + 1e-6 and y + h <= height + 1e-6
    assert np.allclose(geometry.clip_box([x, y, w, h], width, height), [x, y, w, h])


def test_iou_of_nonsense_is_zero() -> None:
    assert geometry.iou([0, 0, np.nan, 3], [0, 0, 3, 3]) == 0
    assert geometry.iou([0, 0, 0, 0], [0, 0, 0, 0]) == 0
    assert geometry.iou([0, 0, -5, 5], [0, 0, 5, 5]) == 0


def test_iou_broadcasts() -> None:
    grid = geometry.iou(np.tile([0.0, 0, 2, 2], (3, 1, 1)), np.tile([1.0, 0, 2, 2], (1, 5, 1)))
    assert grid.shape == (3, 5)
    assert np.allclose(grid, 1 / 3)


def test_validity() -> None:
    given_boxes = [[0, 0, 1, 1], [0, 0, 0, 1], [np.inf, 0, 1, 1], [-5, -5, 1, 1]]
    assert geometry.is_valid(given_boxes).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ((0, 0, 0, 0), "no area"),
        ((1, 2, 3), "3 values"),
        ("a,b", "not four numbers"),
        ((0, 0, float("nan"), 4), "not finite"),
        ((0, 0, -4, 4), "no area"),
        ((500, 10, 20, 20), "outside the frame"),
        ((-30, 10, 20, 20), "outside the frame"),
    ],
)
def test_a_wrong_box_gets_a_sentence(box: object, word: str) -> None:
    with pytest.raises(BoxError, match=word):
        geometry.check_box(box, 320, 240)  # type: ignore[arg-type]


def test_a_box_over_the_border_is_fine() -> None:
    assert geometry.check_box((-5, -5, 20, 20), 320, 240).tolist() == [-5, -5, 20, 20]
