"""The cosine window: positions far from the predicted one are down-weighted (SiamFC, Bertinetto et al. 2016, section
3.2)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]


@lru_cache(maxsize=16)
def cosine_window(height: int, width: int) -> Map:
    """(height, width) outer product of two Hann windows, 1 in the middle."""
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    return (window / window.max()).astype(np.float32)


@lru_cache(maxsize=16)
def middle_of_window(height: int, width: int, cells: int) -> Map:
    """(height, width) central part of the cosine window of `cells` x `cells`, or a window of that size if it is
    larger."""
    top, left = max((cells - height) // 2, 0), max((cells - width) // 2, 0)
    window = cosine_window(max(cells, height), max(cells, width))
    return np.ascontiguousarray(window[top : top + height, left : left + width])
