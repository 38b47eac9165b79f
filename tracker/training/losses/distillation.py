"""Distillation: the embedding of every cell of the search follows that of a trained model. Hundreds of terms for each
picture,
where a response map has one target: what lets a backbone without ImageNet weights learn from few pictures."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.base import Criterion, register
from tracker.training.losses.labels import search_grid
from tracker.training.losses.teacher import Teacher


@register("distillation")
class Distillation(Criterion):
    """|s - l R t|^2 / l^2, mean over the cells of the search: s the embedding, t the teacher's at the same place, of
    unit length, R a fixed rotation into the embedding's channels (Romero et al. 2015, "FitNets", equation 3, with R for
    their
    regressor: the rotation keeps inner products, so the teacher's correlation is the student's). 1 for an embedding of
    zeros.

    Args:
        teacher: A shipped model or a checkpoint with a padded backbone. Not used where the cache holds what it says
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
        """Loaded when it is first asked for: a cache may hold all that it would say."""
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
