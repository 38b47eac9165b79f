"""A filter that learns this one target against this one background while tracking: ridge regression on the search embedding.

What the offline matcher can't know is which of the things around the target look like it. A linear filter on the embedded
search window, fitted to a Gaussian at the target's place in the frames seen so far, learns exactly that, for the price of a
small matrix product. Its response joins the matcher's score where the next place is chosen, as in DROL (Zhou et al., "Discriminative
and Robust Online Learning for Siamese Visual Tracking", AAAI 2020, equation 4); the filter itself is the ridge regression of
KCF and CFNet (Henriques et al. 2015; Valmadre et al. 2017), with a running average of its normal equations in place of
the Fourier domain: no circular border. numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from tracker.tracking.decode import Map

Features = NDArray[np.float32]

KERNEL = 3
"""Cells along one side of the filter."""
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

SHIFTS = ((0.0, 0.0), (0.13, 0.08), (-0.11, 0.12), (0.07, -0.15))
"""Where the search windows of the first frame stand, as shares of their side: the target is not always in the middle."""


class OnlineFilter:
    """Tells one target from what is around it.

    Attributes:
        weights: (KERNEL * KERNEL * D + 1,) the filter, and a constant.
    """

    def __init__(self, maps: Features, places: ArrayLike, extents: ArrayLike, channels: int, rate: float, gap: int) -> None:
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
        sums = [self._equations(one, place, extents) for one, place in zip(maps, np.asarray(places), strict=True)]
        self._first = (np.mean([a for a, _ in sums], axis=0), np.mean([b for _, b in sums], axis=0))
        self._matrix, self._vector = self._first
        self._solve()

    def respond(self, one: Features) -> Map:
        """(C, H, W) unit-length search embedding -> (H, W): near 1 at the target, near 0 elsewhere."""
        return (self._rows(one) @ self.weights).reshape(one.shape[1:])

    def learn(self, one: Features, place: ArrayLike, extents: ArrayLike, response: Map) -> None:
        """Takes in a frame in which the target was surely seen (every `gap`-th one).

        Args:
            one: (C, H, W) unit-length search embedding.
            place: Row and column of the target's centre in cells.
            extents: Rows and columns that the target covers.
            response: (H, W) the matcher's response in [0, 1]: what else it takes for the target is learnt first.
        """
        self._waited += 1
        if self._waited < self.gap:
            return
        self._waited = 0
        matrix, vector = self._equations(one, place, extents, response)
        self._matrix = (1 - self.rate) * self._matrix + self.rate * matrix
        self._vector = (1 - self.rate) * self._vector + self.rate * vector
        self._solve()

    def _solve(self) -> None:
        kept = 1 - FIRST_SHARE
        matrix = kept * self._matrix + FIRST_SHARE * self._first[0]
        matrix[np.diag_indices_from(matrix)] += RIDGE
        self.weights = np.linalg.solve(matrix, kept * self._vector + FIRST_SHARE * self._first[1])

    def _equations(
        self, one: Features, place: ArrayLike, extents: ArrayLike, response: Map | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A'WA and A'Wy of the weighted least squares of one frame."""
        rows = self._rows(one)
        (row, column), spread = np.asarray(place, dtype=np.float64), SPREAD * np.maximum(extents, 1.0) + LEAST_SPREAD
        down, across = ((np.arange(n) - at) / s for n, at, s in zip(one.shape[1:], (row, column), spread, strict=True))
        wanted = np.exp(-0.5 * (down[:, None] ** 2 + across**2)).ravel()
        other = 1 - wanted
        if response is not None:
            other = other * (1 + DISTRACTOR_GAIN * response.ravel())
        weight = TARGET_SHARE * wanted / max(wanted.sum(), 1e-6) + (1 - TARGET_SHARE) * other / other.sum()
        weighted = rows * weight[:, None].astype(np.float32)
        return rows.T @ weighted, weighted.T @ wanted.astype(np.float32)

    def _rows(self, one: Features) -> NDArray[np.float32]:
        """(H * W, KERNEL * KERNEL * D + 1): the neighbourhood of each cell, and 1."""
        _, height, width = one.shape
        low = (one.reshape(len(one), -1).T - self._mean) @ self._basis
        pad = KERNEL // 2
        padded = np.pad(low.reshape(height, width, -1), ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        windows = sliding_window_view(padded, (KERNEL, KERNEL), axis=(0, 1))  # type: ignore[call-overload]
        rows = np.empty((height * width, KERNEL * KERNEL * self._basis.shape[1] + 1), np.float32)
        rows[:, :-1] = windows.reshape(height * width, -1)
        rows[:, -1] = 1.0
        return rows
