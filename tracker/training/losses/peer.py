"""Losses towards another tracker's output (`train.data.cache.peer`): its scores over the search, and its box.

They apply only where it is right: its box overlaps the labelled one by at least `agree`. For pairs across samples there
is no output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.base import Criterion, register
from tracker.training.losses.box import box_iou
from tracker.training.losses.labels import POSITIVE, LabelRule, label_map, masked_mean, response_grid


class PeerCriterion(Criterion):
    """A loss towards a peer's output, on pairs where the peer agrees with the label.

    Args:
        agree: Least IoU of its box with the labelled one.
        reduction: See `Criterion`.
    """

    def __init__(self, agree: float = 0.5, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if not 0 <= agree < 1:
            raise ConfigError(f"The loss of a peer has agree={agree:g}; it must be in [0, 1).")
        self.agree = agree

    def believed(self, batch: PairBatch) -> Tensor:
        """(B,) bool: genuine pairs on which the peer agrees with the label."""
        if batch.peer_score is None or batch.peer_box is None:
            raise ConfigError(
                f"The loss {type(self).__name__} needs what a peer says, and the cache holds nothing of one; set "
                "train.data.cache.peer and prepare another cache."
            )
        known = torch.isfinite(batch.peer_box).all(1)
        overlap = box_iou(batch.peer_box.nan_to_num(), batch.box.to(batch.peer_box.dtype))[0]
        return batch.positive & known & (overlap >= self.agree)


@register("peer-score")
class PeerScore(PeerCriterion):
    """T^2 KL(softmax(peer / T) || softmax(score / T)) over the cells of the search that the peer's map covers (Hinton
    et al. 2015, "Distilling the Knowledge in a Neural Network", section 2): it teaches the position of the target, not
    the level of confidence.

    Args:
        temperature: T: the higher, the more weight its lesser peaks have.
        peer: See `PeerCriterion`.
    """

    def __init__(self, temperature: float = 2.0, agree: float = 0.5, reduction: str = "mean") -> None:
        super().__init__(agree, reduction)
        if not temperature > 0:
            raise ConfigError(f"The loss peer-score has temperature={temperature:g}; it must be above 0.")
        self.temperature = temperature

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        believed = self.believed(batch)
        assert batch.peer_score is not None
        said, score = batch.peer_score.to(output.score).flatten(1), output.score.flatten(1)
        if said.shape != score.shape:
            raise ConfigError(
                f"The cache holds scores of a peer for {said.shape[1]} cells, the model has {score.shape[1]}; prepare "
                "another cache with this model."
            )
        covered = torch.isfinite(said)
        said, score = (
            F.log_softmax(torch.where(covered, values.nan_to_num(), -1e4) / self.temperature, 1)
            for values in (said, score)
        )
        values = (said.exp() * (said - score)).sum(1) * self.temperature**2
        values = torch.where(believed, values, torch.zeros_like(values))
        return values, believed.to(values.dtype)


@register("peer-box")
class PeerBox(PeerCriterion):
    """1 - GIoU to the peer's box, the mean over the target cells of each pair (`tracker.training.losses.box`).

    Args:
        inside: Fraction of the labelled target's sides within which a cell must predict the box.
        peer: See `PeerCriterion`.
    """

    def __init__(self, inside: float = 0.5, agree: float = 0.5, reduction: str = "mean") -> None:
        super().__init__(agree, reduction)
        self.rule = LabelRule(inside=inside)

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        if output.boxes is None:
            raise ConfigError("The loss peer-box needs boxes and this model gives none; use head: boxes, or drop it.")
        believed = self.believed(batch)
        assert batch.peer_box is not None
        target = label_map(response_grid(output), batch.box, believed, self.rule) == POSITIVE
        said = batch.peer_box.nan_to_num().to(output.boxes.dtype)[:, None, None, :]
        values = masked_mean(1 - box_iou(output.boxes.permute(0, 2, 3, 1), said)[1], target)
        return values, target.flatten(1).any(1).to(values.dtype)
