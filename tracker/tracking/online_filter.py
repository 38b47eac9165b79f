"""A filter that learns this one target against this one background while tracking: ridge regression on the search
embedding.

What the offline matcher can't know is which of the things around the target look like it. A linear filter on the
embedded search window, fitted to a Gaussian at the target's place in the frames seen so far, learns exactly that, for
the price of a small matrix product. Its response joins the matcher's score where the next place is chosen, as in DROL
(Zhou et al., "Discriminative and Robust Online Learning for Siamese Visual Tracking", AAAI 2020, equation 4); the
filter itself is the ridge regression of KCF and CFNet (Henriques et al. 2015; Valmadre et al. 2017), with a running
average of its normal equations in place of
the Fourier domain: no circular border. numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.crops import Crop
from tracker.tracking.decode import Map
from tracker.tracking.products import gram, product

Features = NDArray[np.float32]

TAPS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""The cells that the filter reads, rows and columns from the one in the middle."""
RIDGE = 1e-3
"""L2 on each weight, where the features' variances add up to 1."""
TARGET_SHARE = 0.2
"""Share of the target's cells in the weight of a frame: there are far more others."""
DISTRACTOR_GAIN = 10.0
"""How much more a background cell counts where the matcher is sure that it is the target."""
FIRST_SHARE = 0.2
"""Share of the first frame in what the filter is fitted to, however long the video: it never forgets it."""
SPREAD, LEAST_SPREAD = 0.2, 0.4
"""Standard deviation of the Gaussian that is asked for: that share of the target's size, and so many cells more."""

DESCENTS = 8
"""Conjugate gradient steps of an update: from the weights before, whose system was almost the same."""

ARRAYS = ("mean", "basis", "matrix", "vector", "matrix_pull", "vector_pull", "weights")
"""What is saved of a filter, beside the count of frames since its last update."""

SHIFTS = ((0.0, 0.0), (0.13, 0.08), (-0.11, 0.12), (0.07, -0.15))
"""Where the search windows of the first frame stand, as shares of their side: the target is not always in the
middle."""


def first_windows(centre: ArrayLike, side: float, size: int, turn: float = 0.0) -> list[tuple[Crop, float]]:
    """The search windows of the first frame that a filter is fitted to, and by how many degrees each is turned.

    Args:
        centre: (2,) x and y of the target in the frame.
        side: Of a window, in frame pixels.
        size: The same in crop pixels.
        turn: Two more windows are turned by this many degrees either way, as in the first samples of ATOM (Danelljan et
            al. 2019) and DiMP (Bhat et al. 2019); 0: none.
    """
    middle = np.asarray(centre, dtype=np.float64)
    windows = [(Crop.around(middle + side * np.asarray(shift), side, size), 0.0) for shift in SHIFTS]
    return windows + [(Crop.around(middle, side, size), angle) for angle in (turn, -turn) if turn]


