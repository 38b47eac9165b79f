"""Products of small matrices that BLAS does not split over its threads.

OpenBLAS, which comes with numpy, splits a product of a few hundred rows over all cores, and its threads busy-wait for
each other: if another program uses a core, a product takes a hundred times as long. The number of threads is a setting
of the whole process, which library code must not change. But products below `SMALL` are never split, and numpy computes
the blocks of a larger one in one call.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.arrays import Array

Real = TypeVar("Real", np.float32, np.float64)

SMALL = 262144
"""Number of multiplications up to which OpenBLAS uses one thread (interface/gemm.c: SMP_THRESHOLD_MIN *
GEMM_MULTITHREAD_THRESHOLD)."""
BLOCK = 16
"""Columns of a block; the time is least there, and the last, partial one costs little."""


def gram(rows: NDArray[Real]) -> NDArray[Real]:
    """(N, K) -> (K, K) rows.T @ rows; equal to one product on one thread, bit for bit."""
    count, width = rows.shape
    block = max(min(BLOCK, int((SMALL / max(count, 1)) ** 0.5)), 1)
    blocks = -(-width // block)
    padded = np.zeros((count, blocks * block), rows.dtype)
    padded[:, :width] = rows
    parts = padded.reshape(count, blocks, block).swapaxes(0, 1)
    whole = np.matmul(parts.swapaxes(1, 2)[:, None], parts[None])
    return np.ascontiguousarray(whole.swapaxes(1, 2).reshape(blocks * block, blocks * block)[:width, :width])


def product(left: NDArray[Real], right: NDArray[Real]) -> NDArray[Real]:
    """(N, C) @ (C, K) -> (N, K), a strip of rows at a time."""
    strip = max(SMALL // right.size // 4 * 4, 1)
    if strip >= len(left):
        return left @ right
    out = np.empty((len(left), right.shape[1]), left.dtype)
    for first in range(0, len(left), strip):
        np.matmul(left[first : first + strip], right, out=out[first : first + strip])
    return out


def grams(rows: Array) -> Array:
    """(B, N, K) -> (B, K, K) `gram` of each; on a device in one product."""
    if not isinstance(rows, np.ndarray):
        return rows.swapaxes(1, 2) @ rows
    return gram(rows[0])[None] if len(rows) == 1 else np.stack([gram(one) for one in rows])


def products(left: Array, right: Array) -> Array:
    """(B, N, C) and (B, C, K) -> (B, N, K) `product` of each; on a device in one product."""
    if not isinstance(left, np.ndarray):
        return left @ right
    if len(left) == 1:
        return product(left[0], right[0])[None]
    return np.stack([product(one, other) for one, other in zip(left, right, strict=True)])
