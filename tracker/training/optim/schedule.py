"""Learning rate and momentum as functions of the step alone: a resumed run needs no state for them."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer

from tracker.errors import ConfigError
from tracker.training.config import OptimConfig, ScheduleConfig

SCHEDULES = ("cosine", "exponential", "constant")


class Schedule:
    """Warm-up, then cosine (Loshchilov and Hutter 2017, without restarts), exponential or constant.

    Args:
        config: Shape of the curve.
        optim: Its momentum settings (Koch et al. 2015: momentum grows linearly from 0.5).
        steps: Steps of the whole run.
    """

    def __init__(self, config: ScheduleConfig, optim: OptimConfig, steps: int) -> None:
        if config.name not in SCHEDULES:
            raise ConfigError(f"The schedule {config.name!r} is unknown; there are {', '.join(SCHEDULES)}.")
        if not 0 <= config.final <= 1 or (config.name == "exponential" and config.final == 0):
            raise ConfigError(
                f"train.schedule.final is {config.final:g}; it is the share of the learning rate left at the end, in "
                "(0, 1]."
            )
        if config.warmup_steps >= steps:
            raise ConfigError(
                f"The warm-up of {config.warmup_steps} steps fills the run of {steps}; shorten "
                "train.schedule.warmup_steps."
            )
        self.config, self.optim, self.steps = config, optim, steps

    def factor(self, step: int) -> float:
        """Factor on the learning rate at a step (0-based)."""
        c = self.config
        if step < c.warmup_steps:
            return c.warmup_start + (1 - c.warmup_start) * step / c.warmup_steps
        if c.name == "constant":
            return 1.0
        t = min(1.0, (step - c.warmup_steps) / max(1, self.steps - 1 - c.warmup_steps))
        if c.name == "exponential":
            return float(c.final**t)
        return c.final + (1 - c.final) * (1 + math.cos(math.pi * t)) / 2

    def momentum(self, base: float, step: int) -> float:
        """Momentum at a step whose final value is `base`."""
        c = self.optim
        if step >= c.momentum_steps:
            return base
        return c.momentum_start + (base - c.momentum_start) * step / c.momentum_steps

    def apply(self, optimizer: Optimizer, step: int) -> float:
        """Sets lr and momentum of every group and returns the factor."""
        factor = self.factor(step)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
            if "momentum" in group:
                group["momentum"] = self.momentum(group["base_momentum"], step)
        return factor

    def state_dict(self) -> dict[str, Any]:
        """The parameters of the curve, for the checkpoint."""
        c = self.config
        return {
            "name": c.name,
            "warmup_steps": c.warmup_steps,
            "warmup_start": c.warmup_start,
            "final": c.final,
            "steps": self.steps,
        }
