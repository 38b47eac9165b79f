"""Builds the source of pair batches: the same seed and step give the same pairs, in one process or in many.

Two sources: `CachedPairs` reads samples prepared by `tools/prepare.py` (images or frozen features), `LivePairs` makes
them from the raw data in each step. Both draw genuine and negative pairs in the ratio set by the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.config import Config
from tracker.config_merge import merge
from tracker.datasets.tracks import DataError
from tracker.errors import ConfigError
from tracker.training.data.batch import PairBatch, PairSource
from tracker.training.data.cache import INDEX, fingerprint, read_index
from tracker.training.data.pairs import CachedPairs, LivePairs, SamplePairs, read_shards
from tracker.training.data.sampling import PairConfig

if TYPE_CHECKING:
    import torch

__all__ = ["CachedPairs", "LivePairs", "PairBatch", "PairConfig", "SamplePairs", "build_pair_source", "pair_config"]


def pair_config(section: Mapping[str, Any]) -> PairConfig:
    """The typed `train.data` section.

    Raises:
        ConfigError: Unknown key, wrong type.
    """
    return merge(PairConfig(), section, where="train.data")


def build_pair_source(config: Config, seed: int, device: torch.device | None = None) -> PairSource:
    """Builds the source that a recipe names (`train.data`, `train.batch_size`).

    Args:
        config: The recipe.
        seed: With the step number, determines every batch.
        device: Device of the training; None: the CPU. See `train.data.resident`.

    Raises:
        ConfigError, DataError: With the value, the reason and the next step.
    """
    pairs = pair_config(config.train.get("data", {}))
    batch_size = int(config.train.get("batch_size", 32))
    if not pairs.use_cache:
        if pairs.resident == "on" or pairs.moves.any:
            raise ConfigError(
                "train.data.resident and train.data.moves need prepared samples, but train.data.use_cache is false; "
                "set it to true and run `siamtrack prepare` first."
            )
        return LivePairs(pairs, config, batch_size, seed)
    index = Path(pairs.cache.path) / INDEX
    if not index.is_file():
        raise DataError(
            f"There is no prepared cache in {pairs.cache.path}; run `siamtrack prepare` with this configuration first."
        )
    made = read_index(index).get("fingerprint")
    mark = fingerprint(pairs.cache, pairs.material, config.model)
    if made != mark:
        raise DataError(
            f"The cache {pairs.cache.path} was made from another recipe ({made}, this one is {mark}); "
            "run `siamtrack prepare` again with another path."
        )
    from torch import device as torch_device

    from tracker.training.data.resident import ResidentPairs, is_resident

    place, shards = device or torch_device("cpu"), read_shards(pairs)
    if is_resident(pairs, shards, place):
        return ResidentPairs(shards, pairs, batch_size, seed, pairs.cache.stage, place)
    if pairs.moves.any:
        raise ConfigError(
            "train.data.moves moves pictures that lie on the device, and the cache does not; set "
            "train.data.resident=on (slower on a CPU), or all of train.data.moves to 0."
        )
    return SamplePairs(shards, pairs, batch_size, seed, pairs.cache.stage)
