"""Boxes: conversions, overlap, clipping and validity. numpy only.

A box is `xywh`: top-left corner, width, height; float64, 0-based, pixels. Arrays hold boxes in their last axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.errors import BoxError, shown
from tracker.types import Box

Boxes = NDArray[np.float64]


def xywh_to_xyxy(boxes: ArrayLike) -> Boxes:
    """(..., 4) x, y, w, h -> left, top, right, bottom."""
    b = np.asarray(boxes, dtype=np.float64)
    return np.concatenate([b[..., :2], b[..., :2] + b[..., 2:]], axis=-1)


def xyxy_to_xywh(boxes: ArrayLike) -> Boxes:
    """(..., 4) left, top, right, bottom -> x, y, w, h."""
    b = np.asarray(boxes, dtype=np.float64)
    return np.concatenate([b[..., :2], b[..., 2:] - b[..., :2]], axis=-1)


def xywh_to_cxcywh(boxes: ArrayLike) -> Boxes:
    """(..., 4) x, y, w, h -> centre x, centre y, w, h."""
    b = np.asarray(boxes, dtype=np.float64)
    return np.concatenate([b[..., :2] + b[..., 2:] / 2, b[..., 2:]], axis=-1)


def cxcywh_to_xywh(boxes: ArrayLike) -> Boxes:
    """(..., 4) centre x, centre y, w, h -> x, y, w, h."""
    b = np.asarray(boxes, dtype=np.float64)
    return np.concatenate([b[..., :2] - b[..., 2:] / 2, b[..., 2:]], axis=-1)


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of boxes, elementwise.

    Args:
        a, b: (..., 4) xywh; shapes broadcast. A box without area overlaps nothing.

    Returns:
        (...) float64 in [0, 1]; 0 where a box isn't finite or both have no area.
    """
    p, q = xywh_to_xyxy(a), xywh_to_xyxy(b)
    with np.errstate(invalid="ignore"):
        size = np.minimum(p[..., 2:], q[..., 2:]) - np.maximum(p[..., :2], q[..., :2])
        inter = np.prod(np.clip(size, 0, None), axis=-1)
        area_p = np.prod(np.clip(p[..., 2:] - p[..., :2], 0, None), axis=-1)
        area_q = np.prod(np.clip(q[..., 2:] - q[..., :2], 0, None), axis=-1)
        union = area_p + area_q - inter
        out = np.divide(inter, union, out=np.zeros_like(union), where=union > 0)
    return np.asarray(np.nan_to_num(out, nan=0.0, posinf=0.0, neginf=0.0))


def clip_box(box: ArrayLike, width: float, height: float) -> Boxes:
    """The part of xywh boxes inside a width x height frame; a box outside collapses to zero size at the border."""
    b = xywh_to_xyxy(box)
    b[..., 0::2] = np.clip(b[..., 0::2], 0, width)
    b[..., 1::2] = np.clip(b[..., 1::2], 0, height)
    return xyxy_to_xywh(b)


def is_valid(boxes: ArrayLike) -> NDArray[np.bool_]:
    """(...) True where all four values are finite and width and height are positive."""
    b = np.asarray(boxes, dtype=np.float64)
    return np.asarray(np.isfinite(b).all(axis=-1) & (b[..., 2] > 0) & (b[..., 3] > 0))


MOST = 1e6
"""Largest size and offset of a box in pixels: no picture is larger, and squares of larger values would overflow."""


def numbers_of(box: ArrayLike | Sequence[float]) -> Boxes:
    """One box or several as a float64 array, of any shape.

    Raises:
        BoxError: It contains something other than real numbers, or rows of different lengths.
    """
    try:
        values = np.asarray(box)
        if values.dtype.kind not in "iufO":
            raise TypeError(values.dtype)
        return np.asarray(values, dtype=np.float64)
    except Exception:  # `__array__` of a foreign class can raise anything
        raise BoxError(
            f"The box {shown(box)} is not four numbers; give it as x,y,w,h in pixels, for example 10,20,64,48."
        ) from None


def rows_of(boxes: ArrayLike | Sequence[Box]) -> list[Box]:
    """One xywh box or several -> a list of them; an empty list where none is given.

    Args:
        boxes: (4,) or (n, 4) numbers.

    Raises:
        BoxError: Not of that shape.
    """
    values = numbers_of(boxes)
    if values.ndim == 1 and values.size:
        values = values[None]
    if values.size == 0 and values.ndim in (1, 2):
        return []
    if values.ndim != 2 or values.shape[1] != 4:
        raise BoxError(
            f"A box is four numbers x,y,w,h and several boxes are rows of four; this has the shape {values.shape}."
        )
    return list(values)


def check_box(box: ArrayLike | Sequence[float], width: int, height: int) -> Box:
    """Checks that a box can be tracked in a frame, and returns it as an array.

    Args:
        box: x, y, w, h in pixels of the frame.
        width, height: Size of the frame in pixels.

    Returns:
        (4,) float64 xywh, not clipped.

    Raises:
        BoxError: Not four finite numbers, no area, or no overlap with the frame.
    """
    values = numbers_of(box).reshape(-1)
    if values.shape != (4,):
        raise BoxError(
            f"The box {shown(box)} has {values.size} values; give four, x,y,w,h in pixels, for example 10,20,64,48."
        )
    text = ",".join(f"{v:g}" for v in values)
    if not np.isfinite(values).all():
        raise BoxError(f"The box {text} holds a value that is not finite; give four finite numbers x,y,w,h in pixels.")
    if np.abs(values).max() > MOST:
        raise BoxError(f"The box {text} holds a value beyond {MOST:g} pixels; that is not a box in a picture.")
    if values[2] <= 0 or values[3] <= 0:
        raise BoxError(f"The box {text} has no area (width {values[2]:g}, height {values[3]:g}); both must be above 0.")
    if not is_valid(clip_box(values, width, height)):
        raise BoxError(
            f"The box {text} lies outside the frame, which is {width} x {height} pixels; x runs from 0 to {width - 1}, "
            f"y from 0 to {height - 1}."
        )
    return values
