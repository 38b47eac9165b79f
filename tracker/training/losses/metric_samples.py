"""Inputs of metric losses: for each template, similarities to many labelled search vectors.

Two ways to get them (`compare`):
    energy     the response map itself: similarity is the sigmoid of a cell's logit, distance is softplus(-logit), a
               monotone map of the energy onto [0, inf). Trains the whole model, head and energy included.
    embedding  unit vectors: the template's mean over the target against every cell of its search embedding, and against
               the targets of all other pairs, on all processes (their pooled search vectors). Similarity is the cosine,
               distance the Euclidean one, sqrt(2 - 2 cosine). Trains the backbone and neck only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training import distributed
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.labels import (
    IGNORED,
    NEGATIVE,
    POSITIVE,
    LabelRule,
    box_mask,
    label_map,
    masked_pool,
    pool_template,
    response_grid,
    search_grid,
)

MODES = ("energy", "embedding")


@dataclass(frozen=True)
class MetricSamples:
    """N candidates for each of B templates.

    Attributes:
        similarity: (B, N), in [0, 1] (energy) or [-1, 1] (embedding).
        distance: (B, N), at least 0.
        label: (B, N) int8: 1 same target, 0 different, -1 ignored.
    """

    similarity: Tensor
    distance: Tensor
    label: Tensor

    @property
    def positive(self) -> Tensor:
        """(B, N) bool."""
        return self.label == POSITIVE

    @property
    def negative(self) -> Tensor:
        """(B, N) bool."""
        return self.label == NEGATIVE


@dataclass(frozen=True)
class EmbeddingVectors:
    """Unit vectors of a batch.

    Attributes:
        anchor: (B, C) the templates, pooled over their targets.
        cells: (B, N, C) the cells of each search embedding.
        cell_label: (B, N) int8.
        target: (B, C) each search pooled over its target box (undefined in negative pairs).
        others: (M, C) the targets of all processes.
        other_label: (B, M) int8: 1 same track, 0 other track, -1 own or undefined.
    """

    anchor: Tensor
    cells: Tensor
    cell_label: Tensor
    target: Tensor
    others: Tensor
    other_label: Tensor


def check_mode(compare: str) -> str:
    """Returns the mode if it exists.

    Raises:
        ConfigError: There is no such mode.
    """
    if compare not in MODES:
        raise ConfigError(f"A metric loss can't work on {compare!r}; use {' or '.join(MODES)}.")
    return compare


def metric_samples(output: Match, batch: PairBatch, compare: str, rule: LabelRule) -> MetricSamples:
    """The candidates of a batch; see the module's docstring."""
    if compare == "energy":
        label = label_map(response_grid(output), batch.box, batch.positive, rule).flatten(1)
        score = output.score.flatten(1)
        return MetricSamples(torch.sigmoid(score), F.softplus(-score), label)
    v = embedding_vectors(output, batch, rule)
    own = torch.einsum("bc,bnc->bn", v.anchor, v.cells)
    cross = v.anchor @ v.others.t()
    similarity = torch.cat([own, cross], dim=1)
    return MetricSamples(similarity, unit_distance(similarity), torch.cat([v.cell_label, v.other_label], dim=1))


def embedding_vectors(output: Match, batch: PairBatch, rule: LabelRule) -> EmbeddingVectors:
    """The unit vectors of a batch, including those of other processes."""
    grid = search_grid(output)
    box = batch.box.to(grid.xs.dtype)
    anchor = F.normalize(pool_template(output.template, batch.template_size, output.stride), dim=1)
    cells = F.normalize(output.search, dim=1).flatten(2).transpose(1, 2)
    target = F.normalize(masked_pool(output.search, box_mask(grid, box)), dim=1)
    others = distributed.gather_with_gradient(target)
    tracks, genuine = distributed.gather(batch.track), distributed.gather(batch.positive)
    other = (tracks[None] == batch.track[:, None]).to(torch.int8)
    other[:, ~genuine] = IGNORED
    rows = torch.arange(len(box), device=other.device)
    other[rows, distributed.rank() * len(box) + rows] = IGNORED
    return EmbeddingVectors(anchor, cells, label_map(grid, box, batch.positive, rule).flatten(1), target, others, other)


def unit_distance(cosine: Tensor) -> Tensor:
    """Euclidean distance of unit vectors from their cosine; the slope at distance 0 is bounded."""
    tiny = 1e-12 if cosine.dtype == torch.float64 else 1e-6
    return (2 - 2 * cosine).clamp(min=tiny).sqrt()
