"""A linear projection in which a target varies little from frame to frame; fitted by
`tracker.matching.fit_projection`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tracker.errors import WeightsError
from tracker.model.checkpoint import WEIGHTS

FILE = WEIGHTS / "match-trackers.npz"
"""Projections of shipped trackers: arrays FINGERPRINT.matrix and FINGERPRINT.mean."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Linear discriminants of the mean cell of an object.

    Attributes:
        mean: (C,) float32, subtracted first.
        matrix: (C, K) float32.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, C) -> (B, K)."""
        return np.asarray((vectors - self.mean) @ self.matrix, np.float32)

    @property
    def mark(self) -> str:
        """Identification: embeddings with different projections are not comparable."""
        return hashlib.sha256(self.mean.tobytes() + self.matrix.tobytes()).hexdigest()


@lru_cache(maxsize=8)
def projection_of(print_of_model: str, file: Path = FILE) -> Projection | None:
    """The projection fitted to a model's embedding; None if there is none.

    Args:
        print_of_model: Its `tracker.model.checkpoint.fingerprint`.
        file: The file of projections.

    Raises:
        WeightsError: The file is damaged.
    """
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if f"{print_of_model}.matrix" not in arrays:
                return None
            mean, matrix = (np.asarray(arrays[f"{print_of_model}.{name}"], np.float32) for name in ("mean", "matrix"))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise WeightsError(f"The projections in {file} can't be read ({error}); install the package again.") from None
    if matrix.ndim != 2 or mean.shape != matrix.shape[:1] or not np.isfinite(matrix).all():
        raise WeightsError(f"The projections in {file} have shapes that don't fit; install the package again.")
    return Projection(mean, matrix)
