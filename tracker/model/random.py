"""Initial weights from a private random generator: torch's initialisers otherwise draw from the one that the whole
process shares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_METHODS = {"normal_", "uniform_"}
"""Tensor methods that draw random numbers; of functions, those of `torch.nn.init` with a generator among their
arguments."""


def _draws(func: Callable[..., Any]) -> bool:
    if getattr(func, "__module__", None) == torch.nn.init.__name__:
        return "generator" in inspect.signature(func).parameters
    return getattr(func, "__name__", "") in _METHODS


class DrawFrom(TorchFunctionMode):
    """Context manager: random initialisation in this thread draws from a private generator.

    The numbers equal those after `torch.manual_seed(seed)`. The process's random state is neither set nor advanced, and
    other threads are unaffected: torch keeps such modes per thread (`torch.overrides.TorchFunctionMode`).

    Args:
        seed: Seed of the generator.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if _draws(func) and given.get("generator") is None:
            given["generator"] = self._generator
        return func(*args, **given)