class OnlineFilter:
    """Tells one target from what is around it.

    Attributes:
        weights: (len(TAPS) * D + 1,) the filter, and a constant.
    """

    def __init__(
        self, maps: Features, places: ArrayLike, extents: ArrayLike, channels: int, rate: float, gap: int
    ) -> None:
        """Fits the filter to the first frame.

        Args:
            maps: (S, C, H, W) unit-length search embeddings.
            places: (S, 2) row and column of the target's centre in each, in cells.
            extents: (2,) rows and columns that the target covers, in cells.
            channels: Principal components D that are kept of the C channels.
            rate: Share of a later frame in the running average.
            gap: Frames between two updates.
        """
        self.rate, self.gap, self._waited = rate, max(gap, 1), 0
        cells = maps.transpose(0, 2, 3, 1).reshape(-1, maps.shape[1])
        self._mean = cells.mean(axis=0)
        spread, axes = np.linalg.eigh(np.cov(cells - self._mean, rowvar=False))
        scale = np.sqrt(max(float(spread.sum()), 1e-12))
        self._basis = np.ascontiguousarray(axes[:, ::-1][:, :channels] / scale, dtype=np.float32)
        self._middle = self._mean @ self._basis
        sums = [self._equations(one, place, extents) for one, place in zip(maps, np.asarray(places), strict=True)]
        matrix, vector = np.mean([a for a, _ in sums], axis=0), np.mean([b for _, b in sums], axis=0)
        ridge = np.float32(RIDGE) * np.eye(len(matrix), dtype=np.float32)
        # The system is that of the running average and of the first frame. What an update adds of the latter never
        # changes.
        self._matrix, self._vector = matrix + ridge, vector
        self._matrix_pull, self._vector_pull = rate * (FIRST_SHARE * matrix + ridge), rate * FIRST_SHARE * vector
        self._take(np.linalg.solve(self._matrix, self._vector))

    def respond(self, one: Features) -> Map:
        """(C, H, W) unit-length search embedding -> (H, W): near 1 at the target, near 0 elsewhere."""
        each = self._taps @ one.reshape(len(one), -1)
        return each.take(_products(*one.shape[1:])).sum(axis=0) + self._constant

    def learn(self, one: Features, place: ArrayLike, extents: ArrayLike, response: Map) -> None:
        """Takes in a frame in which the target was surely seen (every `gap`-th one).

        Args:
            one: (C, H, W) unit-length search embedding.
            place: Row and column of the target's centre in cells.
            extents: Rows and columns that the target covers.
            response: (H, W) the matcher's response in [0, 1]: what else it takes for the target is learnt first.
        """
        self._waited = (self._waited + 1) % self.gap
        if self._waited:
            return
        matrix, vector = self._equations(one, place, extents, response, self.rate * (1 - FIRST_SHARE))
        self._matrix *= (
            1 - self.rate
        )  # in place: the matrices don't fit the second cache, and passes over them are what it costs
        self._matrix += matrix
        self._matrix += self._matrix_pull
        self._vector = (1 - self.rate) * self._vector + vector + self._vector_pull
        self._take(descend(self._matrix, self._vector, self.weights))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All that it has learnt, for `from_arrays`: of the symmetric matrices the upper triangles."""
        upper = np.triu_indices(len(self._vector))
        return {
            "waited": np.array(self._waited),
            "mean": self._mean,
            "basis": self._basis,
            "matrix": self._matrix[upper],
            "vector": self._vector,
            "matrix_pull": self._matrix_pull[upper],
            "vector_pull": self._vector_pull,
            "weights": self.weights,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], rate: float, gap: int) -> OnlineFilter:
        """The filter that `to_arrays` gave, bit for bit.

        Args:
            arrays: What it gave.
            rate, gap: As in the constructor.

        Raises:
            KeyError, ValueError: They are something else.
        """
        made = cls.__new__(cls)
        made.rate, made.gap, made._waited = rate, max(gap, 1), int(arrays["waited"])
        values = {key: np.asarray(arrays[key], np.float32) for key in ARRAYS}
        channels, kept = values["basis"].shape
        size = len(TAPS) * kept + 1
        if values["mean"].shape != (channels,) or not all(np.isfinite(one).all() for one in values.values()):
            raise ValueError("the filter's arrays don't fit together")
        made._mean, made._basis = values["mean"], np.ascontiguousarray(values["basis"])
        made._middle = made._mean @ made._basis
        made._vector, made._vector_pull = values["vector"].reshape(size), values["vector_pull"].reshape(size)
        made._matrix, made._matrix_pull = (_whole(values[key], size) for key in ("matrix", "matrix_pull"))
        made._take(values["weights"].reshape(size))
        return made

    def _take(self, weights: NDArray[np.float32]) -> None:
        """Takes weights, and what a frame needs of them: (len(TAPS), C) a vector for each neighbour, and a constant."""
        self.weights = weights
        near = weights[:-1].reshape(len(TAPS), -1)
        self._taps = near @ self._basis.T
        self._constant = weights[-1] - (near @ self._middle).sum()

    def _equations(
        self, one: Features, place: ArrayLike, extents: ArrayLike, response: Map | None = None, share: float = 1.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A'WA and A'Wy of the weighted least squares of one frame, times `share`.

        A row of A is the neighbourhood of a cell, (len(TAPS) * D), and 1.
        """
        (row, column), spread = np.asarray(place, dtype=np.float64), SPREAD * np.maximum(extents, 1.0) + LEAST_SPREAD
        down, across = ((np.arange(n) - at) / s for n, at, s in zip(one.shape[1:], (row, column), spread, strict=True))
        wanted = np.exp(-0.5 * (down[:, None] ** 2 + across**2)).ravel()
        other = 1 - wanted
        if response is not None:
            other = other * (1 + DISTRACTOR_GAIN * response.ravel())
        weight = TARGET_SHARE * wanted / max(wanted.sum(), 1e-6) + (1 - TARGET_SHARE) * other / other.sum()
        root = np.sqrt(share * weight).astype(np.float32)
        low = product(one.reshape(len(one), -1).T, self._basis) - self._middle
        near = low.take(neighbours(*one.shape[1:]), axis=0).reshape(len(low), -1)
        rows = np.empty((len(near), near.shape[1] + 1), np.float32)
        np.multiply(near, root[:, None], out=rows[:, :-1])
        rows[:, -1] = root
        return gram(rows), rows.T @ (root * wanted.astype(np.float32))


def _whole(upper: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """A symmetric matrix of its upper triangle."""
    matrix = np.zeros((size, size), np.float32)
    matrix[np.triu_indices(size)] = upper
    lower = np.tril_indices(size, -1)
    matrix[lower] = matrix.T[lower]
    return matrix


@lru_cache(maxsize=16)
def neighbours(height: int, width: int) -> NDArray[np.int64]:
    """(H * W, len(TAPS)) numbers of the cells around each cell; at the border the nearest one stands for those
    outside."""
    down, across = np.transpose(TAPS)
    rows = np.clip(np.arange(height)[:, None] + down, 0, height - 1)
    columns = np.clip(np.arange(width)[:, None] + across, 0, width - 1)
    return (rows[:, None] * width + columns[None, :]).reshape(height * width, -1)


@lru_cache(maxsize=16)
def _products(height: int, width: int) -> NDArray[np.int64]:
    """(len(TAPS), H, W) where the products that add up to a cell's response stand among those of all taps and cells."""
    places = neighbours(height, width).T + np.arange(len(TAPS))[:, None] * (height * width)
    return places.reshape(-1, height, width)


def descend(
    matrix: NDArray[np.float32], vector: NDArray[np.float32], start: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`DESCENTS` steps of conjugate gradients towards matrix @ x = vector (positive definite), from a start."""
    x: NDArray[np.float32] = start
    rest: NDArray[np.float32] = vector - matrix @ x
    way, square = rest, float(rest @ rest)
    for _ in range(DESCENTS):
        if square < 1e-12:
            break
        along = matrix @ way
        step = np.float32(square / float(way @ along))
        x, rest = x + step * way, rest - step * along
        before, square = square, float(rest @ rest)
        way = rest + np.float32(square / before) * way
    return x
