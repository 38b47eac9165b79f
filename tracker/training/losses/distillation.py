"""Distillation: the embedding of every search cell is trained towards that of a teacher model. This gives hundreds of
terms per image, where a response map has one target, and lets a backbone without ImageNet weights learn from few
images."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from tracker.errors import ConfigError, WeightsError
from tracker.model.backbones import build_backbone
from tracker.model.checkpoint import load_model
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.base import Criterion, register
from tracker.training.losses.labels import Grid, search_grid


@register("distillation")
class Distillation(Criterion):
    """|s - l R t|^2 / l^2, mean over the cells of the search: s the embedding, t the teacher's at the same position, of
    unit length, R a fixed rotation into the embedding's channels (Romero et al. 2015, "FitNets", equation 3, with R as
    the regressor: the rotation preserves inner products, so the teacher's correlation is the student's). 1 for an
    embedding of zeros.

    Args:
        teacher: A shipped model or a checkpoint with a padded backbone. Not used if its embeddings are cached
            (`train.data.cache.teacher`).
        length: l, the length of an embedding: with the energy "dot" it sets the response's scale.
        reduction: See `Criterion`.

    Raises:
        ConfigError: A teacher that can't be used, or one with more channels than the model.
    """

    def __init__(self, teacher: str = "siamtrack-s", length: float = 12.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if not length > 0:
            raise ConfigError(f"The distillation has length={length:g}; it must be above 0.")
        self.name, self.length = teacher, length
        self._rotations: dict[tuple[int, int], Tensor] = {}

    @cached_property
    def teacher(self) -> Teacher:
        """Loaded on first use, since all its embeddings may be cached."""
        return Teacher(self.name)

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        target = batch.distillation_target
        if target is None and batch.start:
            raise ConfigError(
                "The distillation needs pictures, and the cache holds features; set train.data.cache.teacher and "
                "prepare again."
            )
        target = self.teacher.targets(batch.search, search_grid(output)) if target is None else target.to(output.search)
        rotation = self._rotation(output.search.shape[1], target.shape[1]).to(output.search)
        apart = output.search / self.length - torch.einsum("sd,bdhw->bshw", rotation, target)
        values = apart.square().sum(1).mean((1, 2))
        return values, torch.ones_like(values)

    def _rotation(self, channels: int, target: int) -> Tensor:
        """(channels, wanted) with orthonormal columns, the same in every run."""
        if channels < target:
            raise ConfigError(
                f"The teacher gives {target} channels to imitate, the model has {channels}; take another teacher."
            )
        if (channels, target) not in self._rotations:
            noise = torch.randn(channels, channels, generator=torch.Generator().manual_seed(0))
            self._rotations[channels, target] = torch.linalg.qr(noise)[0][:, :target]
        return self._rotations[channels, target]


FINE = 0.6
"""Weight of a teacher's fine channels relative to the others: they carry position, the others identity."""


class Teacher:
    """A model with fixed weights.

    Args:
        name: A shipped model or a checkpoint, of a padded backbone.

    Attributes:
        channels: D, the length of its embedding of a cell.

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
        """(B, D, H, W) embedding, of unit length, at the positions of a grid.

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
    """The positions of the cells of a backbone's embedding of a search: symmetric about its centre, a stride apart.

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
    """(B, C, h, w) features, cell i at pixel stride * i + 0.5, sampled at a grid: (B, C, H, W), bilinear."""
    down = _between(grid.ys, stride, features.shape[-2]).to(features)
    across = _between(grid.xs, stride, features.shape[-1]).to(features)
    return down @ features @ across.T


def _between(pixels: Tensor, stride: float, cells: int) -> Tensor:
    """(N, cells) interpolation weights of the two cells around each pixel; outside, those of the last cell."""
    place = ((pixels - 0.5) / stride).clamp(0, cells - 1)
    return (1 - (place[:, None] - torch.arange(cells, device=pixels.device)).abs()).clamp(min=0)
