"""Batches prepared ahead by threads or processes, always delivered in the order of their steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch.utils.data import DataLoader, Dataset

from tracker.errors import SiamTrackError
from tracker.training import distributed
from tracker.training.data.batch import PairBatch, PairSource


def batches(
    source: PairSource, start: int, stop: int, workers: int, kind: str, ahead: int
) -> Iterator[tuple[int, PairBatch]]:
    """(step, batch) of this process for the steps start..stop-1.

    Args:
        source: Batches by number.
        start, stop: Steps.
        workers: How many prepare batches at the same time; 0: the caller itself.
        kind: thread (the source should release the interpreter lock: decoding, memory maps) or process (it must
            pickle).
        ahead: Batches ready in advance, per worker.

    Raises:
        SiamTrackError: What the source raised, also from a worker.
    """
    rank, world = distributed.rank(), distributed.world()
    if workers == 0 or getattr(source, "resident", False):  # what lies on the device needs no help to get there
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
    """A map from step to batch, as DataLoader wants it. A user's error travels as a value: DataLoader would mangle its
    text."""

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
    """The main process decides when to stop, and each worker has one core."""
    import signal

    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)
