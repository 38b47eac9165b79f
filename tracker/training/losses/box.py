"""Losses on the boxes of an anchor-free head: IoU, generalised IoU, L1. Only target cells of genuine pairs count."""

from __future__ import annotations

import torch
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.base import Criterion, register
from tracker.training.losses.labels import POSITIVE, LabelRule, label_map, masked_mean, response_grid


def box_iou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap of boxes, elementwise and differentiable.

    Args:
        a, b: (..., 4) left, top, right, bottom; shapes broadcast. Negative sides count as 0.

    Returns:
        IoU in [0, 1] and generalised IoU in [-1, 1] (Rezatofighi et al. 2019, algorithm 1), each (...).
    """
    tiny = torch.finfo(a.dtype).eps
    area_a = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    inter = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = area_a + area_b - inter
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    iou = inter / union.clamp(min=tiny)
    return iou, iou - (hull - union) / hull.clamp(min=tiny)


class BoxCriterion(Criterion):
    """The mean of a loss over the target cells of each genuine pair, then over these pairs.

    Args:
        inside: Fraction of the target's sides within which a cell must predict the box (FCOS's centre sampling).
        reduction: See `Criterion`.
    """

    def __init__(self, inside: float = 0.6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.rule = LabelRule(inside=inside)

    def cell_loss(self, boxes: Tensor, truth: Tensor) -> Tensor:
        """(B, H, W) from predicted (B, H, W, 4) and true (B, 1, 1, 4) boxes."""
        raise TypeError(f"{type(self).__name__} does not say its loss of a cell")

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        if output.boxes is None:
            raise ConfigError(
                f"The loss {type(self).__name__} needs boxes and this model gives none; use head: boxes, or drop it."
            )
        labels = label_map(response_grid(output), batch.box, batch.positive, self.rule)
        target = labels == POSITIVE
        truth = batch.box.to(output.boxes.dtype)[:, None, None, :]
        values = masked_mean(self.cell_loss(output.boxes.permute(0, 2, 3, 1), truth), target)
        return values, target.flatten(1).any(1).to(values.dtype)


@register("iou")
class IoULoss(BoxCriterion):
    """1 - IoU (Yu et al. 2016, "UnitBox", in the linear form of Rezatofighi et al. 2019)."""

    def cell_loss(self, boxes: Tensor, truth: Tensor) -> Tensor:
        return 1 - box_iou(boxes, truth)[0]


@register("giou")
class GIoULoss(BoxCriterion):
    """1 - GIoU, which has a gradient where boxes don't touch (Rezatofighi et al.

    2019, "Generalized Intersection over Union").
    """

    def cell_loss(self, boxes: Tensor, truth: Tensor) -> Tensor:
        return 1 - box_iou(boxes, truth)[1]


@register("box-l1")
class BoxL1(BoxCriterion):
    """Mean absolute error of the four sides, in units of the target's side sqrt(w h)."""

    def cell_loss(self, boxes: Tensor, truth: Tensor) -> Tensor:
        side = (truth[..., 2:] - truth[..., :2]).clamp(min=1).prod(-1).sqrt()
        return (boxes - truth).abs().mean(-1) / side
