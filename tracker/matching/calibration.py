"""From a similarity to a probability, and to a decision at a chosen false-accept rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.errors import ConfigError
from tracker.matching.metrics import threshold_at, verification

RATES = (0.1, 0.03, 0.01, 0.003, 0.001)
"""False-accept rates whose thresholds are stored; others are interpolated on the logarithm of the rate."""


@dataclass(frozen=True)
class Calibration:
    """The meaning of a matcher's similarities.

    Attributes:
        weight, bias: The probability that a pair shows the same object is 1 / (1 + exp(-(weight s + bias))), with equal
            priors for genuine and impostor pairs.
        thresholds: (rate, similarity) pairs by falling rate: a pair with at least this similarity is accepted.
        genuine, impostor: Numbers of pairs it was fitted on; a rate below 1 / impostor can't be estimated from them.
        eer: Equal error rate on these pairs.
        on: The pairs: "kept" (identities held out from training) or "trained" (then it is optimistic).
    """

    weight: float
    bias: float
    thresholds: tuple[tuple[float, float], ...]
    genuine: int
    impostor: int
    eer: float
    on: str = "kept"

    def probability(self, similarity: ArrayLike) -> NDArray[np.float64]:
        """The probability that a pair shows the same object, for arrays of any shape."""
        z = self.weight * np.asarray(similarity, np.float64) + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(z, -60, 60))))

    def threshold(self, rate: float) -> float:
        """The least similarity of accepted pairs at a false-accept rate.

        Raises:
            ConfigError: The rate is outside (0, 0.5], or too small for the number of calibration pairs.
        """
        if not 0 < rate <= 0.5:
            raise ConfigError(
                f"The false-accept rate is {rate:g}; it must be above 0 and at most 0.5, for example 0.01."
            )
        known = [(r, s) for r, s in self.thresholds if r * self.impostor >= 1]
        if not known or rate < known[-1][0] * 0.999:
            least = known[-1][0] if known else 1 / max(self.impostor, 1)
            raise ConfigError(
                f"A false-accept rate of {rate:g} can't be estimated from {self.impostor} impostor pairs; "
                f"ask for at least {least:g}, or calibrate on more."
            )
        logs = np.log([r for r, _ in known])[::-1]
        return float(np.interp(math.log(rate), logs, [s for _, s in known][::-1]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file's header."""
        return {**asdict(self), "thresholds": [list(pair) for pair in self.thresholds]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: Something is missing or no finite number.
        """
        try:
            pairs = tuple((float(r), float(s)) for r, s in values["thresholds"])
            out = cls(
                float(values["weight"]),
                float(values["bias"]),
                pairs,
                int(values["genuine"]),
                int(values["impostor"]),
                float(values["eer"]),
                str(values.get("on", "kept")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"The calibration in the file can't be read ({error!r}); make the file again.") from None
        if not all(map(math.isfinite, (out.weight, out.bias, out.eer, *(v for pair in pairs for v in pair)))):
            raise ConfigError("The calibration in the file holds numbers that are not finite; make the file again.")
        return out


def calibrate(similarity: ArrayLike, same: ArrayLike, on: str = "kept") -> Calibration:
    """Fits probability and thresholds to labelled pairs.

    Logistic regression on one variable by Newton's method, with equal weight for both kinds of pairs, and the smoothed
    targets of Platt 1999 so that the fit stays finite for perfectly separated pairs.

    Args:
        similarity: (N,) of pairs.
        same: (N,) whether each pair is genuine.
        on: Name of the set of pairs, as in `Calibration`.

    Raises:
        ConfigError: Fewer than two of a kind.
    """
    s, y = np.asarray(similarity, np.float64), np.asarray(same, bool)
    genuine, impostor = int(y.sum()), int((~y).sum())
    if genuine < 2 or impostor < 2:
        raise ConfigError(
            f"A calibration needs pairs of both kinds; there are {genuine} genuine and {impostor} impostor pairs."
        )
    target = np.where(y, (genuine + 1) / (genuine + 2), 1 / (impostor + 2))
    w = np.where(y, 0.5 / genuine, 0.5 / impostor)
    mean, scale = float(s.mean()), float(s.std()) or 1.0
    x = np.stack([(s - mean) / scale, np.ones_like(s)], axis=1)
    beta = np.array([1.0, 0.0])
    for _ in range(60):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -40, 40)))
        gradient = x.T @ (w * (p - target)) + 1e-6 * beta
        hessian = (x * (w * p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta = beta - step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    weight = float(beta[0] / scale)
    result = verification(s, y)
    levels = tuple((rate, threshold_at(s[~y], rate)) for rate in RATES)
    finite = tuple((rate, cut) for rate, cut in levels if math.isfinite(cut))
    return Calibration(weight, float(beta[1]) - weight * mean, finite, genuine, impostor, result.eer, on)
