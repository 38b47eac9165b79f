"""The arithmetic of the online filter, for one target or for many: weighted ridge regression by its normal equations.

All arrays have a first axis B, the targets, and are numpy's or torch's (`tracker.tracking.arrays`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.arrays import Array, at_least, namespace, same_kind, single, take
from tracker.tracking.arrays import constant as table
from tracker.tracking.products import grams, products

TAPS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""The cells that the filter reads, as row and column offsets."""
TARGET_SHARE = 0.2
"""Total weight of the target's cells in a frame, since there are far more others."""
DISTRACTOR_GAIN = 10.0
"""Additional weight of a background cell to which the matcher responds fully."""
FIRST_SHARE = 0.2
"""Weight of the first frame, however long the video: it is never forgotten."""
SPREAD, LEAST_SPREAD = 0.2, 0.4
"""Standard deviation of the regression target, a Gaussian: a fraction of the target's size, plus a number of cells."""

DESCENTS, SOLVED = 8, 1e-12
"""Conjugate gradient steps of an update, starting from the previous weights, whose system is almost the same; none if
the squared residual is below the second."""

CHANGING = ("matrix", "vector", "weights", "taps", "constant")
STATE = ("basis", "middle", "matrix_pull", "vector_pull", *CHANGING)
"""The arrays of a filter, and those that an update changes."""


def respond(taps: Array, constants: Array, maps: Array) -> Array:
    """Responses of B filters to as many maps: near 1 at the target, near 0 elsewhere.

    Args:
        taps: (B, len(TAPS), C) a vector for each neighbour.
        constants: (B,) added constants.
        maps: (B, C, H, W) unit-length search embeddings.

    Returns:
        (B, H, W).
    """
    count, channels, height, width = maps.shape
    each = (taps @ maps.reshape(count, channels, -1)).reshape(count, -1)
    return take(each, table(_products, height, width, other=maps)).sum(axis=1) + constants[:, None, None]


def absorb(state: dict[str, Array], maps: Array, places: Array, extents: Array, responses: Array, rate: float) -> None:
    """Updates the filters of B targets with one frame each: `CHANGING` in `state` is replaced or changed in place.

    Args:
        state: `STATE` by name, each with a first axis B.
        maps: (B, C, H, W) unit-length search embeddings.
        places, extents: (B, 2) as in `OnlineFilter.learn`.
        responses: (B, H, W) the matcher's responses in [0, 1].
        rate: Weight of the frame in the running average.
    """
    share = rate * (1 - FIRST_SHARE)
    matrix, vector = equations(maps, places, extents, state["basis"], state["middle"], responses, share)
    # In place: the matrices don't fit the L2 cache, so passes over them dominate the cost.
    state["matrix"] *= 1 - rate
    state["matrix"] += matrix
    state["matrix"] += state["matrix_pull"]
    state["vector"] = (1 - rate) * state["vector"] + vector + state["vector_pull"]
    state["weights"] = descend(state["matrix"], state["vector"], state["weights"])
    state["taps"], state["constant"] = taps_of(state["weights"], state["basis"], state["middle"])


def taps_of(weights: Array, basis: Array, middle: Array) -> tuple[Array, Array]:
    """The form of weights (B, len(TAPS) * D + 1) used in a frame: (B, len(TAPS), C) a vector for each neighbour, and
    (B,) a constant."""
    near = weights[:, :-1].reshape(len(weights), len(TAPS), -1)
    return near @ basis.swapaxes(1, 2), weights[:, -1] - (near @ middle[:, :, None]).sum(axis=(1, 2))


def equations(
    maps: Array,
    places: Array,
    extents: Array,
    basis: Array,
    middle: Array,
    responses: Array | None = None,
    share: float = 1.0,
) -> tuple[Array, Array]:
    """(B, K, K) A'WA and (B, K) A'Wy of the weighted least squares of one frame of each of B targets, times `share`.

    A row of A is the neighbourhood of a cell, (len(TAPS) * D), and 1; K is its length.
    """
    xp, (count, channels, height, width) = namespace(maps), maps.shape
    spread = SPREAD * at_least(extents, 1.0) + LEAST_SPREAD
    down, across = (
        (table(_steps, n, other=maps) - places[:, k, None]) / spread[:, k, None] for k, n in enumerate((height, width))
    )
    wanted = xp.exp(-0.5 * (down[:, :, None] ** 2 + across[:, None, :] ** 2)).reshape(count, -1)
    other = 1 - wanted
    if responses is not None:
        other = other * (1 + DISTRACTOR_GAIN * responses.reshape(count, -1))
    weight = TARGET_SHARE * wanted / at_least(wanted.sum(axis=1)[:, None], 1e-6)
    weight = weight + (1 - TARGET_SHARE) * other / other.sum(axis=1)[:, None]
    root = single(xp.sqrt(share * weight))[:, :, None]
    low = products(maps.reshape(count, channels, -1).swapaxes(1, 2), basis) - middle[:, None]
    near = take(low, table(neighbours, height, width, other=maps)).reshape(count, height * width, -1)
    rows = xp.empty((*near.shape[:2], near.shape[2] + 1), **same_kind(near))
    xp.multiply(near, root, out=rows[:, :, :-1])
    rows[:, :, -1:] = root
    return grams(rows), (rows.swapaxes(1, 2) @ (root * single(wanted)[:, :, None]))[:, :, 0]


@lru_cache(maxsize=16)
def neighbours(height: int, width: int) -> NDArray[np.int64]:
    """(H * W, len(TAPS)) indices of the cells around each cell; at the border the nearest cell replaces those
    outside."""
    down, across = np.transpose(TAPS)
    rows = np.clip(np.arange(height)[:, None] + down, 0, height - 1)
    columns = np.clip(np.arange(width)[:, None] + across, 0, width - 1)
    return (rows[:, None] * width + columns[None, :]).reshape(height * width, -1)


@lru_cache(maxsize=16)
def _products(height: int, width: int) -> NDArray[np.int64]:
    """(len(TAPS), H, W) indices, among the products of all taps and cells, of those that add up to a cell's
    response."""
    places = neighbours(height, width).T + np.arange(len(TAPS))[:, None] * (height * width)
    return places.reshape(-1, height, width)


@lru_cache(maxsize=16)
def _steps(count: int) -> NDArray[np.float64]:
    """(count,) 0, 1, 2, ..."""
    return np.arange(count, dtype=np.float64)


def descend(matrix: Array, vector: Array, start: Array) -> Array:
    """`DESCENTS` conjugate gradient steps for matrix @ x = vector (positive definite), from a start.

    Args:
        matrix: (B, K, K).
        vector, start: (B, K). A solved system stays as it is, however many steps the others take.
    """
    xp = namespace(matrix)
    x, rest = start, vector - _times(matrix, start)
    way, square = rest, _dot(rest, rest)
    for _ in range(DESCENTS):
        open_ = square >= SOLVED
        if isinstance(matrix, np.ndarray) and not open_.any():  # checking this on a device would wait for it
            break
        along = _times(matrix, way)
        step = xp.where(open_, square / xp.where(open_, _dot(way, along), 1.0), 0.0)
        x, rest = x + step * way, rest - step * along
        before, square = square, _dot(rest, rest)
        way = rest + xp.where(open_, square / xp.where(open_, before, 1.0), 0.0) * way
    return x


def _times(matrix: Array, vector: Array) -> Array:
    return (matrix @ vector[:, :, None])[:, :, 0]


def _dot(left: Array, right: Array) -> Array:
    """(B, 1)."""
    return (left[:, None, :] @ right[:, :, None])[:, :, 0]
