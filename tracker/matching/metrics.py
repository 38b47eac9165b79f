"""Metrics of verification, one-shot classification and sentence similarity, on plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Verification:
    """How well a similarity separates genuine from impostor pairs.

    Attributes:
        eer: Equal error rate: the rate at which the fractions of rejected genuine and accepted impostor pairs are
            equal.
        threshold: The similarity at that point.
        auc: Probability that a genuine pair is more similar than an impostor pair (ties count half).
        accepted: For each given false-accept rate, the fraction of genuine pairs accepted there.
        genuine, impostor: Numbers of pairs.
    """

    eer: float
    threshold: float
    auc: float
    accepted: dict[float, float]
    genuine: int
    impostor: int


def verification(similarity: ArrayLike, same: ArrayLike, rates: tuple[float, ...] = (0.1, 0.01, 0.001)) -> Verification:
    """Equal error rate, area under the curve and acceptance rates.

    Args:
        similarity: (N,) of pairs, higher is more alike.
        same: (N,) whether a pair is genuine.
        rates: False-accept rates.

    Raises:
        ValueError: One kind of pairs is missing.
    """
    values, labels = np.asarray(similarity, np.float64), np.asarray(same, bool)
    genuine, impostor = np.sort(values[labels]), np.sort(values[~labels])
    if not len(genuine) or not len(impostor):
        raise ValueError("verification needs genuine and impostor pairs")
    cuts = np.unique(values)
    refused = np.searchsorted(genuine, cuts, side="left") / len(genuine)
    accepted = 1 - np.searchsorted(impostor, cuts, side="left") / len(impostor)
    # Rejections rise and acceptances fall with the threshold; the rate is interpolated between the two thresholds
    # around their crossing.
    gap = refused - accepted
    k = int(np.argmax(gap >= 0)) if (gap >= 0).any() else len(cuts) - 1
    if k and gap[k] > 0:
        t = gap[k - 1] / (gap[k - 1] - gap[k])
        eer = float(refused[k - 1] + t * (refused[k] - refused[k - 1]))
        cut = float(cuts[k - 1] + t * (cuts[k] - cuts[k - 1]))
    else:
        eer, cut = float((refused[k] + accepted[k]) / 2), float(cuts[k])
    rank = np.searchsorted(impostor, genuine, side="left") + np.searchsorted(impostor, genuine, side="right")
    auc = float(rank.mean() / 2 / len(impostor))
    shares = {rate: float((genuine >= threshold_at(impostor, rate)).mean()) for rate in rates}
    return Verification(eer, cut, auc, shares, len(genuine), len(impostor))


def threshold_at(impostor: ArrayLike, rate: float) -> float:
    """The least similarity that at most a fraction `rate` of impostor pairs reaches.

    Args:
        impostor: (N,) similarities of impostor pairs.
        rate: False-accept rate in [0, 1].
    """
    values = np.sort(np.asarray(impostor, np.float64))
    allowed = int(np.floor(rate * len(values) + 1e-9))
    if allowed >= len(values):
        return float("-inf")
    return float(np.nextafter(values[len(values) - allowed - 1], np.inf))


def ranks(values: ArrayLike) -> Vector:
    """Ranks from 1; ties get their mean rank."""
    array = np.asarray(values, np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)


def pearson(a: ArrayLike, b: ArrayLike) -> float:
    """Linear correlation; nan if one side is constant."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    x, y = x - x.mean(), y - y.mean()
    below = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / below if below > 0 else float("nan")


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Rank correlation."""
    return pearson(ranks(a), ranks(b))


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a proportion over `count` trials (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return max(0.0, centre - half), min(1.0, centre + half)
