"""The online filter, learnt for one target against its background while tracking: ridge regression on the search
embedding.

The offline matcher can't know which of the objects around the target look like it. A linear filter on the search
embedding, fitted to a Gaussian at the target's position in the frames seen so far, learns exactly that, for the cost of
a small matrix product. Its response is added to the matcher's score when the next position is chosen, as in DROL (Zhou
et al., "Discriminative and Robust Online Learning for Siamese Visual Tracking", AAAI 2020, equation 4); the filter
itself is the ridge regression of KCF and CFNet (Henriques et al. 2015; Valmadre et al. 2017), with a running average of
its normal equations instead of the Fourier domain: no circular boundary. The arithmetic is in
`tracker.tracking.ridge`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.crops import Crop
from tracker.tracking.decode import Map
from tracker.tracking.ridge import CHANGING, FIRST_SHARE, STATE, TAPS, absorb, equations, respond, taps_of

Features = NDArray[np.float32]

RIDGE = 1e-3
"""L2 weight, for features whose variances add up to 1."""
ARRAYS = ("mean", "basis", "matrix", "vector", "matrix_pull", "vector_pull", "weights")
"""The saved arrays of a filter, in addition to the number of frames since its last update."""

SHIFTS = ((0.0, 0.0), (0.13, 0.08), (-0.11, 0.12), (0.07, -0.15))
"""Displacements of the first frame's search windows, as fractions of their side: the target is not always in the
centre."""


def first_windows(centre: ArrayLike, side: float, size: int, turn: float = 0.0) -> list[tuple[Crop, float]]:
    """The search windows of the first frame that a filter is fitted to, and the rotation of each in degrees.

    Args:
        centre: (2,) x and y of the target in the frame.
        side: Side of a window, in frame pixels.
        size: The same in crop pixels.
        turn: Two further windows are rotated by this many degrees in either direction, as in the first samples of ATOM
            (Danelljan et al. 2019) and DiMP (Bhat et al. 2019); 0: none.
    """
    middle = np.asarray(centre, dtype=np.float64)
    windows = [(Crop.around(middle + side * np.asarray(shift), side, size), 0.0) for shift in SHIFTS]
    return windows + [(Crop.around(middle, side, size), angle) for angle in (turn, -turn) if turn]


class Home(Protocol):
    """The owner of filters on a device."""

    def fetch(self, filter_: OnlineFilter) -> None:
        """Copies the learnt state of a filter back to its own arrays."""


class OnlineFilter:
    """Discriminates one target from its surroundings.

    Attributes:
        weights: (len(TAPS) * D + 1,) filter weights, and a constant.
        basis, middle: (C, D) principal components, (D,) the mean in that basis.
        matrix, vector, matrix_pull, vector_pull: The normal equations, and the first frame's part that an update adds.
        taps, constant: (len(TAPS), C) and () the form of the weights used in a frame.
        home, seat: Its owner on a device, or None if its arrays are on the host; and its slot there.
        learnt: Number of frames in which it was `due`.
    """

    def __init__(
        self, maps: Features, places: ArrayLike, extents: ArrayLike, channels: int, rate: float, gap: int
    ) -> None:
        """Fits the filter to the first frame.

        Args:
            maps: (S, C, H, W) unit-length search embeddings.
            places: (S, 2) row and column of the target's centre in each, in cells.
            extents: (2,) rows and columns that the target covers, in cells.
            channels: Number D of principal components of the C channels.
            rate: Weight of a later frame in the running average.
            gap: Frames between two updates.
        """
        self.rate, self.gap, self._waited = rate, max(gap, 1), 0
        self.home: Home | None = None
        self.seat = self.learnt = 0
        cells = maps.transpose(0, 2, 3, 1).reshape(-1, maps.shape[1])
        self._mean = cells.mean(axis=0)
        spread, axes = np.linalg.eigh(np.cov(cells - self._mean, rowvar=False))
        scale = np.sqrt(max(float(spread.sum()), 1e-12))
        self.basis = np.ascontiguousarray(axes[:, ::-1][:, :channels] / scale, dtype=np.float32)
        self.middle = self._mean @ self.basis
        sums = [
            equations(
                one[None], np.asarray(place)[None], np.asarray(extents)[None], self.basis[None], self.middle[None]
            )
            for one, place in zip(maps, np.asarray(places), strict=True)
        ]
        matrix, vector = np.mean([a[0] for a, _ in sums], axis=0), np.mean([b[0] for _, b in sums], axis=0)
        ridge = np.float32(RIDGE) * np.eye(len(matrix), dtype=np.float32)
        # The system is the sum of the running average and of the first frame's part, which never changes.
        self.matrix, self.vector = matrix + ridge, vector
        self.matrix_pull, self.vector_pull = rate * (FIRST_SHARE * matrix + ridge), rate * FIRST_SHARE * vector
        self._take(np.linalg.solve(self.matrix, self.vector))

    def respond(self, one: Features) -> Map:
        """(C, H, W) unit-length search embedding -> (H, W): near 1 at the target, near 0 elsewhere."""
        return respond(self.taps[None], self.constant[None], one[None])[0]  # type: ignore[no-any-return]

    def due(self) -> bool:
        """Counts a reliable frame, and returns whether to learn from it: from every `gap`-th one."""
        self._waited = (self._waited + 1) % self.gap
        self.learnt += not self._waited
        return not self._waited

    def learn(self, one: Features, place: ArrayLike, extents: ArrayLike, response: Map) -> None:
        """Learns from a reliable frame, if it is `due`.

        Args:
            one: (C, H, W) unit-length search embedding.
            place: Row and column of the target's centre in cells.
            extents: Rows and columns that the target covers.
            response: (H, W) the matcher's response in [0, 1]: background cells with a high response get more weight.
        """
        if self.due():
            self.absorb(one, place, extents, response)

    def absorb(self, one: Features, place: ArrayLike, extents: ArrayLike, response: Map) -> None:
        """Learns from a frame; arguments as in `learn`."""
        state = {name: getattr(self, name)[None] for name in STATE}
        absorb(state, one[None], np.asarray(place)[None], np.asarray(extents)[None], response[None], self.rate)
        for name in CHANGING:
            setattr(self, name, state[name][0])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Its whole state, for `from_arrays`: upper triangles of the symmetric matrices."""
        if self.home is not None:
            self.home.fetch(self)
        upper = np.triu_indices(len(self.vector))
        return {
            "waited": np.array(self._waited),
            "mean": self._mean,
            "basis": self.basis,
            "matrix": self.matrix[upper],
            "vector": self.vector,
            "matrix_pull": self.matrix_pull[upper],
            "vector_pull": self.vector_pull,
            "weights": self.weights,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], rate: float, gap: int) -> OnlineFilter:
        """Restores a filter from `to_arrays`, bit for bit.

        Args:
            arrays: The result of `to_arrays`.
            rate, gap: As in the constructor.

        Raises:
            KeyError, ValueError: They are something else.
        """
        made = cls.__new__(cls)
        made.rate, made.gap, made._waited, made.home = rate, max(gap, 1), int(arrays["waited"]), None
        made.seat = made.learnt = 0
        values = {key: np.asarray(arrays[key], np.float32) for key in ARRAYS}
        channels, kept = values["basis"].shape
        size = len(TAPS) * kept + 1
        if values["mean"].shape != (channels,) or not all(np.isfinite(one).all() for one in values.values()):
            raise ValueError("the filter's arrays don't fit together")
        made._mean, made.basis = values["mean"], np.ascontiguousarray(values["basis"])
        made.middle = made._mean @ made.basis
        made.vector, made.vector_pull = values["vector"].reshape(size), values["vector_pull"].reshape(size)
        made.matrix, made.matrix_pull = (_whole(values[key], size) for key in ("matrix", "matrix_pull"))
        made._take(values["weights"].reshape(size))
        return made

    def _take(self, weights: NDArray[np.float32]) -> None:
        """Sets the weights, and the form of them used in a frame."""
        self.weights = weights
        taps, constant = taps_of(weights[None], self.basis[None], self.middle[None])
        self.taps, self.constant = taps[0], constant[0]


def _whole(upper: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """A symmetric matrix from its upper triangle."""
    matrix = np.zeros((size, size), np.float32)
    matrix[np.triu_indices(size)] = upper
    lower = np.tril_indices(size, -1)
    matrix[lower] = matrix.T[lower]
    return matrix
