"""The head "attention": cross-attention from search cells to template cells, between the Siamese embedding and the
branches of the head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.model.backbone_specs import USUAL_SIZE
from tracker.model.energies import Energy
from tracker.model.heads import OnePassHead, target_size


class CrossAttention(nn.Module):
    """One layer: search cells are the queries, template cells the keys and values, followed by two 1x1 layers for each
    cell.

    Multi-head attention of Vaswani et al. 2017 (section 3.2) as in the cross-feature augment of TransT (Chen et al.,
    CVPR 2021, section 3.2). BatchNorm replaces LayerNorm: after training it is a scale and a shift per channel.

    Args:
        width: Channels of a cell.
        heads: Number of attention heads; a divisor of `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.value, self.join = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.wide, self.narrow = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(2 * width, width, 1)
        self.first_bn, self.second_bn = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """(B, D, H, W) search cells, (B, D, n, n) template cells -> (B, D, H, W)."""
        query, key, value = (self._split(part) for part in (self.query(x), self.key(z), self.value(z)))
        attention = torch.softmax(query @ key.transpose(2, 3) * key.shape[-1] ** -0.5, dim=-1)  # (B, heads, H*W, n*n)
        seen = (attention @ value).transpose(2, 3).reshape(x.shape)
        x = self.first_bn(x + self.join(seen))
        return self.second_bn(x + self.narrow(F.relu(self.wide(x))))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, heads, h*w, D / heads)."""
        return x.reshape(x.shape[0], self.heads, -1, x.shape[2] * x.shape[3]).transpose(2, 3)


class AttentionHead(OnePassHead):
    """Anchor-free and single-pass like `BoxHead`, but the comparison is learnt: cross-attention instead of similarity
    maps.

    The cells of both images go through one projection (weights are shared up to here); a template cell also carries its
    position and the fraction of it that the target covers. Search cells carry no position, so that the head stays fully
    convolutional. The branches read the attended cells and the response of the target alone; the initial score is that
    response, as in `BoxHead`.
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
        attention_layers: int = 1,
        attention_heads: int = 4,
    ) -> None:
        super().__init__(channels, cells, scale, stride, fine, relative)
        self.token = nn.Conv2d(channels + fine, width, 1)
        self.place = nn.Parameter(0.5 * torch.randn(1, width, cells, cells))
        self.target = nn.Parameter(0.5 * torch.randn(1, width, 1, 1))
        self.attention = nn.ModuleList(CrossAttention(width, attention_heads) for _ in range(attention_layers))
        self.mix = nn.Conv2d(width + 1 + 2 * relative, width, 1, bias=False)
        self.mix_bn = nn.BatchNorm2d(width)
        self._add_branches(width, layers)

    def forward(self, z: Tensor, weight: Tensor, x: Tensor, energy: Energy) -> tuple[Tensor, Tensor]:
        """See `OnePassHead.forward`."""
        aligned = self._aligned(energy.cells(z[:, : self.channels], x[:, : self.channels]))
        w = weight.flatten(2).transpose(1, 2)[..., None]  # (B, n*n, 1, 1)
        response = (aligned * w).sum(1, keepdim=True) / w.sum(1, keepdim=True)
        z = self._tokens(z) + self.place + self.target * weight
        y = self._tokens(x)
        for layer in self.attention:
            y = layer(y, z)
        parts, size = [y, response], target_size(weight)
        if self.relative:
            parts.append(torch.log(size / USUAL_SIZE)[:, :, None, None].expand(-1, -1, *y.shape[2:]))
        return self._outputs(F.relu(self.mix_bn(self.mix(torch.cat(parts, dim=1)))), response, size)

    def _tokens(self, x: Tensor) -> Tensor:
        """(B, C + F, h, w) -> (B, D, h, w): cells of unit length, projected."""
        parts = [F.normalize(x[:, : self.channels], dim=1) * self.channels**0.5]
        if self.fine:
            parts.append(x[:, self.channels :] * (self.fine / 4) ** 0.5)  # each of the four fine cells has unit length
        return self.token(torch.cat(parts, dim=1))  # type: ignore[no-any-return]
