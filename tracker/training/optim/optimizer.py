"""Optimisers with learning rate, momentum and weight decay per layer, and layers that are frozen until a step (no
gradient, and BatchNorm and dropout in evaluation mode). Gradient clipping is `torch.nn.utils`'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from tracker.errors import ConfigError
from tracker.training.config import FreezeConfig, LayerConfig, OptimConfig


class KochSGD(Optimizer):
    """The update rule of Koch, Zemel and Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition",
    section 3.2: for layer j with learning rate eta_j, momentum mu_j and L2 weight lambda_j,

        delta(T) = -eta_j g(T) + mu_j delta(T - 1)
        w(T + 1) = w(T) + delta(T) - 2 lambda_j w(T)

    The gradient g is the sum over the two twins, which autograd gives by itself where both call the same module. The
    paper prints the last term as "+ 2 lambda |w|"; the gradient of lambda |w|^2 with the sign that makes weights shrink
    is meant. As printed it is not multiplied by eta, so lambda must be far smaller than the weight decay of
    `torch.optim.SGD`.

    Args:
        params: Parameters or groups, each group with its own lr, momentum and weight_decay.
        lr: eta.
        momentum: mu in [0, 1].
        weight_decay: lambda, at least 0.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        if lr < 0 or not 0 <= momentum <= 1 or weight_decay < 0:
            raise ConfigError(
                f"koch has {lr=:g}, {momentum=:g}, {weight_decay=:g}; momentum is in [0, 1], none is negative."
            )
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "delta" not in state:
                    state["delta"] = torch.zeros_like(p)
                delta: Tensor = state["delta"]
                delta.mul_(group["momentum"]).add_(p.grad, alpha=-group["lr"])
                p.mul_(1 - 2 * group["weight_decay"]).add_(delta)
        return loss


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """Builds the optimiser of a model, including frozen parameters (which may be trained later).

    Each group stores `base_lr` and `base_momentum`, from which `Schedule` computes lr and momentum.

    Raises:
        ConfigError: Unknown name, or a pattern that matches no parameter.
    """
    if config.name not in {"sgd", "adamw", "koch"}:
        raise ConfigError(f"The optimiser {config.name!r} is unknown; there are sgd, adamw and koch.")
    groups = parameter_groups(model, config)
    for group in groups:
        group["lr"] = group["base_lr"]
        if config.name == "adamw":
            group["betas"] = (group["base_momentum"], config.beta2)
        else:
            group["momentum"] = group["base_momentum"]
            if config.name == "sgd" and config.nesterov:
                group["nesterov"] = True
    if config.name == "adamw":
        # One kernel for all parameters of a group; the fused rule's result is the same up to rounding.
        fused = all(p.is_cuda for p in model.parameters())
        return AdamW(groups, lr=config.learning_rate, fused=fused)
    return (SGD if config.name == "sgd" else KochSGD)(groups, lr=config.learning_rate)


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict[str, Any]]:
    """Groups parameters with the same settings, in a stable order.

    Raises:
        ConfigError: A pattern of `config.layers` that matches no parameter.
    """
    used: set[str] = set()
    groups: dict[tuple[float, float, float], dict[str, Any]] = {}
    for name, p in model.named_parameters():
        rule = next((r for r in config.layers if fnmatchcase(name, r.pattern)), LayerConfig())
        used.add(rule.pattern)
        decay = config.weight_decay if rule.weight_decay is None else rule.weight_decay
        if p.ndim <= 1 and not config.decay_vectors and rule.weight_decay is None:
            decay = 0.0
        momentum = config.momentum if rule.momentum is None else rule.momentum
        key = (config.learning_rate * rule.learning_rate, momentum, decay)
        if key not in groups:
            groups[key] = {
                "params": [],
                "names": [],
                "base_lr": key[0],
                "base_momentum": key[1],
                "weight_decay": key[2],
            }
        groups[key]["params"].append(p)
        groups[key]["names"].append(name)
    for rule in config.layers:
        if not any(fnmatchcase(name, rule.pattern) for name, _ in model.named_parameters()):
            raise ConfigError(
                f"The pattern {rule.pattern!r} in train.optim.layers fits no parameter; {_examples(model)}"
            )
        if rule.pattern not in used:
            raise ConfigError(
                f"The pattern {rule.pattern!r} in train.optim.layers never counts: earlier patterns fit all its "
                "parameters."
            )
    return list(groups.values())


def _examples(model: nn.Module) -> str:
    tops = dict.fromkeys(name.split(".")[0] + ".*" for name, _ in model.named_parameters())
    return f"patterns that would: {', '.join(tops)}."


class Freezer:
    """Freezes and unfreezes parameters of a model by name.

    Args:
        model: Its `requires_grad` flags are set.
        rules: A parameter is frozen while any rule with a matching pattern says so.

    Raises:
        ConfigError: A pattern that matches no parameter, or no parameter is left to train.
    """

    def __init__(self, model: nn.Module, rules: Sequence[FreezeConfig]) -> None:
        self.model, self.rules = model, list(rules)
        self._active: list[bool] | None = None
        # Parameters that the model itself never trains stay frozen.
        self.trainable = {name for name, p in model.named_parameters() if p.requires_grad}
        for rule in self.rules:
            if not any(fnmatchcase(name, rule.pattern) for name, _ in model.named_parameters()):
                raise ConfigError(f"The pattern {rule.pattern!r} in train.freeze fits no parameter of the model.")

    def frozen(self, name: str, step: int) -> bool:
        """Whether a parameter or module is frozen at a step."""
        return any((rule.until is None or step < rule.until) and fnmatchcase(name, rule.pattern) for rule in self.rules)

    def apply(self, step: int) -> bool:
        """Sets `requires_grad` for a step and returns whether anything changed."""
        active = [rule.until is None or step < rule.until for rule in self.rules]
        if active == self._active:
            return False
        self._active, changed = active, False
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
        """`model.train()`, with frozen layers in evaluation mode."""
        self.model.train()
        for name, module in self.model.named_modules():
            own = [f"{name}.{key}" if name else key for key, _ in module.named_parameters(recurse=False)]
            if (own and all(self.frozen(key, step) for key in own)) or (
                not own and name and self.frozen(f"{name}.", step)
            ):
                module.eval() if not list(module.children()) else None
