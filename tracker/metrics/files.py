"""Json without NaN, and the pictures behind a result."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tracker.errors import ImageError, SourceError
from tracker.media.containers import VIDEO_SUFFIXES
from tracker.types import Image

if TYPE_CHECKING:
    from tracker.metrics.results import SequenceResult

logger = logging.getLogger(__name__)


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
    """Frame `index` (0-based) of a result as BGR uint8 H x W x 3, or None where the frames aren't at hand any more."""
    from tracker.media.images import read_image
    from tracker.media.sources.video import VideoFileSource

    if not result.frames or not 0 <= index < len(result):
        return None
    try:
        if Path(result.frames[0]).suffix.lower() not in VIDEO_SUFFIXES:
            return read_image(result.frames[index])
        with VideoFileSource(Path(result.frames[0]), index) as clip:
            return next(clip).image
    except (ImageError, SourceError) as error:
        logger.warning("Frame %d of %s can't be shown: %s", index, result.sequence, error)
        return None
