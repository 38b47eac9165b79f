"""Layers that don't move, until a step: no gradient, and BatchNorm and dropout in evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from tracker.errors import ConfigError
from tracker.training.config import FreezeConfig


class Freezer:
    """Freezes and thaws parameters of a model by name.

    Args:
        model: Its `requires_grad` flags are set.
        rules: A parameter is frozen while any rule whose pattern fits it says so.

    Raises:
        ConfigError: A pattern that fits no parameter, or no parameter left to train.
    """

    def __init__(self, model: nn.Module, rules: Sequence[FreezeConfig]) -> None:
        self.model, self.rules = model, list(rules)
        # What the model itself never trains stays so.
        self.trainable = {name for name, p in model.named_parameters() if p.requires_grad}
        for rule in self.rules:
            if not any(fnmatchcase(name, rule.pattern) for name, _ in model.named_parameters()):
                raise ConfigError(f"The pattern {rule.pattern!r} in train.freeze fits no parameter of the model.")

    def frozen(self, name: str, step: int) -> bool:
        """Whether a parameter or module rests at a step."""
        return any((rule.until is None or step < rule.until) and fnmatchcase(name, rule.pattern) for rule in self.rules)

    def apply(self, step: int) -> bool:
        """Sets `requires_grad` for a step and says whether anything changed."""
        changed = False
        for name, p in self.model.named_parameters():
            wanted = name in self.trainable and not self.frozen(name, step)
            if p.requires_grad != wanted:
                p.requires_grad_(wanted)
                p.grad = None
                changed = True
        if not any(p.requires_grad for p in self.model.parameters()):
            raise ConfigError(f"At step {step} every parameter is frozen by train.freeze; leave some to train.")
        return changed

    def train_mode(self, step: int) -> None:
        """`model.train()`, with the layers that rest in evaluation mode."""
        self.model.train()
        for name, module in self.model.named_modules():
            own = [f"{name}.{key}" if name else key for key, _ in module.named_parameters(recurse=False)]
            if (own and all(self.frozen(key, step) for key in own)) or (
                not own and name and self.frozen(f"{name}.", step)
            ):
                module.eval() if not list(module.children()) else None
