"""Metric losses: contrastive, triplet, angular, circle. `metric_samples.py` describes what they compare.

A template without any positive candidate (a negative pair) has no term in the losses that rank a positive above a
negative (triplet, angular, circle); the contrastive loss pushes its candidates away.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.base import CellCriterion, register
from tracker.training.losses.labels import NEGATIVE, masked_mean
from tracker.training.losses.metric_samples import check_mode, embedding_vectors, metric_samples
from tracker.training.losses.mining import hardest

TRIPLETS = ("semi-hard", "hardest", "all")


class MetricCriterion(CellCriterion):
    """A loss on candidates.

    Args:
        compare: energy (the response map) or embedding (vectors of template and search).
        cells: See `CellCriterion`.
    """

    def __init__(self, compare: str = "energy", **cells: Any) -> None:
        super().__init__(**cells)
        self.compare = check_mode(compare)


@register("contrastive")
class Contrastive(MetricCriterion):
    """y d^2 / 2 + (1 - y) max(0, margin - d)^2 / 2, means over positives and over negatives of each template added
    (Hadsell, Chopra and LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping", equation 4).

    Args:
        margin: Distance beyond which negatives don't contribute.
        hard_share: Fraction in (0, 1] of each template's negatives that count: the nearest.
        candidates: See `MetricCriterion`.
    """

    def __init__(self, margin: float = 1.0, hard_share: float = 1.0, **candidates: Any) -> None:
        super().__init__(**candidates)
        if margin <= 0 or not 0 < hard_share <= 1:
            raise ConfigError(
                f"contrastive has margin={margin:g}, hard_share={hard_share:g}; margin is above 0, the share in (0, 1]."
            )
        self.margin, self.hard_share = margin, hard_share

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        c = metric_samples(output, batch, self.compare, self.rule)
        pull = c.distance.square() / 2
        push = (self.margin - c.distance).clamp(min=0).square() / 2
        negative = hardest(-c.distance.detach(), c.negative, self.hard_share) if self.hard_share < 1 else c.negative
        values = masked_mean(pull, c.positive) + masked_mean(push, negative)
        return values, torch.ones_like(values)


@register("triplet")
class Triplet(MetricCriterion):
    """max(0, d(a, p) - d(a, n) + margin), or its smooth form log(1 + exp(d(a, p) - d(a, n))).

    Schroff et al. 2015, "FaceNet", equation 1 (squared distances) and section 3.2 for semi-hard negatives: the nearest
    of those farther than the positive; if there are none, the farthest of the nearer ones. Hermans et al. 2017, "In
    Defense of the Triplet Loss", equation 5 for the hardest positive against the hardest negative, section 3.2 for the
    smooth form.

    Args:
        mining: semi-hard, hardest, or all (mean positive distance against every negative).
        margin: The margin; 0 selects the smooth form.
        squared: Whether distances are squared first.
        candidates: See `MetricCriterion`. The distance on the energy is
            softplus(-logit).
    """

    def __init__(
        self, mining: str = "semi-hard", margin: float = 0.3, squared: bool = False, **candidates: Any
    ) -> None:
        super().__init__(**candidates)
        if mining not in TRIPLETS:
            raise ConfigError(f"The triplet mining {mining!r} is unknown; there are {', '.join(TRIPLETS)}.")
        if margin < 0:
            raise ConfigError(f"The triplet margin {margin:g} is negative; give a distance, or 0 for the smooth form.")
        self.mining, self.margin, self.squared = mining, margin, squared

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        c = metric_samples(output, batch, self.compare, self.rule)
        d = c.distance.square() if self.squared else c.distance
        complete = c.positive.any(1) & c.negative.any(1)
        infinity = torch.full_like(d, torch.inf)
        if self.mining == "hardest":
            far = torch.where(c.positive, d, -infinity).amax(1)
            near = torch.where(c.negative, d, infinity).amin(1)
            values = self._rank(
                torch.where(complete, far, torch.zeros_like(far)), torch.where(complete, near, torch.zeros_like(near))
            )
        elif self.mining == "all":
            values = masked_mean(self._rank(masked_mean(d, c.positive)[:, None], d), c.negative)
        else:
            values = masked_mean(self._rank(d, self._semi_hard(d, c.negative)), c.positive & complete[:, None])
        return torch.where(complete, values, torch.zeros_like(values)), complete.to(d.dtype)

    def _rank(self, positive: Tensor, negative: Tensor) -> Tensor:
        return F.softplus(positive - negative) if self.margin == 0 else (positive - negative + self.margin).clamp(min=0)

    @staticmethod
    def _semi_hard(d: Tensor, negative: Tensor) -> Tensor:
        """(B, N): for each candidate taken as the positive, the distance of its semi-hard negative."""
        order = torch.where(negative, d, torch.full_like(d, torch.inf)).detach().argsort(1)
        ranked = d.gather(1, order)
        count = negative.sum(1, keepdim=True)
        limits = torch.where(
            torch.arange(d.shape[1], device=d.device)[None] < count, ranked.detach(), torch.full_like(d, torch.inf)
        )
        place = torch.searchsorted(limits.contiguous(), d.detach().contiguous(), right=True)
        return ranked.gather(1, torch.minimum(place, (count - 1).clamp(min=0)))


@register("angular")
class Angular(CellCriterion):
    """log(1 + sum over n of exp(4 tan^2(angle) (a + p)'n - 2 (1 + tan^2(angle)) a'p)) on unit vectors (Wang et al.
    2017, "Deep Metric Learning with Angular Loss", equation 8): a the template, p its target in the search, n ground
    cells of the search and targets of other tracks.

    Args:
        angle: Upper bound of the angle at the negative, degrees in (0, 90); the paper takes 36 to 55.
        hard_share: Fraction in (0, 1] of each template's negatives that count: the largest terms.
        cells: See `CellCriterion`.
    """

    def __init__(self, angle: float = 45.0, hard_share: float = 1.0, **cells: Any) -> None:
        super().__init__(**cells)
        if not 0 < angle < 90 or not 0 < hard_share <= 1:
            raise ConfigError(
                f"angular has angle={angle:g}, hard_share={hard_share:g}; the angle is in (0, 90) degrees, the share "
                "in (0, 1]."
            )
        self.hard_share = hard_share
        self.tan2 = math.tan(math.radians(angle)) ** 2

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        v = embedding_vectors(output, batch, self.rule)
        both = v.anchor + v.target
        dots = torch.cat([torch.einsum("bc,bnc->bn", both, v.cells), both @ v.others.t()], dim=1)
        negative = torch.cat([v.cell_label, v.other_label], dim=1) == NEGATIVE
        f = 4 * self.tan2 * dots - 2 * (1 + self.tan2) * (v.anchor * v.target).sum(1, keepdim=True)
        if self.hard_share < 1:
            negative = hardest(f.detach(), negative, self.hard_share)
        complete = batch.positive & negative.any(1)
        values = F.softplus(_log_sum_exp(f, negative & complete[:, None]))
        return torch.where(complete, values, torch.zeros_like(values)), complete.to(f.dtype)


@register("circle")
class Circle(MetricCriterion):
    """log(1 + sum over n exp(g a_n (s_n - m)) sum over p exp(-g a_p (s_p - 1 + m))), a_n = max(0, s_n + m), a_p =
    max(0, 1 + m
    - s_p) without gradient (Sun et al. 2020, "Circle Loss", equations 6 and 8).

    Args:
        margin: m, the relaxation.
        gamma: g, the scale.
        candidates: See `MetricCriterion`.
    """

    def __init__(self, margin: float = 0.25, gamma: float = 64.0, **candidates: Any) -> None:
        super().__init__(**candidates)
        if gamma <= 0:
            raise ConfigError(f"The circle loss has gamma={gamma:g}; it must be above 0.")
        self.margin, self.gamma = margin, gamma

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        c = metric_samples(output, batch, self.compare, self.rule)
        s = c.similarity
        pull = (1 + self.margin - s).clamp(min=0).detach()
        push = (s + self.margin).clamp(min=0).detach()
        complete = c.positive.any(1) & c.negative.any(1)
        near = _log_sum_exp(-self.gamma * pull * (s - 1 + self.margin), c.positive & complete[:, None])
        far = _log_sum_exp(self.gamma * push * (s - self.margin), c.negative & complete[:, None])
        values = F.softplus(near + far)
        return torch.where(complete, values, torch.zeros_like(values)), complete.to(s.dtype)


def _log_sum_exp(values: Tensor, mask: Tensor) -> Tensor:
    """(B,) log of the sum of exp over the True cells; a large negative number if there is none (no NaN in the
    gradient)."""
    return torch.where(mask, values, torch.full_like(values, -1e4)).logsumexp(1)
