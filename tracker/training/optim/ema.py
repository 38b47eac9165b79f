"""The exponential moving average of a model's weights: usually tracks better than the last weights (Polyak
averaging)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averaged weights of a model; buffers (BatchNorm statistics) are copied.

    Args:
        model: Provides the initial average.
        decay: In [0, 1); the average of step t uses min(decay, (1 + t) / (10 + t)), so that early weights are soon
            forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Adds the weights after an optimiser step to the average."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        # A frozen parameter equals its average until it is trained.
        moving = [(self.weights[name], p) for name, p in model.named_parameters() if p.requires_grad]
        moved = [(self.weights[name], b) for name, b in model.named_buffers() if name in self.weights]
        # All at once: on a GPU one call per tensor costs more than the arithmetic.
        torch._foreach_lerp_([mean for mean, _ in moving], [p for _, p in moving], 1 - decay)
        if moved:
            torch._foreach_copy_([mean for mean, _ in moved], [b for _, b in moved])

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[nn.Module]:
        """Context manager: the model has the averaged weights inside; its own are restored afterwards."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield model
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor | int | dict[str, Tensor]]:
        """For the checkpoint."""
        return {"updates": self.updates, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """From a checkpoint."""
        weights, updates = state["weights"], state["updates"]
        assert isinstance(weights, dict) and isinstance(updates, int)
        for name, value in weights.items():
            self.weights[name].copy_(value)
        self.updates = updates
