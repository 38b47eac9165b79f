"""The loss of SiamFC on the response map: balanced logistic loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.base import CellCriterion, register
from tracker.training.losses.labels import NEGATIVE, POSITIVE, label_map, masked_mean, response_grid
from tracker.training.losses.mining import hardest


@register("logistic")
class BalancedLogistic(CellCriterion):
    """log(1 + exp(-y v)) on every cell, with a total weight of one half for target cells and for background cells
    (Bertinetto et al. 2016, "Fully-Convolutional Siamese Networks for Object Tracking", equations 1 and 5, labels by
    distance from the true centre).

    Args:
        hard_share: Fraction in (0, 1] of each map's background cells that count: the hardest ones.
        negative_pair_weight: Weight of a pair without target; its map has background cells only.
        cells: See `CellCriterion`.
    """

    def __init__(self, hard_share: float = 1.0, negative_pair_weight: float = 1.0, **cells: Any) -> None:
        super().__init__(**cells)
        self.hard_share = check_share(hard_share)
        self.negative_pair_weight = negative_pair_weight

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        labels = label_map(response_grid(output), batch.box, batch.positive, self.rule)
        score = output.score[:, 0]
        ground = F.softplus(score)
        negative = labels == NEGATIVE
        if self.hard_share < 1:
            negative = hardest(ground.detach(), negative, self.hard_share)
        halves = 0.5 * masked_mean(F.softplus(-score), labels == POSITIVE) + 0.5 * masked_mean(ground, negative)
        values = torch.where(batch.positive, halves, halves * self.negative_pair_weight)
        return values, torch.ones_like(values)


def check_share(value: float) -> float:
    if not 0 < value <= 1:
        raise ConfigError(f"The share of hard cells {value:g} is not in (0, 1]; 1 keeps all.")
    return value
