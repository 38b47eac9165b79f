"""Files that are whole or absent, json without NaN, and the pictures behind a result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tracker.files import write_atomic
from tracker.types import Image

if TYPE_CHECKING:
    from tracker.evaluation.results import SequenceResult


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Write a file so that it is either whole or as it was, also after a kill: `tracker.files.write_atomic`."""
    write_atomic(path, data)


def plain(value: Any) -> Any:
    """Numpy to plain json: NaN and infinity become null, because bare NaN isn't json."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_frame(result: SequenceResult, index: int) -> Image | None:
    """Frame `index` (0-based) of a result as BGR uint8 H x W x 3, or None where the frames aren't at hand."""
    import cv2

    if not result.frames or not 0 <= index < len(result):
        return None
    if len(result.frames) == len(result):
        return cv2.imread(result.frames[index], cv2.IMREAD_COLOR)  # type: ignore[return-value]
    capture = cv2.VideoCapture(result.frames[0])
    try:
        # Seeking in compressed clips isn't exact everywhere: decode from the start.
        for _ in range(index):
            if not capture.grab():
                return None
        ok, image = capture.read()
        return image if ok else None  # type: ignore[return-value]
    finally:
        capture.release()
