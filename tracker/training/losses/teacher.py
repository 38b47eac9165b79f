"""A trained model as a teacher: its embedding of the places where another model's cells lie."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tracker.errors import ConfigError, WeightsError
from tracker.model.backbones import build_backbone
from tracker.model.checkpoint import load_model
from tracker.training.losses.labels import Grid

FINE = 0.6
"""How much the fine channels of a teacher that has them count beside the others: they say where, the others what."""


class Teacher:
    """A model that is not trained further.

    Args:
        name: A shipped model or a checkpoint, of a padded backbone.

    Attributes:
        channels: D, the length of what it teaches of a place.

    Raises:
        ConfigError: It can't be used.
    """

    def __init__(self, name: str) -> None:
        try:
            self.model = load_model(name).module
        except WeightsError as error:
            raise ConfigError(f"The teacher {name!r} can't be used: {error}") from None
        if not self.model.backbone.padded:
            raise ConfigError(
                f"The teacher {name!r} has a backbone without padding; take one with it, such as siamtrack-s."
            )
        self.name = name
        self.channels = self.model.channels + self.model.fine // 4

    @torch.no_grad()
    def targets(self, search: Tensor, grid: Grid) -> Tensor:
        """(B, D, H, W) embedding, of unit length, of the places of a grid.

        Args:
            search: (B, 3, m, m) BGR 0..255.
            grid: In pixels of the search.
        """
        self.model.to(device=search.device)
        y = self.model.embed(search)
        channels, stride = self.model.channels, self.model.stride
        values = F.normalize(_sampled(y[:, :channels], grid, stride), dim=1)
        if not self.model.fine:
            return values
        fine = F.normalize(_sampled(F.pixel_shuffle(y[:, channels:], 2), grid, stride / 2), dim=1)
        return F.normalize(torch.cat([values, FINE * fine], dim=1), dim=1)


def embedding_grid(backbone: str, search_size: int) -> Grid:
    """Where the cells of a backbone's embedding of a search lie: around its centre, a stride apart.

    Args:
        backbone: Its name.
        search_size: Pixels.
    """
    network = build_backbone(backbone).eval()
    with torch.no_grad():
        cells = network(torch.zeros(1, 3, search_size, search_size)).shape[-1]
    places = search_size / 2 + network.stride * (torch.arange(cells) - (cells - 1) / 2)
    return Grid(places, places, float(network.stride))


def _sampled(features: Tensor, grid: Grid, stride: float) -> Tensor:
    """(B, C, h, w) features, cell i at pixel stride * i + 0.5, at the places of a grid: (B, C, H, W), bilinear."""
    down = _between(grid.ys, stride, features.shape[-2]).to(features)
    across = _between(grid.xs, stride, features.shape[-1]).to(features)
    return down @ features @ across.T


def _between(pixels: Tensor, stride: float, cells: int) -> Tensor:
    """(N, cells) weights of the two cells around each pixel; outside, the last cell's."""
    place = ((pixels - 0.5) / stride).clamp(0, cells - 1)
    return (1 - (place[:, None] - torch.arange(cells, device=pixels.device)).abs()).clamp(min=0)
