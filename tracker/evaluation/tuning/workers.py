"""Worker processes of a search of tracking settings: one tracker, one sequence, one score per task.

Every process loads the network once and builds a tracker around it for each set of values. Decoded frames are stored as
.npy files that all processes map, so that they are in memory only once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tracker.config import TrackingConfig
from tracker.datasets.base import SequenceData
from tracker.errors import SourceError
from tracker.evaluation.workers import follow_parent, limit_threads
from tracker.files import atomic
from tracker.metrics.one_pass import OnePassTracker, run_one_pass
from tracker.metrics.success import exact_iou, success_curve
from tracker.model.checkpoint import load_model
from tracker.runtime.select import build_engine
from tracker.tracking.tracker import SiamTracker
from tracker.types import Image

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel
    from tracker.runtime.base import Engine


class Factory(Protocol):
    """Builds a tracker with the given settings. It is sent to the worker processes, so it must be picklable."""

    def __call__(self, constants: TrackingConfig) -> OnePassTracker:
        """A tracker ready for `init`."""


@lru_cache(maxsize=1)
def _loaded(model: str, device: str, engine: str) -> tuple[LoadedModel, Engine]:
    loaded = load_model(model)
    return loaded, build_engine(loaded, device=device, engine=engine)


@dataclass(frozen=True)
class SiamFactory:
    """Builds trackers around one network, which each process loads once.

    Attributes:
        model, device, engine: As in `SiamTracker.from_pretrained`.
    """

    model: str
    device: str = "cpu"
    engine: str = "auto"

    def __call__(self, constants: TrackingConfig) -> OnePassTracker:
        return SiamTracker(*_loaded(self.model, self.device, self.engine), constants)


@dataclass(frozen=True)
class FrameCache:
    """Decoded frames on disk, for as many whole sequences as fit; the rest is decoded every time.

    Attributes:
        folder: Where the files are; None disables the cache.
        room: Total size in bytes.
    """

    folder: Path | None = None
    room: int = 0

    def frames(self, sequence: SequenceData, count: int) -> Iterator[Image]:
        """The first `count` frames of a sequence, from the cache if present, otherwise decoded, and cached if there is
        room."""
        if self.folder is None:
            yield from islice(sequence.images(), count)
            return
        path = self.folder / f"{sequence.name}-{count}.npy"
        if path.is_file():
            yield from np.load(path, mmap_mode="r")
            return
        images = islice(sequence.images(), count)
        first = next(images)
        used = sum(p.stat().st_size for p in self.folder.glob("*.npy"))
        if used + first.nbytes * count > self.room:
            yield first
            yield from images
            return
        block = np.empty((count, *first.shape), np.uint8)
        block[0] = first
        for k, image in enumerate(images, 1):
            if image.shape != first.shape:  # a sequence whose frames change size: rare, and not worth caching
                yield from islice(sequence.images(), count)
                return
            block[k] = image
        with atomic(path) as file:
            np.save(file, block)
        yield from block


@dataclass(frozen=True)
class SequenceScore:
    """Scores of a sequence. ao: mean IoU without frame 1; auc: success AUC without frame 1; both in [0, 1]."""

    sequence: str
    ao: float
    auc: float


def score_sequence(
    factory: Factory,
    constants: TrackingConfig,
    sequence: SequenceData,
    max_frames: int | None = None,
    cache: FrameCache | None = None,
) -> SequenceScore:
    """Tracks the first frames of a sequence once and scores them.

    Args:
        factory: Builds the tracker.
        constants: Its settings.
        sequence: Frames and ground truth; frames that are not `valid` don't count.
        max_frames: Limit on the number of frames.
        cache: Of decoded frames.
    """
    count = min(len(sequence), max_frames or len(sequence))
    run = run_one_pass(factory(constants), (cache or FrameCache()).frames(sequence, count), sequence.init)
    counted = sequence.valid[:count] & np.isfinite(sequence.truth[:count]).all(axis=1)
    counted[0] = False
    ious = exact_iou(run.boxes[counted], sequence.truth[:count][counted], run.size)
    return SequenceScore(sequence.name, float(ious.mean()), float(success_curve(ious).mean()))


@dataclass
class _Worker:
    factory: Factory
    sequences: Mapping[str, SequenceData]
    max_frames: int | None
    cache: FrameCache


_worker: list[_Worker] = []


def _start(worker: _Worker, threads: int) -> None:
    """Initialiser that runs once in every process."""
    follow_parent()
    limit_threads(threads)
    _worker[:] = [worker]


def _score(name: str, constants: TrackingConfig) -> SequenceScore:
    w = _worker[0]
    return score_sequence(w.factory, constants, w.sequences[name], w.max_frames, w.cache)


@dataclass
class Pool:
    """Worker processes that score sequences; a context manager.

    Attributes:
        factory, max_frames, cache: As in `score_sequence`.
        sequences: All sequences that can be requested.
        workers: Processes.
        threads: Threads of the network in each.
    """

    factory: Factory
    sequences: Sequence[SequenceData]
    workers: int = 1
    threads: int = 1
    max_frames: int | None = None
    cache: FrameCache = field(default_factory=FrameCache)

    def __enter__(self) -> Pool:
        # Slim copies are sent to the workers: scoring needs neither attributes nor polygons.
        slim = {s.name: replace(s, attributes={}, polygons=None) for s in self.sequences}
        worker = _Worker(self.factory, slim, self.max_frames, self.cache)
        self._executor = ProcessPoolExecutor(self.workers, get_context("spawn"), _start, (worker, self.threads))
        return self

    def __exit__(self, *error: Any) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def scores(self, names: Sequence[str], constants: TrackingConfig) -> Iterator[SequenceScore]:
        """Scores in the order of `names`, as they become known; closing the iterator early cancels what hasn't started.

        Raises:
            SourceError: The workers died (killed for memory, for example).
        """
        from concurrent.futures.process import BrokenProcessPool

        futures: list[Future[SequenceScore]] = []
        try:
            # Only a little ahead of the consumer, so that a pruned trial wastes little work.
            ahead = 0
            for k in range(len(names)):
                while ahead < min(len(names), k + self.workers + 1):
                    futures.append(self._executor.submit(_score, names[ahead], constants))
                    ahead += 1
                yield futures[k].result()
        except BrokenProcessPool:
            raise SourceError(
                f"A worker process died while it tracked one of {', '.join(names[max(0, ahead - 3) : ahead])}; "
                "most often the memory was used up: use fewer --workers or a smaller --max-frames. The search can be "
                "resumed."
            ) from None
        finally:
            for future in futures:
                future.cancel()
