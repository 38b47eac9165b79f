"""From a response map to the next box: window, penalties, sub-pixel peak, damping. numpy only.

Two ways, by the head: `weigh_boxes` reads one box for each cell (SiamRPN, Li et al. 2018, section 4.3: penalty and
cosine window), `decode_scales` compares a pyramid of search scales (SiamFC, Bertinetto et al. 2016, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.config import TrackingConfig
from tracker.tracking.cosine_window import cosine_window, middle_of_window

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Decoded:
    """The chosen place in one search crop.

    Attributes:
        dx, dy: Centre of the target, crop pixels from the crop's centre.
        width, height: Size of the target in crop pixels, before damping (None: unchanged up to `scale`).
        scale: Factor on the size (classic head; 1 for boxes).
        score: The network's own score at that place, in [0, 1].
        weight: Score after the penalties: how far the size may follow (boxes head).
        cell: (row, column) of the peak.
        response: (H, W) float32 in [0, 1] before window and penalties.
        logits: (H, W) float32, the response before the sigmoid.
        boxes: (4, H, W) float32 xyxy in search-crop pixels, or None (classic head).
        online: (H, W) float32 response of the online filter, or None where there is none.
    """

    dx: float
    dy: float
    width: float | None
    height: float | None
    scale: float
    score: float
    weight: float
    cell: tuple[int, int]
    response: Map
    logits: Map
    boxes: Map | None = None
    online: Map | None = None


def sigmoid(x: NDArray[np.float32]) -> Map:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5, dtype=np.float32)


def _change(ratio: Map) -> Map:
    return np.maximum(ratio, 1.0 / ratio)


@dataclass(frozen=True)
class Weighed:
    """A response with boxes and what the penalties make of it; all (H, W) float32 but `boxes` (4, H, W).

    Attributes:
        logits, boxes: As the network gave them.
        response: Sigmoid of the logits.
        weighted: Response after the penalty on a change of size.
        mixed: With the online filter, and after the window: what the peak is taken from.
        online: Response of the online filter, or None.
    """

    logits: Map
    boxes: Map
    response: Map
    weighted: Map
    mixed: Map
    online: Map | None = None

    def at(self, cell: tuple[int, int], crop: int) -> Decoded:
        """The place that a cell stands for, in a search crop of side `crop` pixels."""
        left, top, right, bottom = self.boxes[:, cell[0], cell[1]].tolist()
        return Decoded(
            dx=(left + right) / 2 - crop / 2,
            dy=(top + bottom) / 2 - crop / 2,
            width=max(right - left, 1.0),
            height=max(bottom - top, 1.0),
            scale=1.0,
            score=float(self.response[cell]),
            weight=float(self.weighted[cell]),
            cell=cell,
            response=self.response,
            logits=self.logits,
            boxes=self.boxes,
            online=self.online,
        )


def weigh_boxes(
    logits: Map,
    boxes: Map,
    size: tuple[float, float],
    config: TrackingConfig,
    online: Map | None = None,
    cells: int = 0,
    exponent: float = 1.0,
) -> Weighed:
    """Penalties on a response with boxes.

    Args:
        logits: (H, W) score logits.
        boxes: (4, H, W) xyxy in search-crop pixels.
        size: Width and height of the target in the frame before, in search-crop pixels.
        config: Window influence and scale penalty k in exp(-k (change - 1)).
        online: (H, W) response of the online filter, where there is one.
        cells: Side of the cosine window: a response smaller than that meets the middle of it. 0: as large as the
            response.
        exponent: Of the cosine window: above 1 it is narrower.
    """
    response = sigmoid(logits)
    width = np.maximum(boxes[2] - boxes[0], 1.0)
    height = np.maximum(boxes[3] - boxes[1], 1.0)
    # (w + p)(h + p) with p = (w + h) / 2, times 4; its root is the size that SiamRPN compares.
    area, usual = (3 * width + height) * (width + 3 * height), (3 * size[0] + size[1]) * (size[0] + 3 * size[1])
    change = np.sqrt(_change(area / usual)) * _change(width / height * (size[1] / size[0]))
    penalty = np.exp(config.scale_penalty - config.scale_penalty * change)
    weighted = chosen = response * penalty
    if online is not None:
        held = np.minimum(np.maximum(online, 0.0), 1.0)
        chosen = (1 - config.online.weight) * weighted + config.online.weight * (penalty * held)
    window = middle_of_window(*response.shape, cells)
    if exponent != 1:
        window = window ** np.float32(exponent)
    mixed = (1 - config.window_influence) * chosen + config.window_influence * window
    return Weighed(logits, boxes, response, weighted, mixed, online)


def decode_scales(
    logits: NDArray[np.float32], factors: NDArray[np.float64], stride: int, config: TrackingConfig
) -> Decoded:
    """The best of several search scales and the peak's place in it.

    Args:
        logits: (S, H, W) one response for each scale.
        factors: (S,) size of each search window against the middle one.
        stride: Search-crop pixels for one cell.
        config: Up-sampling (1: sub-pixel peak by a parabola), window influence, scale penalty.
    """
    up = config.upsampling
    maps = np.stack([_upsample(m, up) for m in logits]) if up > 1 else np.asarray(logits, dtype=np.float32)
    penalty = np.where(np.arange(len(maps)) == len(maps) // 2, 1.0, config.scale_penalty)
    best = int(np.argmax(maps.max(axis=(1, 2)) * np.where(maps.max(axis=(1, 2)) > 0, penalty, 1 / penalty)))
    raw = maps[best]
    # SiamFC: the response is shifted and scaled to a distribution before the window is mixed in.
    flat = raw - raw.min()
    flat = flat / (flat.sum() + 1e-12)
    window = cosine_window(*raw.shape)
    mixed = (1 - config.window_influence) * flat + config.window_influence * window / window.sum()
    row, column = divmod(int(np.argmax(mixed)), raw.shape[1])
    fine_row, fine_column = (float(row), float(column)) if up > 1 else subpixel_peak(mixed, row, column)
    step = stride / up * factors[best]
    return Decoded(
        dx=(fine_column - (raw.shape[1] - 1) / 2) * step,
        dy=(fine_row - (raw.shape[0] - 1) / 2) * step,
        width=None,
        height=None,
        scale=float(factors[best]),
        score=float(sigmoid(raw[row : row + 1, column])[0]),
        weight=1.0,
        cell=(row // up, column // up),
        response=sigmoid(logits[best]),
        logits=logits[best],
    )


def _upsample(response: Map, factor: int) -> Map:
    """(H, W) -> (H * factor, W * factor), bicubic, centres kept."""
    size = (response.shape[1] * factor, response.shape[0] * factor)
    return cv2.resize(np.ascontiguousarray(response, dtype=np.float32), size, interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def subpixel_peak(response: NDArray[np.floating], row: int, column: int) -> tuple[float, float]:
    """Top of the parabola through the peak and its neighbours, on each axis; the cell itself at a border.

    Returns:
        (row, column) as floats, within half a cell of the peak.
    """

    def offset(before: float, here: float, after: float) -> float:
        curve = before - 2 * here + after
        return float(np.clip(0.5 * (before - after) / curve, -0.5, 0.5)) if curve < 0 else 0.0

    dy = dx = 0.0
    if 0 < row < response.shape[0] - 1:
        dy = offset(float(response[row - 1, column]), float(response[row, column]), float(response[row + 1, column]))
    if 0 < column < response.shape[1] - 1:
        dx = offset(float(response[row, column - 1]), float(response[row, column]), float(response[row, column + 1]))
    return row + dy, column + dx
