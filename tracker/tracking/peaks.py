"""Reads a few numbers from the maps of B targets at some of their cells, so that nothing else has to leave the device.

The maps are numpy's or torch's (`tracker.tracking.arrays`); the arithmetic is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.tracking.arrays import Array, at_least, constant, counted, double, largest, namespace, same_kind
from tracker.tracking.decode import Decoded, Weighed

PEAK = (
    "index",
    "left",
    "top",
    "right",
    "bottom",
    "response",
    "weighted",
    "logit",
    "second",
    "others",
    "count",
    "online",
    "online_second",
    "agreement",
)
"""Columns of the result of `read_peaks`."""


def outside(shape: tuple[int, ...], box: ArrayLike, stride: int, crop: int) -> NDArray[np.bool_]:
    """(H, W) True for cells away from a target: off its box by a quarter of its size and a cell.

    Args:
        shape: (H, W) of the response, whose middle is at the crop's centre.
        box: xyxy in crop pixels.
        stride: Crop pixels for one cell.
        crop: Side of the crop in pixels.
    """
    first, last = np.asarray(box, dtype=np.float64).reshape(2, 2)
    middle, reach = (first + last) / 2, 0.75 * (last - first) + stride
    rows, columns = (
        _near(middle[k : k + 1], reach[k : k + 1], n, stride, crop) for k, n in zip((1, 0), shape, strict=True)
    )
    return ~(rows[:, None] & columns)


def _near(middle: Array, reach: Array, count: int, stride: int, crop: int) -> Array:
    """(B, count) the rows or columns closer than `reach` to the `middle` (B, 1), crop pixels; (count,) for (1,)."""
    return abs(constant(_places, count, stride, crop, other=middle) - middle) < reach


@lru_cache(maxsize=16)
def _places(count: int, stride: int, crop: int) -> NDArray[np.float64]:
    """(count,) positions of the cells of a row, crop pixels."""
    return np.arange(count, dtype=np.float64) * stride + (crop - (count - 1) * stride) / 2


@lru_cache(maxsize=16)
def _around(height: int, width: int) -> NDArray[np.int64]:
    """(H * W, 9) indices of the cells around each cell, including itself; at the border the nearest cell replaces those
    outside."""
    rows, columns = (np.clip(np.arange(n)[:, None] + (-1, 0, 1), 0, n - 1) for n in (height, width))
    return (rows[:, None, :, None] * width + columns[None, :, None, :]).reshape(height * width, 9)


@lru_cache(maxsize=16)
def _inside(height: int, width: int) -> NDArray[np.float32]:
    """(H * W, 9) 1 for cells inside the map, 0 for those beyond the border."""
    rows, columns = (
        (np.arange(n)[:, None] + (-1, 0, 1) >= 0) & (np.arange(n)[:, None] + (-1, 0, 1) < n) for n in (height, width)
    )
    return (rows[:, None, :, None] & columns[None, :, None, :]).reshape(height * width, 9).astype(np.float32)


def read_peaks(weighed: Weighed, index: Array, stride: int, crop: int) -> Array:
    """(B, len(PEAK)) the numbers that `confidence_features` and the next box need from the maps at some cells.

    Args:
        weighed: Maps of B targets, numpy or torch.
        index: (B,) cell of each, in row-major order.
        stride: Crop pixels for one cell.
        crop: Side of the crop in pixels.
    """
    xp, logits = namespace(weighed.logits), weighed.logits
    count, height, width = logits.shape
    at = counted(count, logits)
    maps = [one.reshape(count, -1) for one in (weighed.response, weighed.weighted, logits)]
    boxes, flat = weighed.boxes.reshape(count, 4, -1), maps[2]
    here = boxes[at, :, index]
    corners = double(here).reshape(count, 2, 2)
    middle = (corners[:, 0] + corners[:, 1]) / 2
    reach = 0.75 * at_least(corners[:, 1] - corners[:, 0], 1.0) + stride
    rows = _near(middle[:, 1:], reach[:, 1:], height, stride, crop)
    columns = _near(middle[:, :1], reach[:, :1], width, stride, crop)
    near = (rows[:, :, None] & columns[:, None, :]).reshape(count, -1)
    around = constant(_around, height, width, other=logits)[index]
    inside = constant(_inside, height, width, other=logits)[index]
    across, clear = at[:, None], ~near
    out = xp.zeros((count, len(PEAK)), **same_kind(logits))
    out[:, 0], out[:, 1:5] = index, here
    for column, one in enumerate(maps, 5):
        out[:, column] = one[at, index]
    out[:, 8] = _best(flat, near)
    out[:, 9] = (flat * clear).sum(axis=1)
    out[:, 10] = clear.sum(axis=1)
    if weighed.online is not None:
        online = weighed.online.reshape(count, -1)
        out[:, 11] = largest(online[across, around])
        out[:, 12] = _best(online, near)
    out[:, 13] = _agreement(here, boxes[across, :, around], inside * (maps[0][across, around] + 1e-6))
    return out


def _best(values: Array, hidden: Array) -> Array:
    """(B,) the largest of values (B, N) that are not masked; -inf if there is none."""
    return largest(namespace(values).where(hidden, -np.inf, values))


def _agreement(here: Array, boxes: Array, weight: Array) -> Array:
    """(B,) mean overlap of boxes (B, 9, 4) with one (B, 4), weighted (B, 9)."""
    xp = namespace(here)
    # The box with itself first: the same arithmetic gives its area.
    every = xp.concatenate([here[:, None], boxes], axis=1)
    first, last = every[..., :2], every[..., 2:]
    extents = at_least(last - first, 0.0)
    shared = at_least(xp.minimum(last, last[:, :1]) - xp.maximum(first, first[:, :1]), 0.0)
    areas, both = extents[..., 0] * extents[..., 1], shared[..., 0] * shared[..., 1]
    union = areas + areas[:, :1] - both
    return (both[:, 1:] / at_least(union[:, 1:], 1e-6) * weight).sum(axis=1) / weight.sum(axis=1)


def box_of(found: Decoded, size: Sequence[float] | NDArray[np.float64], crop: int) -> NDArray[np.float64]:
    """(4,) xyxy in crop pixels of a decoded position; `size` (w, h) in crop pixels if it has none of its own (classic
    head)."""
    w, h = (float(v) * found.scale for v in size)
    if found.width is not None and found.height is not None:
        w, h = found.width, found.height
    x, y = crop / 2 + found.dx, crop / 2 + found.dy
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def read_scales(
    found: Decoded, logits: NDArray[np.float32], box: NDArray[np.float64], stride: int, crop: int
) -> NDArray[np.float64]:
    """(1, len(PEAK)) the same for a response (H, W) without boxes, at a given position: xyxy `box`, crop pixels."""
    clear = outside(logits.shape, box, stride, crop)
    others = logits[clear]
    values = {
        "left": box[0],
        "top": box[1],
        "right": box[2],
        "bottom": box[3],
        "response": found.score,
        "weighted": found.weight,
        "logit": found.logit,
        "second": others.max(initial=-np.inf),
        "others": others.sum(),
        "count": clear.sum(),
        "agreement": 1.0,
    }
    return np.array([[values.get(name, 0.0) for name in PEAK]], dtype=np.float64)
