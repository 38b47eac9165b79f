"""Batches on their way: to the device, and to a file when a run breaks on one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tracker.training.checkpoint import FORMAT, write_checkpoint
from tracker.training.data.batch import PairBatch


def to_device(batch: PairBatch, device: torch.device, channels_last: bool) -> PairBatch:
    """A batch whose tensors are on a device, crops as float.

    Args:
        batch: A frozen dataclass; its crops may be uint8 (a quarter of the bytes to move).
        device: Where to.
        channels_last: Memory layout of four-dimensional tensors.
    """
    assert dataclasses.is_dataclass(batch)
    moved: dict[str, Any] = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor):
            if device.type == "cuda" and value.device.type == "cpu":
                value = value.pin_memory()  # only from there the copy runs beside the host
            value = value.to(device, non_blocking=True)
            if field.name in ("template", "search") and value.dtype not in (torch.float32, torch.float64):
                value = value.float()
            if channels_last and value.ndim == 4:
                value = value.contiguous(memory_format=torch.channels_last)
            moved[field.name] = value
    return dataclasses.replace(batch, **moved)


def pair_count(batch: PairBatch) -> int:
    """Pairs in a batch."""
    return int(batch.positive.shape[0])


def save_bad_batch(path: Path, batch: PairBatch, model: nn.Module, step: int, parts: Mapping[str, float]) -> None:
    """Writes all that is needed to repeat a step that went wrong: batch, weights before the step, values of the losses.

    Raises:
        OutputError: It can't be written.
    """
    assert dataclasses.is_dataclass(batch)
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    plain = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in values.items()}
    kept = {name: value for name, value in plain.items() if isinstance(value, Tensor | int | float | str | bool)}
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    write_checkpoint(path, {"format": FORMAT, "step": step, "batch": kept, "model": weights, "losses": dict(parts)})
