"""Pairs per second of one recipe: made from the raw data, from a cache of images, from a cache of features."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tracker.config import Config
from tracker.training.data.batch import PairBatch, PairSource
from tracker.training.data.cache import ShardMaker, frame_store
from tracker.training.data.cached_features import frozen_stages
from tracker.training.data.pairs import LivePairs, SamplePairs
from tracker.training.data.sampling import PairConfig
from tracker.training.data.shards import Shard

BATCH = 16


@dataclass(frozen=True)
class Rate:
    """The speed of one way of making batches.

    Attributes:
        name: What was measured.
        pairs_per_second: One process.
        note: What it leaves to the training step.
    """

    name: str
    pairs_per_second: float
    note: str


def measure(config: Config, pairs: PairConfig, seconds: float, groups: int = 24) -> list[Rate]:
    """Makes pairs in each way for some seconds, in one process.

    Args:
        config: The recipe.
        pairs: Its `train.data` section.
        seconds: Duration per way.
        groups: Samples in the small caches that are made for it, in a temporary folder.

    Raises:
        ConfigError, DataError: The data is missing.
    """
    seed, stage = int(config.train.get("seed", 0)), pairs.cache.stage
    live = LivePairs(pairs, config, BATCH, seed)
    rates = [Rate("made anew", _timed(live, seconds), "pictures; the backbone is still to run")]
    if stage:
        embed = frozen_stages(config.model.backbone, stage, pairs.cache.weights)

        def run(batch: PairBatch) -> None:
            for crops in (batch.template, batch.search):
                embed(crops.permute(0, 2, 3, 1).byte().contiguous().numpy())

        rates.append(Rate(f"made anew + {stage} frozen stages", _timed(live, seconds, run), "features"))
    with tempfile.TemporaryDirectory() as folder:
        for kept in sorted({0, stage}):
            name, note = (
                ("cache of features", "features")
                if kept
                else ("cache of pictures", "pictures; the backbone is still to run")
            )
            small = replace(pairs.cache, path=str(Path(folder) / str(kept)), stage=kept, groups=groups, shard=groups)
            Path(small.path).mkdir()
            maker = ShardMaker(small, pairs.material, config.model, config.tracking.context, frame_store(pairs.cache))
            source = SamplePairs([Shard(maker.make(0))], replace(pairs, same_kind=0.0), BATCH, seed, kept)
            rates.append(Rate(name, _timed(source, seconds), note))
    return rates


def _timed(source: PairSource, seconds: float, after: Callable[[PairBatch], None] | None = None) -> float:
    """Pairs per second, without the first batch, which fills caches."""
    step = count = 0
    started = time.perf_counter()
    while True:
        batch = source.batch(step, 0, 1)
        if after is not None:
            after(batch)  # type: ignore[arg-type]
        now = time.perf_counter()
        if step == 0:
            started = now
        else:
            count += BATCH
        step += 1
        if count and now - started > seconds:
            return count / (now - started)
