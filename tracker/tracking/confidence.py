"""How sure is a place? Features of the response around it, and the logistic regression that turns them into a
probability.

The score is calibrated: of the boxes with a score near 0.8, about 80 % lie on the target (overlap of at least `OVERLAP`
with the truth). Weights are fitted by `tools/calibrate.py` on clips with disturbances and stored with the model. numpy
only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.config import TrackingConfig
from tracker.errors import ConfigError
from tracker.tracking.decode import Decoded, Map

OVERLAP = 0.3
"""Overlap with the truth from which on a box counts as being on the target."""

FEATURES = (
    "peak",
    "margin",
    "contrast",
    "agreement",
    "resize",
    "motion",
    "online",
    "online_margin",
    "drop",
    "online_drop",
)
"""What `features` gives, in this order:
peak        logit at the chosen place
margin      that less the best logit outside the neighbourhood of the target (how far ahead of the best distractor)
contrast    that less the mean logit outside the neighbourhood, 1/4 (sharpness)
agreement   mean overlap of the boxes of the eight cells around the peak with the chosen one, weighted by their response
resize      |log2| of the change of area since the frame before, on top of that of the aspect ratio
motion      step since the frame before, in sqrt(w h)
online      response of the online filter at the place (the best of its neighbours)
online_margin   that less its best response outside the neighbourhood of the target
drop        how far the peak lies below the usual one of this target (0 where none is known): some targets never match
            well
online_drop   the same of the online filter's response: normalises over footage and models
"""

USUAL_ONLINE = (0.8, 0.6)
"""The two of the online filter where there is no online filter: what they are on a target that is tracked well."""


def outside(
    shape: tuple[int, ...], box: Sequence[float] | NDArray[np.float64], stride: int, crop: int
) -> NDArray[np.bool_]:
    """(H, W) True for the cells that stand clear of a target: off its box by a quarter of its size and a cell.

    Args:
        shape: (H, W) of the response, whose middle stands at the crop's centre.
        box: xyxy in crop pixels.
        stride: Crop pixels for one cell.
        crop: Side of the crop in pixels.
    """
    clear = np.ones(shape, dtype=np.bool_)
    clear[around(shape, box, stride, crop)] = False
    return clear


def around(
    shape: tuple[int, ...], box: Sequence[float] | NDArray[np.float64], stride: int, crop: int
) -> tuple[slice, slice]:
    """Rows and columns of the cells that don't stand clear of a target; as of `outside`."""
    left, top, right, bottom = (float(v) for v in box)
    return _near(top, bottom, shape[0], stride, crop), _near(left, right, shape[1], stride, crop)


def _near(first: float, last: float, count: int, stride: int, crop: int) -> slice:
    # Cell k stands at stride * k + begin, and is near where it is less than `reach` off the middle.
    begin = (crop - (count - 1) * stride) / 2
    middle, reach = (first + last) / 2 - begin, 0.75 * (last - first) + stride
    low = min(max(math.floor((middle - reach) / stride) + 1, 0), count)
    return slice(low, max(min(math.ceil((middle + reach) / stride), count), low))


def _best_of_others(values: Map, near: tuple[slice, slice]) -> float:
    """The largest value of a map outside of these rows and columns; -inf where there is none."""
    others = values.copy()
    others[near] = -np.inf
    return float(others.max())


def box_of(found: Decoded, size: Sequence[float] | NDArray[np.float64], crop: int) -> NDArray[np.float64]:
    """(4,) xyxy in crop pixels of a decoded place; `size` (w, h) in crop pixels where it has none of its own (classic
    head)."""
    w, h = (float(v) * found.scale for v in size)
    if found.width is not None and found.height is not None:
        w, h = found.width, found.height
    x, y = crop / 2 + found.dx, crop / 2 + found.dy
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def confidence_features(
    found: Decoded,
    size: tuple[float, float],
    stride: int,
    crop: int,
    usual: float | None = None,
    usual_online: float | None = None,
) -> NDArray[np.float64]:
    """(10,) `FEATURES` of a decoded place, each within fixed bounds.

    Args:
        found: The place and the maps it was taken from.
        size: (w, h) of the target in the frame before, crop pixels.
        stride: Crop pixels for one cell.
        crop: Side of the crop in pixels.
        usual: Logit of the peak that this target usually has, or None.
        usual_online: Response of the online filter that it usually has, or None.
    """
    w, h = size
    left, top, right, bottom = box_of(found, (w, h), crop).tolist()
    peak = float(found.logits[found.cell])
    near = around(found.logits.shape, (left, top, right, bottom), stride, crop)
    inner = found.logits[near]
    count = found.logits.size - inner.size
    second, mean = peak - 6.0, peak - 12.0
    if count:
        second, mean = _best_of_others(found.logits, near), float(found.logits.sum() - inner.sum()) / count
    new_w, new_h = max(right - left, 1e-3), max(bottom - top, 1e-3)
    resize = abs(math.log2(new_w * new_h / (w * h))) + abs(math.log2((new_w / new_h) / (w / h)))
    online, online_margin = _online(found, near)
    known = usual_online is not None and found.online is not None
    return np.array(
        [
            min(max(peak, -10.0), 10.0),
            min(max(peak - second, -5.0), 10.0),
            min(max(peak - mean, 0.0), 20.0) / 4,
            _agreement(found.boxes, found.response, found.cell),
            min(resize, 3.0),
            min(math.hypot(found.dx, found.dy) / math.sqrt(w * h), 4.0),
            online,
            online_margin,
            0.0 if usual is None else min(max(usual - peak, -3.0), 6.0),
            min(max((usual_online or 0.0) - online, -0.5), 1.5) if known else 0.0,
        ]
    )


