"""Confidence intervals: seeded percentile bootstrap over sequences.

Sequences are resampled, not frames: the frames of one sequence are strongly correlated, and resampling them would give
intervals that are far too narrow. Method: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter
13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAMPLES = 2000
LEVEL = 0.95
FEWEST = 4
"""With fewer sequences an interval is meaningless, and none is given."""


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval.

    Attributes:
        value: The value, in its own unit.
        low, high: Ends of the interval; NaN where there are too few sequences.
        count: Number of sequences.
    """

    value: float
    low: float
    high: float
    count: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def percent(self) -> str:
        """The value and the ends in per cent, for a table; "-" without sequences."""
        ends = f" ({100 * self.low:.1f} to {100 * self.high:.1f})" if self.known else ""
        return f"{100 * self.value:.1f} %{ends}" if self.count else "-"

    @property
    def facts(self) -> dict[str, float]:
        """As a dict for json."""
        return {"value": self.value, "low": self.low, "high": self.high, "sequences": self.count}


def draws(count: int, samples: int = SAMPLES, seed: int = 0) -> NDArray[np.intp]:
    """(samples, count) indices drawn with replacement; equal for equal arguments, so that comparisons of trackers are
    paired."""
    return np.random.default_rng(seed).integers(0, count, (samples, count))


def mean_interval(
    values: ArrayLike, weights: ArrayLike | None = None, *, level: float = LEVEL, samples: int = SAMPLES, seed: int = 0
) -> Interval:
    """Interval of a (weighted) mean over sequences.

    Args:
        values: (S,) one number per sequence; NaN ones are left out.
        weights: (S,) weights, for metrics that pool frames: the number of frames of each sequence. None: equal weights.
        level: Fraction of resamplings inside the interval.
        samples: Number of resamplings.
        seed: Seed of the resampling.

    Returns:
        The mean and its interval.
    """
    numbers = np.asarray(values, dtype=np.float64)
    shares = np.ones_like(numbers) if weights is None else np.asarray(weights, dtype=np.float64)
    good = np.isfinite(numbers) & np.isfinite(shares) & (shares > 0)
    numbers, shares = numbers[good], shares[good]
    if not len(numbers):
        return Interval(np.nan, np.nan, np.nan, 0)
    value = float(np.sum(numbers * shares) / np.sum(shares))
    if len(numbers) < FEWEST:
        return Interval(value, np.nan, np.nan, len(numbers))
    index = draws(len(numbers), samples, seed)
    means = np.sum((numbers * shares)[index], axis=1) / np.sum(shares[index], axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), len(numbers))


def weights_interval(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    count: int,
    *,
    level: float = LEVEL,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Interval:
    """Interval of any statistic that can be computed from how often each sequence is drawn.

    Args:
        statistic: (K, S) multiplicities of S sequences -> (K,) values.
        count: S.
        level, samples, seed: As in `mean_interval`.
    """
    if not count:
        return Interval(np.nan, np.nan, np.nan, 0)
    value = float(statistic(np.ones((1, count)))[0])
    if count < FEWEST:
        return Interval(value, np.nan, np.nan, count)
    weights = np.stack([np.bincount(row, minlength=count) for row in draws(count, samples, seed)]).astype(np.float64)
    low, high = np.quantile(statistic(weights), [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), count)


def gap_interval(
    first: ArrayLike, second: ArrayLike, *, level: float = LEVEL, samples: int = SAMPLES, seed: int = 0
) -> Interval:
    """Interval of mean(first) - mean(second) for two separate sets of sequences, resampled independently.

    Args:
        first, second: (S,) and (T,) one number per sequence.
        level, samples, seed: As in `mean_interval`.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not len(a) or not len(b):
        return Interval(np.nan, np.nan, np.nan, 0)
    value = float(a.mean() - b.mean())
    if min(len(a), len(b)) < FEWEST:
        return Interval(value, np.nan, np.nan, min(len(a), len(b)))
    gaps = a[draws(len(a), samples, seed)].mean(axis=1) - b[draws(len(b), samples, seed + 1)].mean(axis=1)
    low, high = np.quantile(gaps, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), min(len(a), len(b)))
