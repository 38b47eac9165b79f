"""Heads: from two embeddings to a score for each position and, with a single-pass head, a box for each position."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.model.backbone_specs import USUAL_SIZE
from tracker.model.energies import Energy


class ClassicHead(nn.Module):
    """Scale and bias on the response: SiamFC (Bertinetto et al. 2016, equation 2). Size comes from a scale pyramid."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, response: Tensor) -> Tensor:
        return response * self.scale + self.bias


def coverage(target: Tensor, cells: int, stride: int, size: int) -> Tensor:
    """The fraction of each template cell that the centred target covers.

    Args:
        target: (B, 2) width and height of the target in template-crop pixels.
        cells: Cells along one side of the template's embedding.
        stride: Crop pixels for one cell.
        size: Side of the template crop in pixels.

    Returns:
        (B, 1, cells, cells) in [0, 1]; the central cell always has a small minimum, so that the sum is never 0.
    """
    steps = (torch.arange(cells, device=target.device, dtype=target.dtype) - (cells - 1) / 2) * stride
    half = target[:, :, None].clamp(min=2.0, max=float(size)) / 2  # (B, 2, 1)
    low = torch.maximum(steps - stride / 2, -half)
    high = torch.minimum(steps + stride / 2, half)
    share = ((high - low) / stride).clamp(0, 1)  # (B, 2, cells)
    return (share[:, 1, :, None] * share[:, 0, None, :])[:, None]


def target_size(weight: Tensor) -> Tensor:
    """(B, 1, n, n) `coverage` of a template -> (B, 2) width and height of the target in cells, between 1 and n.

    A size below one cell is returned as one: the coverage of the middle cell alone doesn't tell which side is short.
    """
    middle = weight.shape[-1] // 2
    centre = weight[:, :, middle, middle]
    return torch.cat([weight[:, :, middle].sum(-1), weight[:, :, :, middle].sum(-1)], dim=1) / centre


