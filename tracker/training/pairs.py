"""Where pairs come from: groups that were prepared, or groups made anew for every step."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.config import Config, merge
from tracker.errors import ConfigError
from tracker.training.cache import frame_store, shard_path, track_number
from tracker.training.groups import Group
from tracker.training.recipe import build_mixture
from tracker.training.sampling import PairBatch, PairConfig, collate, draw, redrawn, share_of
from tracker.training.shards import Groups, Shard
from tracker.training.tracks import DataError

logger = logging.getLogger(__name__)

Vector = NDArray[np.float32]


class GroupPairs:
    """Pairs of prepared groups.

    Args:
        parts: The groups.
        config: Shares of impostors.
        batch_size: Pairs in a batch.
        seed: Decides every batch, with its number.
        start: Stage of the backbone that the features enter; 0: pictures.

    Raises:
        ConfigError: Look-alikes are asked for and no group has a kind.
    """

    def __init__(self, parts: Sequence[Groups], config: PairConfig, batch_size: int, seed: int, start: int) -> None:
        self.config, self.batch_size, self.seed, self.start = config, batch_size, seed, start
        self._parts = list(parts)
        self._ends = np.cumsum([p.groups for p in self._parts])
        self._tracks = np.concatenate([p.tracks for p in self._parts])
        self._kinds = np.concatenate([p.kinds for p in self._parts])
        self._several = len(np.unique(self._tracks)) > 1
        if config.same_kind and not self._kinds.any():
            raise ConfigError(
                f"train.data.same_kind is {config.same_kind:g}, but no prepared group has a kind: the cache is older, or its sources "
                "have no classes. Prepare another cache, or take 0."
            )
        if config.impostors and config.distinct and not self._several:
            logger.warning("All groups show one target: there are no impostor pairs but those of distractors in its frames.")

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return int(self._ends[-1])

    def batch(self, step: int, rank: int, world: int) -> PairBatch:
        """See `tracker.training.contracts.PairSource`."""
        views = self._parts[0].views
        picks = draw(self.seed, step, self.batch_size, self.groups, views, self.config.impostors)
        share = share_of(self.batch_size, rank, world)
        rows, wanted = [], []
        for number, p in enumerate(picks[share], share.start):
            other = p.group if p.other == p.group else self._impostor(p.group, p.other, np.random.default_rng([self.seed, step, number]))
            a, ka = self._find(p.group)
            b, kb = self._find(other)
            template, search = a.view("templates", ka, p.template), b.view("searches", kb, p.search)
            genuine = bool(other == p.group and b.present[kb, p.search])
            size, box = self._drawn(a.targets[ka, p.template], b.boxes[kb, p.search], step, number)
            rows.append((template, search, size, box, genuine, a.tracks[ka]))
            if b.taught:
                wanted.append(b.view("wanted", kb, p.search))
        return collate(rows, self.start, wanted)

    def _drawn(self, size: Vector, box: Vector, step: int, number: int) -> tuple[Vector, Vector]:
        if not self.config.convention:
            return size, box
        return redrawn(size, box, self.config.convention, np.random.default_rng([self.seed, step, number, 1]))

    def _impostor(self, group: int, drawn: int, rng: np.random.Generator) -> int:
        """The group whose search stands against a template: the one drawn, a look-alike, or never the same target again."""
        c = self.config
        if c.same_kind and self._kinds[group] and rng.random() < c.same_kind:
            alike = np.flatnonzero((self._kinds == self._kinds[group]) & (self._tracks != self._tracks[group]))
            if len(alike):
                return int(alike[int(rng.integers(len(alike)))])
        if not c.distinct or self._tracks[group] != self._tracks[drawn]:
            return drawn
        if not self._several:
            return group
        others = np.flatnonzero(self._tracks != self._tracks[group])
        return int(others[int(rng.integers(len(others)))])

    def _find(self, group: int) -> tuple[Groups, int]:
        part = int(np.searchsorted(self._ends, group, side="right"))
        return self._parts[part], group - (int(self._ends[part - 1]) if part else 0)


class CachedPairs(GroupPairs):
    """Pairs from a cache of groups.

    Raises:
        DataError: It holds no shards, or a damaged one.
    """

    def __init__(self, config: PairConfig, batch_size: int, seed: int) -> None:
        folder = Path(config.cache.path)
        wanted = -(-config.cache.groups // config.cache.shard)
        shards = [Shard(p) for p in (shard_path(folder, n) for n in range(wanted)) if p.is_file()]
        if not shards:
            raise DataError(f"The cache {folder} holds no shards; run tools/prepare.py with this configuration first.")
        if len(shards) < wanted:
            logger.warning("the cache %s holds %d of %d shards: training on these", folder, len(shards), wanted)
        super().__init__(shards, config, batch_size, seed, config.cache.stage)


class LivePairs:
    """Pairs made anew for each step from the raw material: endless variety, at the price of decoding and warping."""

    def __init__(self, config: PairConfig, model: Config, batch_size: int, seed: int) -> None:
        self.config, self.batch_size, self.seed = config, batch_size, seed
        material = merge(config.material, {"templates": 1, "searches": 1})
        self.mixture = build_mixture(material, model.model, model.tracking.context, frame_store(config.cache))

    def batch(self, step: int, rank: int, world: int) -> PairBatch:
        """See `tracker.training.contracts.PairSource`."""
        rows: list[tuple[Any, ...]] = []
        share = share_of(self.batch_size, rank, world)
        for a, b, genuine in self.pairs(step, rank, world):
            template, search = a.templates[0].transpose(2, 0, 1), b.searches[0].transpose(2, 0, 1)
            size, box = a.targets[0], b.boxes[0]
            if self.config.convention:
                size, box = redrawn(size, box, self.config.convention, np.random.default_rng([self.seed, step, share.start + len(rows), 1]))
            rows.append((template, search, size, box, genuine, np.int64(track_number(a.identity))))
        return collate(rows, 0)

    def pairs(self, step: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Group, Group, bool]]:
        """The pairs of a batch: the group of the template, that of the search, and whether they show one target."""
        picks = draw(self.seed, step, self.batch_size, 2**31, (1, 1), self.config.impostors)
        share = share_of(self.batch_size, rank, world)
        for number, p in enumerate(picks[share], share.start):
            a = self.mixture.group(np.random.default_rng([self.seed, p.group]))
            b = a
            if p.other != p.group:
                b = self._impostor(a, p.other, np.random.default_rng([self.seed, step, number]))
            yield a, b, bool(a is b and a.present[0])

    def _impostor(self, group: Group, drawn: int, rng: np.random.Generator) -> Group:
        """As in GroupPairs."""
        if self.config.same_kind and rng.random() < self.config.same_kind:
            rival = self.mixture.rival(group, rng)
            if rival is not None:
                return rival
        for _ in range(20):
            other = self.mixture.group(np.random.default_rng([self.seed, drawn]))
            if not self.config.distinct or other.identity != group.identity:
                return other
            drawn = int(rng.integers(2**31))
        return group
