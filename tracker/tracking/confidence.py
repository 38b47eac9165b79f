"""Confidence of a position: features of the response around it, and the logistic regression that maps them to a
probability.

The logit of the score is a sum of one function of each feature: a line that bends at the feature's median (a hinge), so
that a motion above the usual one, say, can count more than one below it.

The score is calibrated: of the boxes with a score near 0.8, about 80 % are on the target (overlap of at least `OVERLAP`
with the ground truth). Weights are fitted by `siamtrack calibrate` on clips with disturbances and stored with the
model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.config import TrackingConfig
from tracker.errors import ConfigError
from tracker.tracking.peaks import PEAK

OVERLAP = 0.3
"""Least overlap with the ground truth of a box that counts as being on the target."""

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
"""The values of `confidence_features`, in this order:

- peak: logit at the chosen position;
- margin: peak minus the best logit outside the neighbourhood of the target, where distractors are;
- contrast: peak minus the mean logit outside the neighbourhood, divided by 4;
- agreement: mean overlap of the boxes of the eight cells around the peak with the chosen one, weighted by response;
- resize: |log2| of the change of area since the previous frame, plus that of the aspect ratio;
- motion: step since the previous frame, in sqrt(w h);
- online: response of the online filter at the position (the best of its neighbours);
- online_margin: that minus its best response outside the neighbourhood of the target;
- drop: reference logit of this target minus the peak (0 without a reference), since some targets never match well;
- online_drop: the same for the online filter's response, which normalises over videos and models.
"""

USUAL_ONLINE = (0.8, 0.6)
"""Values of the two features of the online filter for targets without one: those of a well-tracked target."""


LEAST = np.array((-10.0, -5.0, 0.0, 0.0, 0.0, 0.0, -0.5, -1.5, -3.0, -0.5))
MOST = np.array((10.0, 10.0, 5.0, 1.0, 3.0, 4.0, 1.5, 1.5, 6.0, 1.5))
"""Bounds of `FEATURES`."""


def confidence_features(
    peaks: NDArray[np.float64],
    sizes: NDArray[np.float64],
    crop: int,
    usual: NDArray[np.float64],
    usual_online: NDArray[np.float64],
    filtered: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(B, 10) `FEATURES` of some positions, each within fixed bounds.

    Args:
        peaks: (B, len(PEAK)) from `read_peaks`; `agreement` is 1 with the classic head, which has no boxes.
        sizes: (B, 2) width and height of the targets in the previous frame, crop pixels.
        crop: Side of the crop in pixels.
        usual: (B,) the target's reference logit; NaN if unknown.
        usual_online: (B,) its reference response of the online filter; likewise.
        filtered: (B,) whether it has an online filter.
    """
    of = dict(zip(PEAK, peaks.T, strict=True))
    clear, extents = of["count"] > 0, np.maximum(peaks[:, 3:5] - peaks[:, 1:3], 1.0)
    changes, ratios = (extents / sizes).T, (extents[:, 0] / extents[:, 1], sizes[:, 0] / sizes[:, 1])
    away = (peaks[:, 1:3] + peaks[:, 3:5] - crop) / 2
    out = np.empty((len(peaks), len(FEATURES)))
    out[:, 0] = of["logit"]
    out[:, 1] = np.where(clear, of["logit"] - of["second"], 6.0)
    out[:, 2] = np.where(clear, of["logit"] - of["others"] / np.maximum(of["count"], 1), 12.0) / 4
    out[:, 3] = of["agreement"]
    out[:, 4] = np.abs(np.log2(changes[0] * changes[1])) + np.abs(np.log2(ratios[0] / ratios[1]))
    out[:, 5] = np.sqrt((away * away).sum(axis=1) / (sizes[:, 0] * sizes[:, 1]))
    out[:, 6] = of["online"]
    out[:, 7] = np.where(clear, of["online"] - of["online_second"], of["online"])
    out[:, 8] = usual - of["logit"]
    np.minimum(np.maximum(out, LEAST, out=out), MOST, out=out)
    out[:, 9] = np.minimum(np.maximum(usual_online - out[:, 6], LEAST[9]), MOST[9])
    if not filtered.all():
        out[~filtered, 6:8], out[~filtered, 9] = USUAL_ONLINE, 0.0
    fallen = out[:, 8:]
    fallen[np.isnan(fallen)] = 0.0  # without a reference
    return out


