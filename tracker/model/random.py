"""First weights drawn from a generator of their own: torch's initialisers otherwise draw from the one that the whole
process shares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_METHODS = {"normal_", "uniform_"}
"""Methods of a tensor that draw; the functions that do are those of `torch.nn.init` with a generator among their
arguments."""


def _draws(func: Callable[..., Any]) -> bool:
    if getattr(func, "__module__", None) == torch.nn.init.__name__:
        return "generator" in inspect.signature(func).parameters
    return getattr(func, "__name__", "") in _METHODS


class DrawFrom(TorchFunctionMode):
    """While it is entered, what this thread fills with random numbers is drawn from a generator of its own.

    The numbers are those that `torch.manual_seed(seed)` would give. The process's random state is neither set nor moved
    on, and other
    threads are not touched: torch keeps such modes for each thread (`torch.overrides.TorchFunctionMode`).

    Args:
        seed: Of the numbers.
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