class OnePassHead(nn.Module, ABC):
    """Base of the heads that predict a box for each cell: the response, and the branches of score and boxes.

    Attributes:
        relative: Whether the predicted sides are factors of those of the target in the template.
    """

    shift: Tensor

    def __init__(self, channels: int, cells: int, scale: float, stride: int, fine: int, relative: bool) -> None:
        super().__init__()
        self.channels, self.fine, self.relative = channels, fine, relative
        self.cells, self.stride = cells, stride
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.bias = nn.Parameter(torch.tensor(-float(scale) * 0.6))

    @abstractmethod
    def forward(self, z: Tensor, weight: Tensor, x: Tensor, energy: Energy) -> tuple[Tensor, Tensor]:
        """Scores and box distances.

        Args:
            z: (B, C + F, n, n) template embedding.
            weight: (B, 1, n, n) fraction of each template cell that the target covers.
            x: (B, C + F, H, W) search embedding.
            energy: How cells are compared.

        Returns:
            (B, 1, H, W) score logits and (B, 4, H, W) distances left, top, right, bottom in search-crop pixels.
        """

    def _add_branches(self, width: int, layers: int) -> None:
        """Adds the branches after a head's own layers, so that their initial weights depend on the seed alone."""
        self.shared = nn.Sequential(*[_layer(width) for _ in range(layers)])
        self.score = nn.Sequential(_layer(width), nn.Conv2d(width, 1, 1))
        self.boxes = nn.Sequential(_layer(width), nn.Conv2d(width, 4, 1))
        # The initial score is the response alone; the initial box is as large as half a template, or as the target in
        # it.
        for last, bias in (
            (self.score[-1], 0.0),
            (self.boxes[-1], 0.0 if self.relative else float(torch.log(torch.tensor(2.0)))),
        ):
            assert isinstance(last, nn.Conv2d) and last.bias is not None
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, bias)
        # One-hot kernels: the map of template cell k, shifted to the position of the target's centre.
        side = self.cells * self.cells
        shift = torch.zeros(side, 1, self.cells, self.cells)
        for k in range(side):
            shift[k, 0, k // self.cells, k % self.cells] = 1.0
        self.register_buffer("shift", shift, persistent=False)

    def _aligned(self, similar: Tensor) -> Tensor:
        """(B, n*n, H, W) of `Energy.cells` -> the same, each cell's map shifted to where the target's centre would
        be."""
        return F.conv2d(similar, self.shift, padding=self.cells // 2, groups=self.cells * self.cells)

    def _outputs(self, y: Tensor, response: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and distances from (B, width, H, W), the response and the target's size in cells (B, 2)."""
        y = self.shared(y)
        score = self.score(y) + response * self.scale + self.bias
        sides = torch.exp(self.boxes(y).clamp(-6, 4)) * self.stride
        return score, sides * (size / 2).repeat(1, 2)[:, :, None, None] if self.relative else sides


class BoxHead(OnePassHead):
    """Anchor-free and single-pass: the response, refined, and for each cell the distances to the four sides of the box.

    Its inputs are comparisons, so that little has to be learnt about the appearance of objects:
      - the windowed response of the target alone (it starts as the score itself; training refines it),
      - every template cell against every search cell, as it stands and shifted to where the target's centre would be,
      - the best match among the target's cells and among the cells around it (after D3S, Lukezic et al. 2020, section
        3.1),
      - the search embedding times the target's mean embedding (depth-wise correlation, Li et al. 2019), and itself,
      - the same two of the fine channels, where the backbone has them,
      - width and height of the target in the template (`relative`), as logarithms: people draw boxes in many ways.
    The box distances are exp(.) as in FCOS (Tian et al. 2019, section 3.1).
    """

    def __init__(
        self,
        channels: int,
        cells: int,
        width: int,
        layers: int,
        scale: float,
        stride: int,
        fine: int = 0,
        relative: bool = False,
    ) -> None:
        super().__init__(channels, cells, scale, stride, fine, relative)
        self.mix = nn.Conv2d(2 * (channels + fine) + 2 * cells * cells + 3 + 2 * relative, width, 1, bias=False)
        self.mix_bn = nn.BatchNorm2d(width)
        self._add_branches(width, layers)

    def forward(self, z: Tensor, weight: Tensor, x: Tensor, energy: Energy) -> tuple[Tensor, Tensor]:
        """See `OnePassHead.forward`."""
        (z, z_fine), (x, x_fine) = z.split([self.channels, self.fine], 1), x.split([self.channels, self.fine], 1)
        similar = energy.cells(z, x)  # (B, n*n, H, W)
        aligned = self._aligned(similar)
        w = weight.flatten(2).transpose(1, 2)[..., None]  # (B, n*n, 1, 1)
        response = (aligned * w).sum(1, keepdim=True) / w.sum(1, keepdim=True)
        inside = (similar - (1 - w) * 4).amax(1, keepdim=True)
        around = (similar - w * 4).amax(1, keepdim=True)
        mean = (z * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)
        x_hat = F.normalize(x, dim=1)
        match = x_hat * F.normalize(mean, dim=1) * float(x.shape[1] ** 0.5)
        parts = [match, x_hat * float(x.shape[1] ** 0.5) * 0.3, similar, aligned, response, inside, around]
        if self.fine:
            like = (z_fine * weight).sum((2, 3), keepdim=True)
            gain = float((self.fine / 4) ** 0.5)  # each of the four cells has unit length
            parts += [x_fine * F.normalize(like, dim=1) * gain * 2.0, x_fine * gain * 0.3]
        size = target_size(weight)
        if self.relative:
            parts.append(torch.log(size / USUAL_SIZE)[:, :, None, None].expand(-1, -1, *x.shape[2:]))
        y = torch.cat(parts, dim=1)
        return self._outputs(F.relu(self.mix_bn(self.mix(y))), response, size)


def _layer(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )
