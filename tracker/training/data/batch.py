"""What the training loop asks of models, outputs, batches and sources: nothing more, so that each can be swapped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Match:
    """What a model said of a batch, with the place of every cell: what losses read.

    Attributes:
        score: (B, 1, H, W) logits, high where the target is.
        boxes: (B, 4, H, W) left, top, right, bottom in pixels of the search crop, or None for a head without boxes.
        template: (B, C, th, tw) embedding of the template crop.
        search: (B, C, h, w) embedding of the search crop.
        stride: Pixels of the search crop between neighbouring response cells.
        search_size: Side of the search crop in pixels; the middle of the response stands at its centre.
    """

    score: Tensor
    boxes: Tensor | None
    template: Tensor
    search: Tensor
    stride: int
    search_size: int

    @property
    def offset(self) -> float:
        """Pixel of the search crop (continuous, 0 is its left edge) at the centre of response cell 0."""
        return self.search_size / 2 - self.stride * (self.score.shape[-1] - 1) / 2


class SearchSize(Protocol):
    """The part of `tracker.model_config.ModelConfig` that places cells."""

    @property
    def search_size(self) -> int:
        """Side of the search crop in pixels."""


class MatcherLike(Protocol):
    """The part of `tracker.model.matcher.Matcher` that the loop reads: forward(template, search, target, start) and
    these."""

    @property
    def stride(self) -> int:
        """Pixels of the search crop between neighbouring response cells."""

    @property
    def config(self) -> SearchSize:
        """Where the side of the search crop is known."""


def as_match(output: Any, model: MatcherLike) -> Match:
    """The output of a model's forward in float32 (float64 stays), as losses need it; embeddings of autocast are
    raised."""

    def raised(values: Tensor) -> Tensor:
        return values if values.dtype == torch.float64 else values.float()

    boxes = None if output.boxes is None else raised(output.boxes)
    return Match(
        raised(output.score),
        boxes,
        raised(output.template),
        raised(output.search),
        model.stride,
        model.config.search_size,
    )


class PairBatchLike(Protocol):
    """The part of `tracker.training.data.build.PairBatch` (a frozen dataclass) that losses and the loop read."""

    @property
    def template(self) -> Tensor:
        """(B, ...) template crops (start 0) or cached features (start > 0)."""

    @property
    def search(self) -> Tensor:
        """(B, ...) search crops or cached features."""

    @property
    def template_size(self) -> Tensor:
        """(B, 2) width, height of the target in pixels of the template crop."""

    @property
    def box(self) -> Tensor:
        """(B, 4) left, top, right, bottom of the target in pixels of the search crop."""

    @property
    def positive(self) -> Tensor:
        """(B,) bool: False for a negative pair, whose target is absent from the search crop."""

    @property
    def track(self) -> Tensor:
        """(B,) int64 identity of the template's target."""

    @property
    def distillation_target(self) -> Tensor | None:
        """(B, D, h, w) what a teacher says of the search's cells, where the cache holds it
        (`tracker.training.losses.teacher`)."""

    @property
    def start(self) -> int:
        """The stage of the backbone that the crops enter: 0 for images, k for the cached output of stage k - 1."""


class PairSource(Protocol):
    """Batches by number: the same step gives the same bits, whatever was read before."""

    def batch(self, step: int, rank: int, world: int) -> PairBatchLike:
        """The share of process `rank` of `world` in the global batch of `step`.

        The shares of all ranks, concatenated, are the batch of a single process: that is what makes a run on two
        processes, or one resumed at any step, repeat the run on one.
        """


Validate = Callable[[nn.Module, int], dict[str, float]]
"""Measures a model by tracking: (model in eval mode, step) -> {metric: value}; higher is better for the best metric."""
