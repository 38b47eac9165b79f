"""From a response map to the next box: window, penalties, sub-pixel peak, damping.

It depends on the head: `weigh_boxes` evaluates one box per cell (SiamRPN, Li et al. 2018, section 4.3: penalty and
cosine window), `decode_scales` compares a pyramid of search scales (SiamFC, Bertinetto et al. 2016, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.config import TrackingConfig
from tracker.tracking.arrays import Array, at_least, constant, like, namespace, to_host, within
from tracker.tracking.cosine_window import cosine_window, middle_of_window

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Decoded:
    """The best position in one search crop.

    Attributes:
        dx, dy: Centre of the target, crop pixels from the crop's centre.
        width, height: Size of the target in crop pixels, before damping (None: unchanged up to `scale`).
        scale: Scale factor of the size (classic head; 1 for boxes).
        score: The network's own score at that position, in [0, 1].
        weight: Score after the penalties: learning rate of the size (boxes head).
        cell: (row, column) of the peak.
        logit: The network's own score there, before the sigmoid.
        response: (H, W) float32 in [0, 1] before window and penalties.
        online: The best response of the online filter around that position, clipped, or None without a filter.
    """

    dx: float
    dy: float
    width: float | None
    height: float | None
    scale: float
    score: float
    weight: float
    cell: tuple[int, int]
    logit: float
    response: Map
    online: float | None = None


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow; float32."""
    return 0.5 * namespace(x).tanh(0.5 * x) + 0.5


def _change(ratio: Array) -> Array:
    return namespace(ratio).maximum(ratio, 1.0 / ratio)


@dataclass(frozen=True)
class Weighed:
    """Responses with boxes and their penalised versions; all (..., H, W) float32, but `boxes` (..., 4, H, W).

    Attributes:
        logits, boxes: The network's output.
        response: Sigmoid of the logits.
        weighted: Response after the penalty on a change of size.
        mixed: With the online filter and the cosine window: the map whose peak is taken.
        online: Response of the online filter, or None.
    """

    logits: Array
    boxes: Array
    response: Array
    weighted: Array
    mixed: Array
    online: Array | None = None

    def row(self, number: int) -> Weighed:
        """One row of a batch, on the host."""
        rows = [None if one is None else one[number] for one in vars(self).values()]
        hosted = iter(to_host([one for one in rows if one is not None]))
        return Weighed(*(None if one is None else next(hosted) for one in rows))


def weigh_boxes(
    logits: Array,
    boxes: Array,
    size: ArrayLike,
    config: TrackingConfig,
    online: Array | None = None,
    cells: int = 0,
    exponent: ArrayLike = 1.0,
    filtered: NDArray[np.bool_] | None = None,
) -> Weighed:
    """Applies penalties and window to responses with boxes, for one target or for B.

    Args:
        logits: (H, W) or (B, H, W) score logits, numpy or torch.
        boxes: (4, H, W) or (B, 4, H, W) xyxy in search-crop pixels.
        size: (2,) or (B, 2) width and height of the target in the previous frame, in search-crop pixels.
        config: Window influence and scale penalty k in exp(-k (change - 1)).
        online: (H, W) or (B, H, W) response of the online filter, if there is one.
        cells: Side of the cosine window: a smaller response uses its central part. 0: as large as the response.
        exponent: Exponent of the cosine window, one or (B,): above 1 the window is narrower.
        filtered: (B,) which of them have an online filter; None: all, if any.
    """
    xp, extent = namespace(logits), np.asarray(size, dtype=np.float64)
    w, h, narrow = extent[..., 0], extent[..., 1], np.asarray(exponent, dtype=np.float64)
    # (w + p)(h + p) with p = (w + h) / 2, times 4; its root is the size that SiamRPN compares.
    terms = np.empty((3, *w.shape, 1, 1), np.float32)
    terms[0, ..., 0, 0], terms[1, ..., 0, 0], terms[2, ..., 0, 0] = (3 * w + h) * (w + 3 * h), h / w, narrow
    usual, shape, power = like(terms, logits)
    response = sigmoid(logits)
    sides = at_least(boxes[..., 2:, :, :] - boxes[..., :2, :, :], 1.0)
    width, height = sides[..., 0, :, :], sides[..., 1, :, :]
    area = (3 * width + height) * (width + 3 * height)
    change = xp.sqrt(_change(area / usual)) * _change(width / height * shape)
    penalty = xp.exp(config.scale_penalty - config.scale_penalty * change)
    weighted = chosen = response * penalty
    if online is not None:
        held = within(online, 0.0, 1.0)
        chosen = (1 - config.online.weight) * weighted + config.online.weight * (penalty * held)
        if filtered is not None and not filtered.all():
            chosen = xp.where(like(filtered[:, None, None], logits), chosen, weighted)
    window = constant(middle_of_window, *logits.shape[-2:], cells, other=logits)
    if (narrow != 1).any():
        window = window**power
    mixed = (1 - config.window_influence) * chosen + config.window_influence * window
    return Weighed(logits, boxes, response, weighted, mixed, online)


def decode_scales(
    logits: NDArray[np.float32], factors: NDArray[np.float64], stride: int, config: TrackingConfig
) -> tuple[Decoded, Map]:
    """The best of several search scales and the position of its peak; and its response, logits (H, W).

    Args:
        logits: (S, H, W) one response for each scale.
        factors: (S,) size of each search window relative to the middle one.
        stride: Search-crop pixels per cell.
        config: Up-sampling (1: sub-pixel peak by a parabola), window influence, scale penalty.
    """
    up = config.upsampling
    maps = np.stack([_upsample(m, up) for m in logits]) if up > 1 else np.asarray(logits, dtype=np.float32)
    penalty = np.where(np.arange(len(maps)) == len(maps) // 2, 1.0, config.scale_penalty)
    best = int(np.argmax(maps.max(axis=(1, 2)) * np.where(maps.max(axis=(1, 2)) > 0, penalty, 1 / penalty)))
    raw = maps[best]
    # SiamFC: the response is shifted and normalised to sum 1 before the window is mixed in.
    flat = raw - raw.min()
    flat = flat / (flat.sum() + 1e-12)
    window = cosine_window(*raw.shape)
    mixed = (1 - config.window_influence) * flat + config.window_influence * window / window.sum()
    row, column = divmod(int(np.argmax(mixed)), raw.shape[1])
    fine_row, fine_column = (float(row), float(column)) if up > 1 else subpixel_peak(mixed, row, column)
    step = stride / up * factors[best]
    found = Decoded(
        dx=(fine_column - (raw.shape[1] - 1) / 2) * step,
        dy=(fine_row - (raw.shape[0] - 1) / 2) * step,
        width=None,
        height=None,
        scale=float(factors[best]),
        score=float(sigmoid(raw[row : row + 1, column])[0]),
        weight=1.0,
        cell=(cell := (row // up, column // up)),
        logit=float(logits[best][cell]),
        response=sigmoid(logits[best]),
    )
    return found, logits[best]


def _upsample(response: Map, factor: int) -> Map:
    """(H, W) -> (H * factor, W * factor), bicubic, centres aligned."""
    size = (response.shape[1] * factor, response.shape[0] * factor)
    return cv2.resize(np.ascontiguousarray(response, dtype=np.float32), size, interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def subpixel_peak(response: NDArray[np.floating], row: int, column: int) -> tuple[float, float]:
    """Vertex of the parabola through the peak and its neighbours, on each axis; the cell itself at a border.

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