def _online(found: Decoded, near: tuple[slice, slice]) -> tuple[float, float]:
    if found.online is None:
        return USUAL_ONLINE
    row, column = found.cell
    here = float(found.online[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].max())
    second = _best_of_others(found.online, near)
    second = second if math.isfinite(second) else 0.0
    return min(max(here, -0.5), 1.5), min(max(here - second, -1.5), 1.5)


def _agreement(boxes: Map | None, response: Map, cell: tuple[int, int]) -> float:
    if boxes is None:
        return 1.0
    row, column = cell
    rows, columns = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
    x0, y0, x1, y1 = boxes[:, row, column].tolist()
    area, total, whole = max(x1 - x0, 0.0) * max(y1 - y0, 0.0), 0.0, 0.0
    # Nine boxes: plain numbers take less time than calls of numpy.
    cells = boxes[:, rows, columns].reshape(4, -1).tolist()
    for left, top, right, bottom, share in zip(*cells, response[rows, columns].ravel().tolist(), strict=True):
        both = max(min(right, x1) - max(left, x0), 0.0) * max(min(bottom, y1) - max(top, y0), 0.0)
        union = max(right - left, 0.0) * max(bottom - top, 0.0) + area - both
        total += both / max(union, 1e-6) * (share + 1e-6)
        whole += share + 1e-6
    return total / whole


def check_weights(config: TrackingConfig) -> None:
    """Raises where there are more weights than features.

    Raises:
        ConfigError: With the setting.
    """
    for name in ("confidence", "confidence_plain"):
        count = len(getattr(config.calibration, name))
        if count > 1 + len(FEATURES):
            raise ConfigError(
                f"tracking.calibration.{name} has {count} values; it is a bias and at most {len(FEATURES)} weights."
            )


def probability(values: ArrayLike, weights: Sequence[float]) -> NDArray[np.float64]:
    """Calibrated scores in [0, 1].

    Args:
        values: (..., F) features.
        weights: Bias, then at most F weights (`tracking.calibration.confidence`): a model calibrated before a feature
            existed leaves it out.
    """
    w = np.asarray(weights, dtype=np.float64)
    x = np.asarray(values, dtype=np.float64)[..., : len(w) - 1]
    return np.asarray(0.5 * (np.tanh(0.5 * (x @ w[1:] + w[0])) + 1))


def verified(
    score: ArrayLike, likeness: ArrayLike, searched: ArrayLike, weights: Sequence[float]
) -> NDArray[np.float64]:
    """Probability that what was found is the target: its score, and how much its embedding is like a known view.

    Args:
        score: (...) calibrated scores.
        likeness: (...) cosines.
        searched: (...) whether the place came from a search beyond the last place, where look-alikes are met more
            often.
        weights: Four, as `tracking.calibration.verification`; the score is passed through where empty.
    """
    if not len(weights):
        return np.asarray(score, dtype=np.float64)
    return probability(evidence(score, likeness, searched), weights)


def evidence(score: ArrayLike, likeness: ArrayLike, searched: ArrayLike) -> NDArray[np.float64]:
    """(..., 3) what `verified` weighs: logit of the score, likeness, searched."""
    p = np.clip(np.asarray(score, dtype=np.float64), 1e-4, 1 - 1e-4)
    return np.stack([np.log(p / (1 - p)), np.asarray(likeness, np.float64), np.asarray(searched, np.float64)], axis=-1)


def fit(values: ArrayLike, right: ArrayLike, ridge: float = 1.0, weight: ArrayLike | None = None) -> tuple[float, ...]:
    """Weights of the logistic regression, by Newton's method on standardised features with a little ridge.

    Args:
        values: (N, F) features.
        right: (N,) whether the box was on the target.
        ridge: Strength of the L2 term on the standardised weights, in samples.
        weight: (N,) how much each sample counts; 1 where None.

    Returns:
        Bias and F weights, for features as they are (not standardised).
    """
    x, y = np.asarray(values, dtype=np.float64), np.asarray(right, dtype=np.float64)
    n = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    mean, spread = x.mean(0), np.maximum(x.std(0), 1e-6)
    z = np.concatenate([np.ones((len(x), 1)), (x - mean) / spread], axis=1)
    w = np.zeros(z.shape[1])
    penalty = ridge * np.eye(z.shape[1])
    penalty[0, 0] = 1e-6
    for _ in range(50):
        p = 0.5 * (np.tanh(0.5 * (z @ w)) + 1)
        gradient = z.T @ (n * (p - y)) + penalty @ w
        step = np.linalg.solve((z * (n * np.maximum(p * (1 - p), 1e-6))[:, None]).T @ z + penalty, gradient)
        w -= step
        if np.abs(step).max() < 1e-8:
            break
    slopes = w[1:] / spread
    return tuple(float(v) for v in (w[0] - slopes @ mean, *slopes))


def reliability(scores: ArrayLike, right: ArrayLike, bins: int = 10) -> tuple[list[tuple[float, float, int]], float]:
    """How often a score of p is right, and the expected calibration error.

    Args:
        scores: (N,) in [0, 1].
        right: (N,) bool.
        bins: Equal parts of [0, 1].

    Returns:
        (mean score, share right, count) for each bin that isn't empty, and sum(count * |score - share|) / N
        (Guo et al. 2017, equation 5).
    """
    p, y = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=np.float64)
    place = np.minimum((p * bins).astype(int), bins - 1)
    rows = [
        (float(p[place == k].mean()), float(y[place == k].mean()), int((place == k).sum()))
        for k in range(bins)
        if (place == k).any()
    ]
    error = sum(count * abs(score - share) for score, share, count in rows) / max(len(p), 1)
    return rows, float(error)
