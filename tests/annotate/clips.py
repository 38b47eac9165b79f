"""Clips for the tests of annotation: patches that walk over a textured ground, one of them behind a pillar for a
while."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.media.clips import write_clip
from tests.tracking.standin import ground, put, thing

SIDE = 32


def truth(number: int, k: int) -> tuple[float, float, float, float]:
    """Box (xywh) of patch `number` in frame k."""
    return (20.0 + 4 * k, 30.0 + 62 * number, SIDE, SIDE) if number != 1 else (270.0 - 4 * k, 30.0 + 62, SIDE, SIDE)


def walk(path: Path, frames: int = 60, pillar: bool = True) -> Path:
    """Three patches; the first is behind a pillar around frame 30."""
    back = ground(seed=5)
    images = []
    for k in range(frames):
        image = back.copy()
        for number in range(3):
            x, y, _, _ = truth(number, k)
            image = put(image, thing(SIDE, seed=10 + number, cells=8), x, y)
        if pillar:
            image[20:75, 130:180] = (90, 60, 40)
        images.append(image)
    return write_clip(path, images)


def boxes(number: int, frames: int = 60) -> np.ndarray:
    """(frames, 4) true boxes."""
    return np.array([truth(number, k) for k in range(frames)])
