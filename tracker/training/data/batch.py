"""The interfaces between the training loop and models, outputs, batches and sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tracker.model.siamese_network import SiameseNetwork


@dataclass(frozen=True)
class Match:
    """The output of a model for a batch, with the positions of the cells: the input of the losses.

    Attributes:
        score: (B, 1, H, W) logits, high where the target is.
        boxes: (B, 4, H, W) left, top, right, bottom in pixels of the search crop, or None for a head without boxes.
        template: (B, C, th, tw) embedding of the template crop.
        search: (B, C, h, w) embedding of the search crop.
        stride: Pixels of the search crop between neighbouring response cells.
        search_size: Side of the search crop in pixels; the middle of the response is at its centre.
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


def as_match(output: Any, model: SiameseNetwork) -> Match:
    """Converts a model's output to float32 (float64 stays), as losses need it, including embeddings from autocast."""

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


@dataclass(frozen=True)
class PairBatch:
    """B pairs.

    Attributes:
        template: (B, 3, n, n) BGR 0..255, float32 or uint8, or cached features of the template, float32 or float16. The
            trainer converts them to float32 on the device.
        search: (B, 3, m, m), or cached features.
        template_size: (B, 2) width and height of the target in template-crop pixels.
        box: (B, 4) xyxy of the target in search-crop pixels (for a negative pair, of the other target).
        positive: (B,) bool; False for a negative pair: the template's target is not in the search.
        track: (B,) int64 identity of the template's target.
        start: Stage of the backbone at which the tensors enter; 0 for images.
        distillation_target: (B, D, h, w) a teacher's embedding of the search cells, if it is cached.
        peer_score: (B, H, W) logits of another tracker at the cells of the response, NaN where unknown; if they are
            cached.
        peer_box: (B, 4) xyxy of its box in the search, NaN where unknown; if it is cached.
    """

    template: Tensor
    search: Tensor
    template_size: Tensor
    box: Tensor
    positive: Tensor
    track: Tensor
    start: int = 0
    distillation_target: Tensor | None = None
    peer_score: Tensor | None = None
    peer_box: Tensor | None = None


class PairSource(Protocol):
    """Batches by number: equal steps give identical batches, whatever was read before."""

    def batch(self, step: int, rank: int, world: int) -> PairBatch:
        """The share of process `rank` of `world` in the global batch of `step`.

        The shares of all ranks, concatenated, are the batch of a single process: therefore a run on two processes, or
        one resumed at any step, repeats the run on one process.
        """


Validate = Callable[[nn.Module, int], dict[str, float]]
"""Measures a model by tracking: (model in eval mode, step) -> {metric: value}; higher is better for the best metric."""
