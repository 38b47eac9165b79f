"""Prefetching of batches by threads or processes, always delivered in the order of their steps; their transfer to the
device; and saving a batch on which a run fails."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tracker.errors import SiamTrackError
from tracker.training import distributed
from tracker.training.checkpoint import FORMAT, write_checkpoint
from tracker.training.data.batch import PairBatch, PairSource


def batches(
    source: PairSource, start: int, stop: int, workers: int, kind: str, ahead: int
) -> Iterator[tuple[int, PairBatch]]:
    """(step, batch) of this process for the steps start..stop-1.

    Args:
        source: Batches by number.
        start, stop: Steps.
        workers: Number of workers that prepare batches; 0: the caller itself.
        kind: thread (the source should release the interpreter lock: decoding, memory maps) or process (it must
            pickle).
        ahead: Batches prefetched per worker.

    Raises:
        SiamTrackError: The source's error, also from a worker.
    """
    rank, world = distributed.rank(), distributed.world()
    if workers == 0 or getattr(source, "resident", False):  # data on the device needs no workers
        return ((step, source.batch(step, rank, world)) for step in range(start, stop))
    if kind == "thread":
        return _threads(source, start, stop, workers, ahead)
    return _processes(source, start, stop, workers, ahead)


def _threads(source: PairSource, start: int, stop: int, workers: int, ahead: int) -> Iterator[tuple[int, PairBatch]]:
    rank, world = distributed.rank(), distributed.world()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batch")
    pending: deque[Future[PairBatch]] = deque()
    try:
        asked = start
        for step in range(start, stop):
            while asked < min(stop, step + workers * ahead + 1):
                pending.append(pool.submit(source.batch, asked, rank, world))
                asked += 1
            yield step, pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Numbered(Dataset[Any]):
    """A map from step to batch, for DataLoader. A user's error is returned as a value, since DataLoader would change
    its text."""

    def __init__(self, source: PairSource, rank: int, world: int) -> None:
        self.source, self.rank, self.world = source, rank, world

    def __getitem__(self, step: int) -> tuple[int, PairBatch | SiamTrackError]:
        try:
            return step, self.source.batch(step, self.rank, self.world)
        except SiamTrackError as error:
            return step, error


def _processes(source: PairSource, start: int, stop: int, workers: int, ahead: int) -> Iterator[tuple[int, PairBatch]]:
    dataset = _Numbered(source, distributed.rank(), distributed.world())
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=ahead,
        collate_fn=_as_is,
        worker_init_fn=_start_worker,
    )
    for step, batch in loader:
        if isinstance(batch, SiamTrackError):
            raise batch
        yield int(step), batch


def _as_is(item: Any) -> Any:
    return item


def _start_worker(number: int) -> None:
    """Signals are left to the main process, and each worker uses one core."""
    import signal

    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)


def to_device(batch: PairBatch, device: torch.device, channels_last: bool) -> PairBatch:
    """Moves a batch to a device, with crops as float.

    Args:
        batch: A frozen dataclass; its crops may be uint8 (a quarter of the bytes to move).
        device: The device.
        channels_last: Memory layout of four-dimensional tensors.
    """
    assert dataclasses.is_dataclass(batch)
    moved: dict[str, Any] = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor):
            if device.type == "cuda" and value.device.type == "cpu":
                value = value.pin_memory()  # only from pinned memory does the copy run asynchronously
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
    """Writes everything needed to repeat a failing step: batch, weights before the step, values of the losses.

    Raises:
        OutputError: It can't be written.
    """
    assert dataclasses.is_dataclass(batch)
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    plain = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in values.items()}
    kept = {name: value for name, value in plain.items() if isinstance(value, Tensor | int | float | str | bool)}
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    write_checkpoint(path, {"format": FORMAT, "step": step, "batch": kept, "model": weights, "losses": dict(parts)})
