"""Focal losses on the response map: with labelled cells, and with a Gaussian as the target."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.base import CellCriterion, Criterion, register
from tracker.training.losses.labels import NEGATIVE, POSITIVE, LabelRule, label_map, response_grid


@register("focal")
class Focal(CellCriterion):
    """-alpha_t (1 - p_t)^gamma log p_t, summed over cells, divided by the number of target cells in the batch (Lin et
    al. 2017, "Focal Loss for Dense Object Detection", equation 5; section 4.1 for the division).

    Args:
        alpha: Weight of target cells in (0, 1); background cells have 1 - alpha.
        gamma: Down-weighting of easy cells; 0 is cross entropy.
        negative_pair_weight: Weight of a pair without target.
        cells: See `CellCriterion`.
    """

    def __init__(
        self, alpha: float = 0.25, gamma: float = 2.0, negative_pair_weight: float = 1.0, **cells: Any
    ) -> None:
        super().__init__(**cells)
        if not 0 < alpha < 1 or gamma < 0:
            raise ConfigError(
                f"The focal loss has alpha={alpha:g}, gamma={gamma:g}; alpha must be in (0, 1), gamma at least 0."
            )
        self.alpha, self.gamma, self.negative_pair_weight = alpha, gamma, negative_pair_weight

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        labels = label_map(response_grid(output), batch.box, batch.positive, self.rule)
        score = output.score[:, 0]
        p = torch.sigmoid(score)
        target = self.alpha * (1 - p) ** self.gamma * F.softplus(-score)
        ground = (1 - self.alpha) * p**self.gamma * F.softplus(score)
        cells = torch.where(
            labels == POSITIVE, target, torch.where(labels == NEGATIVE, ground, torch.zeros_like(ground))
        )
        values = cells.flatten(1).sum(1)
        values = torch.where(batch.positive, values, values * self.negative_pair_weight)
        return values, (labels == POSITIVE).flatten(1).sum(1).to(values.dtype)


@register("gaussian-focal")
class GaussianFocal(Criterion):
    """Focal loss against a Gaussian bump around the centre: -(1 - p)^a log p at the peak, -(1 - y)^b p^a log(1 - p)
    elsewhere, divided by the number of peaks (Law and Deng 2018, "CornerNet", equation 1, with centres for corners).

    Args:
        alpha: The exponent a, CornerNet's 2.
        beta: The exponent b, CornerNet's 4: reduces the penalty of cells near the centre.
        sigma: Standard deviation of the Gaussian as a fraction of the target's width and height, at least half a
            stride.
        negative_pair_weight: Weight of a pair without target, whose y is 0 everywhere.
        reduction: See `Criterion`.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 4.0,
        sigma: float = 1 / 6,
        negative_pair_weight: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        if alpha < 0 or beta < 0 or sigma <= 0:
            raise ConfigError(
                f"gaussian-focal has alpha={alpha:g}, beta={beta:g}, sigma={sigma:g}; none may be negative, sigma "
                "not 0."
            )
        self.alpha, self.beta, self.sigma, self.negative_pair_weight = alpha, beta, sigma, negative_pair_weight

    def target(self, output: Match, batch: PairBatch) -> Tensor:
        """(B, H, W) in [0, 1]: 1 in the cell nearest to the target's centre, 0 in negative pairs."""
        grid = response_grid(output)
        box = batch.box.to(grid.xs.dtype)
        centre, size = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
        sigma = (self.sigma * size).clamp(min=grid.stride / 2)
        dx = (grid.xs[None, None, :] - centre[:, 0, None, None]) / sigma[:, 0, None, None]
        dy = (grid.ys[None, :, None] - centre[:, 1, None, None]) / sigma[:, 1, None, None]
        bump = torch.exp(-(dx.square() + dy.square()) / 2)
        # A radius far below the stride selects only the nearest cell: the peak.
        peak = label_map(grid, box, batch.positive, LabelRule(radius=1e-6)) == POSITIVE
        bump = torch.where(peak, torch.ones_like(bump), bump.clamp(max=1 - 1e-6))
        return torch.where(batch.positive[:, None, None], bump, torch.zeros_like(bump))

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        y = self.target(output, batch)
        score = output.score[:, 0]
        p = torch.sigmoid(score)
        peak = y == 1
        at_peak = (1 - p) ** self.alpha * F.softplus(-score)
        elsewhere = (1 - y) ** self.beta * p**self.alpha * F.softplus(score)
        values = torch.where(peak, at_peak, elsewhere).flatten(1).sum(1)
        values = torch.where(batch.positive, values, values * self.negative_pair_weight)
        return values, peak.flatten(1).sum(1).to(values.dtype)
