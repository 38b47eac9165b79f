"""Losses by name, and the objective: a weighted sum of losses over a batch, independent of the number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.files import suggest
from tracker.training import distributed
from tracker.training.config import TrainConfig
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses import box, distillation, focal, metric, peer, siamfc  # noqa: F401  (they register their losses)
from tracker.training.losses.base import _LOSSES, Criterion, options_of
from tracker.training.losses.mining import PairMining


def loss_names() -> list[str]:
    """The names known to `build_loss`."""
    return sorted(_LOSSES)


def build_loss(name: str, **options: Any) -> Criterion:
    """Builds a loss by name.

    Args:
        name: One of `loss_names()`.
        options: Arguments of its class.

    Raises:
        ConfigError: The name or an option is unknown (with the most similar known one), or a value can't be used.
    """
    known = loss_names()
    if name not in known:
        raise ConfigError(f"The loss {name!r} is unknown.{_hint(name, known)}")
    accepted = list(options_of(_LOSSES[name]))
    for option in options:
        if option not in accepted:
            raise ConfigError(f"The loss {name!r} has no option {option!r}.{_hint(option, accepted)}")
    try:
        return _LOSSES[name](**options)
    except TypeError as error:
        raise ConfigError(f"The loss {name!r} can't be built from {options}: {error}.") from None


def _hint(word: str, known: Sequence[str]) -> str:
    return suggest(word, known, 0.5) or f" There are {', '.join(known)}."


@dataclass(frozen=True)
class Score:
    """The objective on one batch. Reading a value on the host waits for the device.

    Attributes:
        backward: Scalar to differentiate on this process; its gradients, averaged over processes, are those of the
            whole batch.
        keys, weights: Name and weight of each loss.
        values: (n,) unweighted value of each loss over the whole batch of all processes; on the device.
    """

    backward: Tensor
    keys: Sequence[str]
    weights: Sequence[float]
    values: Tensor

    @cached_property
    def parts(self) -> dict[str, float]:
        """Value of each loss by its name."""
        return dict(zip(self.keys, self.values.tolist(), strict=True))

    @property
    def total(self) -> float:
        """The weighted sum of the parts."""
        return sum(weight * value for weight, value in zip(self.weights, self.parts.values(), strict=True) if weight)


class Objective(nn.Module):
    """A weighted sum of losses with mining of hard pairs.

    Args:
        losses: (key, weight, criterion) each; keys are the names in the log.
        mining: The weights of pairs, or None for equal weights.
    """

    def __init__(self, losses: Sequence[tuple[str, float, Criterion]], mining: PairMining | None = None) -> None:
        super().__init__()
        if not losses:
            raise ConfigError("There is no loss to train with; name at least one under train.losses.")
        self.keys = [key for key, _, _ in losses]
        if len(set(self.keys)) < len(self.keys):
            raise ConfigError(f"Two losses share a name in {', '.join(self.keys)}; give each its own key.")
        self.weights = [weight for _, weight, _ in losses]
        self.criteria = nn.ModuleList([criterion for _, _, criterion in losses])
        self.mining = mining

    def forward(self, output: Match, batch: PairBatch) -> Score:
        """The objective, summed over all processes."""
        numerators, denominators = [], []
        for criterion in self.criteria:
            assert isinstance(criterion, Criterion)
            numerator, denominator = criterion.terms(output, batch)
            if self.mining is not None:
                weight = self.mining.weights(numerator.detach(), batch.positive)
                numerator, denominator = numerator * weight, denominator * weight
            numerators.append(numerator.sum())
            denominators.append(denominator.sum())
        local = torch.stack([*numerators, *denominators]).double()
        sums = distributed.sum_over_ranks(local)
        count = len(self.keys)
        below = sums[count:].clamp(min=1)
        weights = torch.tensor(self.weights, dtype=torch.float64, device=sums.device)
        # Gradients are averaged over processes, so each multiplies its part by their number.
        backward = (local[:count] / below * weights).sum() * distributed.world()
        return Score(backward, self.keys, self.weights, (sums[:count] / below).detach())


def build_objective(config: TrainConfig) -> Objective:
    """Builds the weighted losses and the mining that a recipe names.

    Raises:
        ConfigError: An unknown loss or option.
    """
    losses = [(item.key or item.name, item.weight, build_loss(item.name, **item.options)) for item in config.losses]
    mining = PairMining(config.mining.negative_pair_temperature, config.mining.hard_share)
    return Objective(losses, mining)
