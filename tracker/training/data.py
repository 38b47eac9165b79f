"""Batches of pairs by number: the same seed and step give the same pairs, on one process or on many.

Two sources: `CachedPairs` reads groups of views that `tools/prepare.py` kept (pictures or frozen features), `LivePairs` makes
them anew from the raw material. Both draw genuine and impostor pairs in the ratio that the recipe sets.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracker.config import Config, merge
from tracker.errors import ConfigError
from tracker.training.cache import INDEX, CacheConfig, decode_pictures, fingerprint, shard_path, track_number
from tracker.training.contracts import PairSource
from tracker.training.recipe import DataConfig, build_mixture
from tracker.training.tracks import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairBatch:
    """B pairs.

    Attributes:
        template: (B, 3, n, n) BGR 0..255 float32, or cached features of the template.
        search: (B, 3, m, m), or cached features.
        template_size: (B, 2) width and height of the target in template-crop pixels.
        box: (B, 4) xyxy of the target in search-crop pixels (of the other target for an impostor pair).
        positive: (B,) bool; False for an impostor pair: the template's target is not in the search.
        track: (B,) int64 identity of the template's target.
        start: Stage of the backbone at which the tensors enter; 0 for pictures.
    """

    template: Tensor
    search: Tensor
    template_size: Tensor
    box: Tensor
    positive: Tensor
    track: Tensor
    start: int = 0


@dataclass(frozen=True)
class PairConfig:
    """The `train.data` section of a recipe.

    Attributes:
        impostors: Share of pairs whose search shows another target.
        material: What the views are made of.
        cache: Where prepared views lie; used where `use_cache`.
        use_cache: False makes views anew for every step.
    """

    impostors: float = 0.15
    use_cache: bool = True
    material: DataConfig = field(default_factory=DataConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)


@dataclass(frozen=True)
class _Pick:
    """One pair: group and view of the template, group and view of the search."""

    group: int
    template: int
    other: int
    search: int


def _draw(seed: int, step: int, batch: int, groups: int, views: tuple[int, int], impostors: float) -> list[_Pick]:
    """The picks of the whole batch of one step, before it is shared out."""
    rng = np.random.default_rng([seed, step])
    picks = []
    for _ in range(batch):
        group = int(rng.integers(groups))
        other = int(rng.integers(groups)) if rng.random() < impostors else group
        picks.append(_Pick(group, int(rng.integers(views[0])), other, int(rng.integers(views[1]))))
    return picks


def _share(total: int, rank: int, world: int) -> slice:
    """The part of a batch that belongs to a rank; the parts join to the whole."""
    if total % world:
        raise ConfigError(f"The batch of {total} pairs can't be shared by {world} processes; take a multiple of {world}.")
    return slice(rank * total // world, (rank + 1) * total // world)


class CachedPairs:
    """Pairs from a cache of groups."""

    def __init__(self, config: PairConfig, batch_size: int, seed: int) -> None:
        self.config, self.batch_size, self.seed = config, batch_size, seed
        self.start = config.cache.stage
        folder = Path(config.cache.path)
        wanted = -(-config.cache.groups // config.cache.shard)
        self._shards = [_Shard(p) for p in (shard_path(folder, n) for n in range(wanted)) if p.is_file()]
        if not self._shards:
            raise DataError(f"The cache {folder} holds no shards; run tools/prepare.py with this configuration first.")
        if len(self._shards) < wanted:
            logger.warning("the cache %s holds %d of %d shards: training on these", folder, len(self._shards), wanted)
        self._ends = np.cumsum([s.groups for s in self._shards])

    @property
    def groups(self) -> int:
        """How many groups the cache holds."""
        return int(self._ends[-1])

    def batch(self, step: int, rank: int, world: int) -> PairBatch:
        """See `tracker.training.contracts.PairSource`."""
        views = self._shards[0].views
        picks = _draw(self.seed, step, self.batch_size, self.groups, views, self.config.impostors)[_share(self.batch_size, rank, world)]
        rows = []
        for p in picks:
            a, ka = self._find(p.group)
            b, kb = self._find(p.other)
            template, search = a.view("templates", ka, p.template), b.view("searches", kb, p.search)
            same = a.tracks[ka] == b.tracks[kb]
            rows.append(
                (template, search, a.targets[ka, p.template], b.boxes[kb, p.search], bool(same and p.group == p.other), a.tracks[ka])
            )
        return _collate(rows, self.start)

    def _find(self, group: int) -> tuple[_Shard, int]:
        shard = int(np.searchsorted(self._ends, group, side="right"))
        return self._shards[shard], group - (int(self._ends[shard - 1]) if shard else 0)


class _Shard:
    """One file of the cache; features are mapped, not read, so that the page cache decides what stays in memory."""

    def __init__(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as data:
                self.targets, self.boxes, self.tracks = data["targets"], data["boxes"], data["tracks"]
                self._ends = {n: data[f"{n}_ends"] for n in ("templates", "searches") if f"{n}_ends" in data}
            self._arrays = {n: _map_member(path, n) for n in ("templates", "searches")}
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"The shard {path} is damaged ({error}); remove it and run tools/prepare.py again.") from None
        self.groups = len(self.targets)
        self.views = (self.targets.shape[1], self.boxes.shape[1])

    def view(self, name: str, group: int, view: int) -> NDArray[Any]:
        """(C, h, w) features, or (3, n, n) uint8 picture."""
        array = self._arrays[name]
        if name in self._ends:
            return np.ascontiguousarray(decode_pictures(array, self._ends[name], group, [view])[0].transpose(2, 0, 1))
        return array[group, view]


def _map_member(path: Path, name: str) -> NDArray[Any]:
    """Memory-maps one uncompressed member of an .npz file (np.load maps only bare .npy files)."""
    import zipfile

    from numpy.lib import format as npy

    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
        file.seek(info.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"))
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject or fortran:
            raise ValueError(f"{name} is not a plain array")
        return np.memmap(path, dtype=dtype, mode="r", offset=file.tell(), shape=shape)


class LivePairs:
    """Pairs made anew for each step from the raw material: endless variety, at the price of decoding and warping."""

    def __init__(self, config: PairConfig, model: Config, batch_size: int, seed: int) -> None:
        self.config, self.batch_size, self.seed = config, batch_size, seed
        material = merge(config.material, {"templates": 1, "searches": 1})
        self._mixture = build_mixture(material, model.model, model.tracking.context)

    def batch(self, step: int, rank: int, world: int) -> PairBatch:
        """See `tracker.training.contracts.PairSource`."""
        picks = _draw(self.seed, step, self.batch_size, 2**31, (1, 1), self.config.impostors)[_share(self.batch_size, rank, world)]
        rows = []
        for p in picks:
            a = self._mixture.group(np.random.default_rng([self.seed, p.group]))
            b = a if p.other == p.group else self._mixture.group(np.random.default_rng([self.seed, p.other]))
            template, search = a.templates[0].transpose(2, 0, 1), b.searches[0].transpose(2, 0, 1)
            rows.append((template, search, a.targets[0], b.boxes[0], p.other == p.group, np.int64(track_number(a.label))))
        return _collate(rows, 0)


def _collate(rows: list[tuple[Any, ...]], start: int) -> PairBatch:
    templates, searches, sizes, boxes, positive, tracks = zip(*rows, strict=True)
    return PairBatch(
        template=torch.from_numpy(np.stack(templates)).float(),
        search=torch.from_numpy(np.stack(searches)).float(),
        template_size=torch.from_numpy(np.stack(sizes)).float(),
        box=torch.from_numpy(np.stack(boxes)).float(),
        positive=torch.tensor(positive),
        track=torch.from_numpy(np.array(tracks, dtype=np.int64)),
        start=start,
    )


def pair_config(section: Mapping[str, Any]) -> PairConfig:
    """The typed `train.data` section.

    Raises:
        ConfigError: Unknown key, wrong type.
    """
    return merge(PairConfig(), section, where="train.data")


def build_pair_source(config: Config, seed: int) -> PairSource:
    """The batches that a recipe asks for (`train.data`, `train.batch_size`).

    Raises:
        ConfigError, DataError: With the value, the reason and the next step.
    """
    pairs = pair_config(config.train.get("data", {}))
    batch_size = int(config.train.get("batch_size", 32))
    if not pairs.use_cache:
        return LivePairs(pairs, config, batch_size, seed)
    index = Path(pairs.cache.path) / INDEX
    if not index.is_file():
        raise DataError(f"There is no prepared cache in {pairs.cache.path}; run tools/prepare.py with this configuration first.")
    made = json.loads(index.read_text()).get("fingerprint")
    mark = fingerprint(pairs.cache, pairs.material, config.model)
    if made != mark:
        raise DataError(
            f"The cache {pairs.cache.path} was made from another recipe ({made}, this one is {mark}); "
            "run tools/prepare.py again with another path."
        )
    return CachedPairs(pairs, batch_size, seed)
