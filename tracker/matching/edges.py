"""A fixed first layer that sees edges alone: what visible, thermal and depth pictures of a scene have in common."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OrientedGradients(nn.Module):
    """Strength of edges at several orientations, whichever side is the bright one, relative to the edges around.

    The channel features of oriented gradients of Ye et al. 2019 ("Fast and Robust Matching for Multimodal Remote
    Sensing Image Registration"): |cos(t) dx + sin(t) dy| for each orientation t, smoothed, and divided by their
    length over all orientations. A picture and its negative give the same; so does one whose contrast is scaled, as
    far as its edges stand above `floor`.

    Args:
        orientations: How many, evenly over half a turn.
        sigma: Of the Gaussian whose derivatives are taken, pixels.
        floor: Gradient in gray levels a pixel below which an edge counts as noise.
    """

    stride = 2

    def __init__(self, orientations: int = 9, sigma: float = 1.0, floor: float = 1.25) -> None:
        super().__init__()
        self.floor = floor
        radius = max(1, math.ceil(3 * sigma))
        places = torch.arange(-radius, radius + 1, dtype=torch.float32)
        bell = torch.exp(-places.square() / (2 * sigma**2))
        bell = bell / bell.sum()
        slope = -places / sigma**2 * bell
        slope = slope / (slope * -places).sum()  # a ramp of one gray level a pixel gives 1
        dx, dy = bell[:, None] * -slope[None], -slope[:, None] * bell[None]
        turns = torch.arange(orientations, dtype=torch.float32) * math.pi / orientations
        kernel = turns.cos()[:, None, None] * dx + turns.sin()[:, None, None] * dy
        self.register_buffer("kernel", kernel[:, None], persistent=False)
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) gray levels -> (B, orientations, H // 2, W // 2) in [0, 1]."""
        with torch.autocast(x.device.type, enabled=False):  # half precision would round small gradients away
            x = F.pad(x.float(), (self.radius,) * 4, mode="replicate")
            strength = F.avg_pool2d(F.conv2d(x, self.kernel).abs(), 2)  # type: ignore[arg-type]
            smooth = F.avg_pool2d(F.pad(strength, (1, 1, 1, 1), mode="replicate"), 3, 1)
            return strength / (smooth.square().sum(1, keepdim=True).sqrt() + self.floor)
