"""Base classes and registry of the losses.

Every loss returns two numbers per pair, a numerator and a denominator. The loss of a batch is the sum of the numerators
divided by the sum of the denominators, both over all processes: a run on two processes then equals the run on one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.labels import LabelRule

REDUCTIONS = ("mean", "sum", "none")


class Criterion(nn.Module):
    """A loss on a model's output for a batch of pairs.

    Args:
        reduction: mean (numerators over denominators), sum (of the numerators) or none (the (B,) numerators).
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ConfigError(f"The reduction {reduction!r} is unknown; there are {', '.join(REDUCTIONS)}.")
        self.reduction = reduction

    def terms(self, output: Match, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """(B,) numerators with gradient and (B,) denominators without."""
        raise TypeError(f"{type(self).__name__} does not say its terms")

    def forward(self, output: Match, batch: PairBatch) -> Tensor:
        """The loss of a batch on this process."""
        numerator, denominator = self.terms(output, batch)
        if self.reduction == "none":
            return numerator
        if self.reduction == "sum":
            return numerator.sum()
        return numerator.sum() / denominator.sum().clamp(min=1)


class CellCriterion(Criterion):
    """A loss on the cells of a response.

    Args:
        radius, inside, ignore: Labelling of the cells (`LabelRule`).
        reduction: See `Criterion`.
    """

    def __init__(
        self, radius: float = 16.0, inside: float | None = None, ignore: float = 0.0, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.rule = LabelRule(radius, inside, ignore)


def options_of(cls: type[Criterion]) -> dict[str, Any]:
    """Options of a loss and their defaults: its own arguments and those of its base class."""
    options: dict[str, Any] = {}
    for base in cls.__mro__[: cls.__mro__.index(Criterion) + 1]:
        parameters = list(inspect.signature(base).parameters.values())
        options = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD} | options
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return options


_LOSSES: dict[str, type[Criterion]] = {}


def register(name: str) -> Callable[[type[Criterion]], type[Criterion]]:
    """Registers a criterion under the name used in configurations."""

    def add(cls: type[Criterion]) -> type[Criterion]:
        _LOSSES[name] = cls
        return cls

    return add
