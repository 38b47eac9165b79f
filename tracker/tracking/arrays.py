"""Operations whose names differ between numpy and torch.

The read-out of an engine's maps works on arrays of either kind, wherever the engine left them: numpy on the host, or
torch on its device. All other functions that it uses have the same name and meaning in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Array = Any
"""A numpy array or a torch tensor."""


def namespace(array: Array) -> Any:
    """The module whose functions accept an array: numpy or torch."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def like(values: NDArray[Any], other: Array) -> Array:
    """A host array moved to where another array is; unchanged if that is the host."""
    if isinstance(other, np.ndarray):
        return values
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(other.device, non_blocking=True)


def to_host(arrays: Sequence[Array]) -> list[NDArray[Any]]:
    """Arrays of one type on the host; those on a device are transferred in one read."""
    away = [one for one in arrays if not isinstance(one, np.ndarray)]
    if not away:
        return list(arrays)
    import torch

    flat = (torch.cat([one.reshape(-1) for one in away]) if len(away) > 1 else away[0]).cpu().numpy().ravel()
    ends = np.cumsum([one.numel() for one in away])
    parts = iter(np.split(flat, ends[:-1]))
    return [one if isinstance(one, np.ndarray) else next(parts).reshape(tuple(one.shape)) for one in arrays]


def constant(make: Callable[..., NDArray[Any]], *sizes: int, other: Array) -> Array:
    """The cached result of `make` for some sizes, placed where another array is."""
    return make(*sizes) if isinstance(other, np.ndarray) else _moved(make, sizes, other.device)


@lru_cache(maxsize=64)
def _moved(make: Callable[..., NDArray[Any]], sizes: tuple[int, ...], device: torch.device) -> torch.Tensor:
    import torch

    return torch.from_numpy(make(*sizes)).to(device, non_blocking=True)


def counted(count: int, other: Array) -> Array:
    """(count,) 0, 1, 2, ... placed where another array is; made there, to avoid a copy for each number of targets."""
    if isinstance(other, np.ndarray):
        return np.arange(count)
    import torch

    return torch.arange(count, device=other.device)


def at_least(array: Array, low: float) -> Array:
    """The values, clipped from below to `low`."""
    return np.maximum(array, low) if isinstance(array, np.ndarray) else array.clamp(min=low)


def within(array: Array, low: float, high: float) -> Array:
    """The values, clipped to [low, high]."""
    if isinstance(array, np.ndarray):
        return np.minimum(np.maximum(array, low), high)
    return array.clamp(low, high)


def largest(array: Array) -> Array:
    """(B, N) -> (B,) the largest of each row."""
    # numpy's own `amax` takes three times as long for a few numbers.
    return np.maximum.reduce(array, axis=1) if isinstance(array, np.ndarray) else array.amax(dim=1)


def take(array: Array, places: Array) -> Array:
    """(B, N, ...) and indices of any shape along the second axis -> (B, *indices, ...)."""
    return array.take(places, axis=1) if isinstance(array, np.ndarray) else array[:, places]


def double(array: Array) -> Array:
    """As float64."""
    return array.astype(np.float64) if isinstance(array, np.ndarray) else array.double()


def single(array: Array) -> Array:
    """As float32."""
    return array.astype(np.float32) if isinstance(array, np.ndarray) else array.float()


def same_kind(array: Array) -> dict[str, Any]:
    """Keyword arguments that make `zeros` and `empty` return an array of the same type and device."""
    if isinstance(array, np.ndarray):
        return {"dtype": array.dtype}
    return {"dtype": array.dtype, "device": array.device}