def check_weights(config: TrackingConfig) -> None:
    """Raises if there are more weights than features, or if knots and weights don't belong together.

    Raises:
        ConfigError: With the setting.
    """
    of, most = config.calibration, len(FEATURES)
    if len(of.knots) > most:
        raise ConfigError(
            f"tracking.calibration.knots has {len(of.knots)} values; it is at most {most}, one a feature."
        )
    for name in ("confidence", "confidence_plain"):
        count = len(getattr(of, name))
        if name == "confidence" and of.knots:
            if count not in (0, 1 + 2 * len(of.knots)):
                raise ConfigError(
                    f"tracking.calibration.confidence has {count} values, and there are {len(of.knots)} knots: it is a "
                    f"bias and two weights a knot, {1 + 2 * len(of.knots)} values. For a score without knots set "
                    "tracking.calibration.knots=[] too."
                )
        elif count > 1 + most:
            raise ConfigError(
                f"tracking.calibration.{name} has {count} values; it is a bias and at most {most} weights, without "
                "knots."
            )


def probability(values: ArrayLike, weights: Sequence[float], knots: Sequence[float] = ()) -> NDArray[np.float64]:
    """Calibrated scores in [0, 1].

    Args:
        values: (..., F) features.
        weights: Bias, then at most F weights (`tracking.calibration.confidence`): a model calibrated before a feature
            existed has no weight for it. With K knots: bias, K weights of the first K features, and K of their
            `hinges`.
        knots: K <= F values (`tracking.calibration.knots`), where the slope of each feature changes; none: a straight
            line.
    """
    w = np.asarray(weights, dtype=np.float64)
    x = np.asarray(values, dtype=np.float64)[..., : len(knots) or len(w) - 1]
    logit = x @ w[1 : x.shape[-1] + 1] + w[0]
    if len(knots):
        logit = logit + hinges(x, knots) @ w[len(knots) + 1 :]
    return np.asarray(0.5 * (np.tanh(0.5 * logit) + 1))


def hinges(values: NDArray[np.float64], knots: Sequence[float]) -> NDArray[np.float64]:
    """(..., K) how far each feature lies above its knot, 0 below it: max(x - knot, 0), the basis of a linear spline."""
    return np.maximum(values - np.asarray(knots, dtype=np.float64), 0.0)


def verified(
    score: ArrayLike, likeness: ArrayLike, searched: ArrayLike, weights: Sequence[float]
) -> NDArray[np.float64]:
    """Probability that a candidate is the target, from its score and the similarity of its embedding to a known view.

    Args:
        score: (...) calibrated scores.
        likeness: (...) cosines.
        searched: (...) whether the candidate came from a search beyond the last position, where look-alikes are more
            frequent.
        weights: Four, as `tracking.calibration.verification`; if empty, the score is returned unchanged.
    """
    if not len(weights):
        return np.asarray(score, dtype=np.float64)
    return probability(evidence(score, likeness, searched), weights)


def evidence(score: ArrayLike, likeness: ArrayLike, searched: ArrayLike) -> NDArray[np.float64]:
    """(..., 3) the inputs of `verified`: logit of the score, likeness, searched."""
    p = np.clip(np.asarray(score, dtype=np.float64), 1e-4, 1 - 1e-4)
    return np.stack([np.log(p / (1 - p)), np.asarray(likeness, np.float64), np.asarray(searched, np.float64)], axis=-1)


def fit(values: ArrayLike, right: ArrayLike, ridge: float = 1.0, weight: ArrayLike | None = None) -> tuple[float, ...]:
    """Weights of the logistic regression, by Newton's method on standardised features with a small ridge term.

    Args:
        values: (N, F) features.
        right: (N,) whether the box was on the target.
        ridge: Strength of the L2 term on the standardised weights, in samples.
        weight: (N,) weight of each sample; 1 where None.

    Returns:
        Bias and F weights, for unstandardised features.
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
    """How often boxes with a score of p are right, and the expected calibration error.

    Args:
        scores: (N,) in [0, 1].
        right: (N,) bool.
        bins: Number of equal intervals of [0, 1].

    Returns:
        (mean score, fraction right, count) for each non-empty bin, and sum(count * |score - fraction|) / N (Guo et al.
        2017, equation 5).
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
