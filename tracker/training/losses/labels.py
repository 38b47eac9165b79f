"""Labels of cells: positions of cells, label maps, pooling over cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training.data.batch import Match

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


@dataclass(frozen=True)
class Grid:
    """Centres of the cells of a map in pixels of the search crop.

    Attributes:
        xs: (W,) horizontal centres.
        ys: (H,) vertical centres.
        stride: Pixels between neighbours.
    """

    xs: Tensor
    ys: Tensor
    stride: float


@dataclass(frozen=True)
class LabelRule:
    """Distance from the target's centre up to which a cell is positive.

    Attributes:
        radius: Pixels of the search crop; a cell whose centre lies within this distance is positive (SiamFC, section
            2.2:
            16 px). Used where `inside` is None.
        inside: Fraction of the target's width and height in (0, 1]: cells in the box shrunk by it are positive, cells
            between it and the full box are ignored (the rule of anchor-free heads, FCOS).
        ignore: Pixels; cells within radius + ignore, but outside radius, are neither positive nor negative.
    """

    radius: float = 16.0
    inside: float | None = None
    ignore: float = 0.0

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ConfigError(
                f"The label radius {self.radius:g} is not above 0; give the pixels around the centre that count as "
                "target."
            )
        if self.inside is not None and not 0 < self.inside <= 1:
            raise ConfigError(
                f"The label share inside={self.inside:g} is not in (0, 1]; 1 means the whole box, 0.5 its central half."
            )
        if self.ignore < 0:
            raise ConfigError(f"The ignored ring of {self.ignore:g} px is negative; 0 turns it off.")


def response_grid(output: Match) -> Grid:
    """The positions of the cells of the response map."""
    height, width = output.score.shape[-2:]
    return _grid(output, height, width, output.offset)


def search_grid(output: Match) -> Grid:
    """The positions of the cells of the search embedding.

    A correlation without padding makes the response smaller than the embedding by the same margin on either side.
    """
    height, width = output.search.shape[-2:]
    margin = (width - output.score.shape[-1]) / 2
    return _grid(output, height, width, output.offset - output.stride * margin)


def _grid(output: Match, height: int, width: int, offset: float) -> Grid:
    dtype = torch.float64 if output.score.dtype == torch.float64 else torch.float32
    xs = offset + output.stride * torch.arange(width, device=output.score.device, dtype=dtype)
    ys = offset + output.stride * torch.arange(height, device=output.score.device, dtype=dtype)
    return Grid(xs, ys, float(output.stride))


def label_map(grid: Grid, box: Tensor, positive: Tensor, rule: LabelRule) -> Tensor:
    """The label of every cell.

    Args:
        grid: Cell centres.
        box: (B, 4) left, top, right, bottom of the target in pixels of the search crop.
        positive: (B,) bool; a negative pair has no positive cell.
        rule: The labelling rule.

    Returns:
        (B, H, W) int8: 1 target, 0 background, -1 ignored. A genuine pair whose target is smaller than the cell spacing
        still gets its nearest cell, if that cell lies within one stride of the centre.
    """
    box = box.to(grid.xs.dtype)
    centre, size = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
    dx = (grid.xs[None, None, :] - centre[:, 0, None, None]).abs()
    dy = (grid.ys[None, :, None] - centre[:, 1, None, None]).abs()
    if rule.inside is None:
        distance = (dx.square() + dy.square()).sqrt()
        inner, outer = distance <= rule.radius, distance <= rule.radius + rule.ignore
    else:
        half_w, half_h = size[:, 0, None, None] / 2, size[:, 1, None, None] / 2
        inner = (dx <= half_w * rule.inside) & (dy <= half_h * rule.inside)
        outer = (dx <= half_w + rule.ignore) & (dy <= half_h + rule.ignore)
    near = (dx.square() + dy.square()).flatten(1)
    nearest = torch.zeros_like(near, dtype=torch.bool).scatter_(1, near.argmin(1, keepdim=True), True).view_as(inner)
    nearest &= (dx <= grid.stride) & (dy <= grid.stride) & ~inner.flatten(1).any(1)[:, None, None]
    inner = inner | nearest
    genuine = positive[:, None, None]
    labels = torch.zeros(inner.shape, dtype=torch.int8, device=inner.device)
    labels[outer & genuine] = IGNORED
    labels[inner & genuine] = POSITIVE
    return labels


def box_mask(grid: Grid, box: Tensor) -> Tensor:
    """(B, H, W) True in the cells of a box (at least its nearest cell), for genuine and negative pairs."""
    rule = LabelRule(inside=1.0)
    mask = label_map(grid, box, torch.ones(len(box), dtype=torch.bool, device=box.device), rule) == POSITIVE
    return mask


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B,) mean of values (B, ...) over the True cells of mask (B, ...); 0 if there is none."""
    flat, keep = values.flatten(1), mask.flatten(1)
    return torch.where(keep, flat, torch.zeros_like(flat)).sum(1) / keep.sum(1).clamp(min=1)


def masked_pool(features: Tensor, mask: Tensor) -> Tensor:
    """(B, C) mean of features (B, C, H, W) over the True cells of mask (B, H, W)."""
    weight = mask.to(features.dtype)
    weight = weight / weight.sum((1, 2), keepdim=True).clamp(min=1)
    return torch.einsum("bchw,bhw->bc", features, weight)


def pool_template(template: Tensor, template_size: Tensor, stride: float) -> Tensor:
    """One vector per template: the mean of its cells on the target.

    Args:
        template: (B, C, th, tw) embedding of a crop whose centre is the target's centre.
        template_size: (B, 2) width, height of the target in pixels of the template crop.
        stride: Pixels between neighbouring cells.

    Returns:
        (B, C), never empty: the central cell (or the central two or four) always belongs to the target.
    """
    height, width = template.shape[-2:]
    half = template_size.to(template.dtype) / 2
    xs = (torch.arange(width, device=template.device, dtype=template.dtype) - (width - 1) / 2) * stride
    ys = (torch.arange(height, device=template.device, dtype=template.dtype) - (height - 1) / 2) * stride
    inside_x = xs.abs()[None] <= half[:, :1].clamp(min=stride / 2)
    inside_y = ys.abs()[None] <= half[:, 1:].clamp(min=stride / 2)
    return masked_pool(template, inside_x[:, None, :] & inside_y[:, :, None])
