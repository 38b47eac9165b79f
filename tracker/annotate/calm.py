"""Boxes of the machine without their trembling: sizes and places averaged over some frames before and after."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracker.annotate.clip import runs
from tracker.geometry import Boxes, cxcywh_to_xywh, xywh_to_cxcywh

SIZE, STILL, FAST = 4.0, 2.0, 0.7
"""Standard deviations of the weights, in frames: of sizes, and of the place of a slow and of a fast target."""
QUICK = 0.1
"""Sizes per frame from which a target counts as fast: its turns are not to be cut off."""
LEAST = 5
REACH = 40
"""Frames beyond which nothing has a say in a calm box."""


def calm(boxes: Boxes) -> Boxes:
    """Boxes with sizes and centres smoothed by a normal distribution over time, each run of boxes by itself.

    A tracker's boxes tremble from frame to frame by more than the target does. Ends stay where they are, and so does a
    track on a straight line: beyond the ends the values are continued by their point reflection.

    Args:
        boxes: (n, 4) xywh; NaN where there is none.

    Returns:
        (n, 4).
    """
    out = np.array(boxes, dtype=np.float64)
    for first, end in runs(np.asarray(np.isfinite(out).all(axis=1))):
        if end - first < LEAST:
            continue
        values = xywh_to_cxcywh(out[first:end])
        centres, sizes = values[:, :2], np.log(np.maximum(values[:, 2:], 1e-3))
        step = np.hypot(*np.gradient(_averaged(centres, STILL), axis=0).T) / np.exp(sizes.mean(axis=1))
        slow = np.clip(1 - _averaged(step[:, None], STILL) / QUICK, 0, 1)
        centres = slow * _averaged(centres, STILL) + (1 - slow) * _averaged(centres, FAST)
        out[first:end] = cxcywh_to_xywh(np.concatenate([centres, np.exp(_averaged(sizes, SIZE))], axis=1))
    return out


def _averaged(values: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """(n, m): each column, weighted by a normal distribution over time."""
    reach = min(round(3 * deviation), len(values) - 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    before = 2 * values[0] - values[1 : reach + 1][::-1]
    after = 2 * values[-1] - values[-reach - 1 : -1][::-1]
    padded = np.concatenate([before, values, after])
    columns = [np.convolve(column, weights / weights.sum(), "valid") for column in padded.T]
    return np.stack(columns, axis=1)
