"""The names of encoders: a module registers its own here, and a recipe or a model file names it."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Factory = Callable[..., nn.Module]
ENCODERS: dict[str, Factory] = {}


def register_encoder(name: str) -> Callable[[Factory], Factory]:
    """Gives an encoder the name that recipes and model files use; a user's own modules too.

    Example:
        >>> @register_encoder("mine")
        ... def build(input: InputConfig, dim: int = 64) -> nn.Module:
        ...     return ModuleEncoder(my_network(dim))
    """

    def add(factory: Factory) -> Factory:
        ENCODERS[name] = factory
        return factory

    return add
