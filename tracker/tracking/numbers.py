"""The same arithmetic for one target, on plain numbers, and for hundreds, on arrays.

A numpy call for one number takes ten times as long as plain Python, and plain Python for hundreds as much longer than
numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Number = Any
"""A float of one target, or a (N,) float64 array of N."""


class Plain:
    """The numpy functions in use, for the plain numbers of one target."""

    sqrt, isfinite, minimum, maximum = math.sqrt, math.isfinite, min, max

    @staticmethod
    def where(condition: bool, then: Any, otherwise: Any) -> Any:
        return then if condition else otherwise


def module_of(number: Number) -> Any:
    """The module whose functions accept a number: `Plain` or numpy."""
    return np if isinstance(number, np.ndarray) else Plain


def split(rows: NDArray[np.float64]) -> list[Number]:
    """D numbers of (N, D)."""
    return rows[0].tolist() if len(rows) == 1 else list(rows.T)  # type: ignore[no-any-return]


def numbers(vectors: Sequence[NDArray[np.float64]]) -> list[Number]:
    """D numbers of N vectors (D,)."""
    if len(vectors) == 1:
        return vectors[0].tolist()  # type: ignore[no-any-return]
    return split(np.concatenate(vectors).reshape(len(vectors), -1))  # `numpy.array` takes three times as long


def columns(rows: Sequence[Sequence[float]]) -> list[Number]:
    """D numbers of N rows of D numbers."""
    return list(rows[0]) if len(rows) == 1 else list(np.array(rows, dtype=np.float64).T)


def column(values: Sequence[float]) -> Number:
    """One number of N values; booleans are allowed too."""
    return values[0] if len(values) == 1 else np.array(values)


def vectors(*parts: Number) -> list[NDArray[np.float64]]:
    """N vectors (D,) of D numbers."""
    return list(np.stack(parts, axis=1)) if isinstance(parts[0], np.ndarray) else [np.array(parts, dtype=np.float64)]


def values(number: Number) -> list[float]:
    """N values of a number."""
    return number.tolist() if isinstance(number, np.ndarray) else [number]
