"""The training objective of a batch: embeddings of all processes, their loss, and the detection of collapse."""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.matching.batches import MatchBatch
from tracker.matching.config import MatchConfig
from tracker.matching.losses import PAIRWISE, PLACING, SCORE_LOSSES, build_loss, build_miner, build_placing, with_memory
from tracker.model.energies import build_energy
from tracker.training import distributed
from tracker.training.losses.objective import Score

log = logging.getLogger(__name__)

COLLAPSED = 0.1
"""Spread below which the embeddings of different objects have nearly collapsed to one point."""
PATIENCE = 50
"""Number of consecutive steps with that, or without any mined pair, before a warning."""

Embedded = tuple[Tensor, Tensor | None]


class MatchObjective(nn.Module):
    """A loss on the embeddings of a batch, independent of the number of processes.

    Args:
        config: The recipe.
        width: D, for the memory.
        stride: Pixels per cell of the encoder's map, for the loss placing; 0: the encoder has no maps.
    """

    keys = ("loss", "spread", "mined")

    def __init__(self, config: MatchConfig, width: int, stride: int = 0) -> None:
        super().__init__()
        part, energy = config.loss, config.model.energy
        self.stride = stride
        self.loss: Any = (
            build_placing(config, stride) if part.name == PLACING else build_loss(part.name, part.options, energy)
        )
        self.name, self.tied = part.name, config.model.tied
        self.energy = build_energy(energy)
        self.miner = build_miner(part.miner, energy)
        self.memory = bool(part.memory)
        if self.memory:
            if part.memory < config.data.classes * config.data.samples:
                raise ConfigError(f"loss.memory is {part.memory}; it must hold a batch at least, or be 0.")
            self.loss, self.miner = with_memory(self.loss, part.memory, width, self.miner), None
        self._collapsed = self._idle = 0

    def forward(self, output: Embedded, batch: MatchBatch) -> Score:
        """The objective of the whole batch; its gradients, averaged over processes, equal those of one process."""
        first = distributed.gather_with_gradient(output[0].float())
        second = None if output[1] is None else distributed.gather_with_gradient(output[1].float())
        label, score = distributed.gather(batch.label), distributed.gather(batch.score)
        if self.name == "angular":  # the library doesn't normalise its negatives
            first, second = F.normalize(first, dim=1), None if second is None else F.normalize(second, dim=1)
        value, mined = self._value(first, second, label, score, batch.kind, tuple(batch.first.shape[-2:]))
        spread = spread_of(first.detach())
        self._watch(spread, mined)
        values = torch.tensor([float(value.detach()), spread, float(mined)], dtype=torch.float64)
        return Score(value, self.keys, (1.0, 0.0, 0.0), values)

    def _value(
        self, first: Tensor, second: Tensor | None, label: Tensor, score: Tensor, kind: str, size: tuple[int, ...]
    ) -> tuple[Tensor, int]:
        if kind == "classes":
            if self.name == PLACING:
                if second is None:
                    raise ConfigError("The loss 'placing' needs aligned pictures; set data.sources to kind=aligned.")
                value: Tensor
                value, missed = self.loss(self._map(first, size), self._map(second, size))
                return value, int(missed)
            if second is not None:  # the same objects in the other modality
                if self.memory:
                    raise ConfigError("A memory compares within one modality; set loss.memory=0 for aligned pictures.")
                # A copy of the labels: the library skips the diagonal if both are one object, but here the diagonal
                # holds the genuine pairs.
                other = label.clone()
                picked = None if self.miner is None else self.miner(first, label, second, other)
                return self.loss(first, label, picked, second, other), _count(picked)
            if self.memory:
                return self.loss(first, label), len(label)
            picked = None if self.miner is None else self.miner(first, label)
            return self.loss(first, label, picked), _count(picked)
        assert second is not None
        if kind == "triplets":
            if self.name in SCORE_LOSSES or self.memory:
                raise ConfigError("Triplets want a loss such as triplet or angular, and no memory.")
            n = len(first)
            rows = torch.arange(n, device=first.device)
            every = torch.cat([first, second])
            anchor, positive, negative = rows, n + 2 * rows, n + 2 * rows + 1
            picked = (anchor, positive, anchor, negative) if self.name in PAIRWISE else (anchor, positive, negative)
            return self.loss(every, torch.arange(3 * n, device=first.device), picked), n
        if self.name in SCORE_LOSSES:
            z, x = first[:, :, None, None], second[:, :, None, None]
            return self.loss(self.energy.cells(z, x)[:, 0, 0, 0], score), len(first)
        if self.name != "contrastive":
            raise ConfigError(
                "Pairs with labels want the loss contrastive, pairs with scores ranking or regression; not "
                f"{self.name!r}."
            )
        n = len(first)
        rows = torch.arange(n, device=first.device)
        same, apart = rows[score >= 0.5], rows[score < 0.5]
        return self.loss(
            torch.cat([first, second]), torch.arange(2 * n, device=first.device), (same, n + same, apart, n + apart)
        ), n

    def _map(self, embeddings: Tensor, size: tuple[int, ...]) -> Tensor:
        """(B, D) -> (B, C, h, w): an embedding without pooling or projection is a flattened map."""
        return embeddings.reshape(len(embeddings), -1, size[0] // self.stride, size[1] // self.stride)

    def _watch(self, spread: float, mined: int) -> None:
        """Warns if nothing can be learnt, or nothing is learnt."""
        self._collapsed = self._collapsed + 1 if spread < COLLAPSED else 0
        self._idle = self._idle + 1 if mined == 0 else 0
        if self._collapsed == PATIENCE:
            log.warning(
                "The embeddings collapse: their spread is %.3f (1: all directions alike). The negatives are too hard "
                "or the rate too high: lower train.optim.learning_rate, take the miner semi-hard, or warm up "
                "longer.",
                spread,
            )
        if self._idle == PATIENCE:
            log.warning(
                "No pair is hard enough for the miner in %d steps: the negatives are too easy. Put look-alikes into "
                "a batch (data.siblings, more data.classes), or stop here.",
                PATIENCE,
            )

    def extra(self) -> dict[str, Any]:
        """State of a checkpoint beside the weights: the memory, and the counters of warnings."""
        state: dict[str, Any] = {"collapsed": self._collapsed, "idle": self._idle}
        if self.memory:
            m = self.loss
            state["memory"] = [m.embedding_memory, m.label_memory, int(m.queue_idx), bool(m.has_been_filled)]
        return state

    def load_extra(self, state: dict[str, Any]) -> None:
        """Restores it from a checkpoint."""
        self._collapsed, self._idle = int(state["collapsed"]), int(state["idle"])
        if self.memory and "memory" in state:
            m = self.loss
            m.embedding_memory, m.label_memory, m.queue_idx, m.has_been_filled = state["memory"]


def spread_of(embeddings: Tensor) -> float:
    """How widely embeddings are spread over directions: 0 for a single point, 1 for all directions equally.

    The root of the summed variance of unit vectors, which is sqrt(1 - |mean|^2).

    Args:
        embeddings: (N, D).
    """
    mean = F.normalize(embeddings.float(), dim=1).mean(0)
    return float((1 - mean.square().sum()).clamp(min=0).sqrt())


def _count(picked: Any) -> int:
    return -1 if picked is None else len(picked[-1])
