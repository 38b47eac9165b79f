"""Sources of pairs: prepared samples, or samples made anew in every step."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker.config import Config
from tracker.config_merge import merge
from tracker.datasets.tracks import DataError
from tracker.errors import ConfigError
from tracker.training.data.batch import PairBatch
from tracker.training.data.cache import frame_store, shard_path, track_number
from tracker.training.data.peers import BOXES, SCORES
from tracker.training.data.samples import Sample
from tracker.training.data.sampling import PairConfig, collate, draw, jitter_boxes, share_of
from tracker.training.data.shards import PackedSamples, Shard
from tracker.training.data.sources import build_mixture

logger = logging.getLogger(__name__)

Vector = NDArray[np.float32]


class PairRow(NamedTuple):
    """One pair: (sample, view) of template and search, and the labels in the order of `PairBatch`."""

    template: tuple[int, int]
    search: tuple[int, int]
    size: Vector
    box: Vector
    genuine: bool
    track: int


class SamplePairs:
    """Pairs of prepared samples.

    Args:
        parts: The samples.
        config: Fractions of negative pairs.
        batch_size: Pairs in a batch.
        seed: With the step number, determines every batch.
        start: Stage of the backbone at which the features enter; 0: images.

    Raises:
        ConfigError: Look-alikes are requested and no sample has a class.
    """

    def __init__(
        self, parts: Sequence[PackedSamples], config: PairConfig, batch_size: int, seed: int, start: int
    ) -> None:
        self.config, self.batch_size, self.seed, self.start = config, batch_size, seed, start
        self._parts = list(parts)
        self._ends = np.cumsum([p.samples for p in self._parts])
        self._tracks = np.concatenate([p.tracks for p in self._parts])
        self._kinds = np.concatenate([p.kinds for p in self._parts])
        self._several = len(np.unique(self._tracks)) > 1
        if config.same_kind and not self._kinds.any():
            raise ConfigError(
                f"train.data.same_kind is {config.same_kind:g}, but no prepared sample has a kind: the cache is "
                "older, or its sources have no classes. Prepare another cache, or take 0."
            )
        if config.negative_pairs and config.distinct and not self._several:
            logger.warning(
                "All samples show one target: there are no negative pairs but those of distractors in its frames."
            )

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self._ends[-1])

    def batch(self, step: int, rank: int, world: int) -> PairBatch:
        """See `tracker.training.data.batch.PairSource`."""
        rows, wanted, peers = [], [], []
        for row in self._rows(step, rank, world):
            (a, ka), (b, kb) = self._find(row.template[0]), self._find(row.search[0])
            template, search = a.view("templates", ka, row.template[1]), b.view("searches", kb, row.search[1])
            rows.append((template, search, row.size, row.box, row.genuine, row.track))
            if b.taught:
                wanted.append(b.view("wanted", kb, row.search[1]))
            if b.peers:
                peers.append(self._peer(row))
        return collate(rows, self.start, wanted, peers)

    def _peer(self, row: PairRow) -> tuple[Vector, Vector]:
        """(H, W) scores and (4,) box of a peer for a pair: the box is jittered like the labelled one; NaN if the peer
        has not seen the two together."""
        part, k = self._find(row.search[0])
        place = row.template[1] * part.views[1] + row.search[1]
        score = np.array(part.view(SCORES, k, place)[0], np.float32)
        box = np.array(part.view(BOXES, k, place)[:, 0, 0], np.float32)
        if row.template[0] != row.search[0]:
            return np.full_like(score, np.nan), np.full_like(box, np.nan)
        drawn = part.boxes[k, row.search[1]]
        factor = (row.box[2:] - row.box[:2]) / np.maximum(drawn[2:] - drawn[:2], 1e-6)
        centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
        return score, np.concatenate([centre - half, centre + half]).astype(np.float32)

    def _rows(self, step: int, rank: int, world: int) -> Iterator[PairRow]:
        """The pairs of a batch, without their images."""
        views = self._parts[0].views
        picks = draw(self.seed, step, self.batch_size, self.samples, views, self.config.negative_pairs)
        share = share_of(self.batch_size, rank, world)
        for number, p in enumerate(picks[share], share.start):
            other = (
                p.sample
                if p.other == p.sample
                else self._negative(p.sample, p.other, np.random.default_rng([self.seed, step, number]))
            )
            (a, ka), (b, kb) = self._find(p.sample), self._find(other)
            genuine = bool(other == p.sample and b.present[kb, p.search])
            size, box = self._jittered(a.targets[ka, p.template], b.boxes[kb, p.search], step, number)
            yield PairRow((p.sample, p.template), (other, p.search), size, box, genuine, int(a.tracks[ka]))

    def _jittered(self, size: Vector, box: Vector, step: int, number: int) -> tuple[Vector, Vector]:
        if not self.config.box_jitter:
            return size, box
        return jitter_boxes(size, box, self.config.box_jitter, np.random.default_rng([self.seed, step, number, 1]))

    def _negative(self, sample: int, drawn: int, rng: np.random.Generator) -> int:
        """The sample whose search is combined with a template in a negative pair: the drawn one or a look-alike; never
        the same target if `distinct`."""
        c = self.config
        if c.same_kind and self._kinds[sample] and rng.random() < c.same_kind:
            alike = np.flatnonzero((self._kinds == self._kinds[sample]) & (self._tracks != self._tracks[sample]))
            if len(alike):
                return int(alike[int(rng.integers(len(alike)))])
        if not c.distinct or self._tracks[sample] != self._tracks[drawn]:
            return drawn
        if not self._several:
            return sample
        others = np.flatnonzero(self._tracks != self._tracks[sample])
        return int(others[int(rng.integers(len(others)))])

    def _find(self, sample: int) -> tuple[PackedSamples, int]:
        part = int(np.searchsorted(self._ends, sample, side="right"))
        return self._parts[part], sample - (int(self._ends[part - 1]) if part else 0)


def read_shards(config: PairConfig) -> list[Shard]:
    """The shards of a cache.

    Raises:
        DataError: It holds none, or a damaged one.
    """
    folder = Path(config.cache.path)
    wanted = -(-config.cache.groups // config.cache.shard)
    shards = [Shard(p) for p in (shard_path(folder, n) for n in range(wanted)) if p.is_file()]
    if not shards:
        raise DataError(f"The cache {folder} holds no shards; run `siamtrack prepare` with this configuration first.")
    if len(shards) < wanted:
        logger.warning("the cache %s holds %d of %d shards: training on these", folder, len(shards), wanted)
    return shards


class CachedPairs(SamplePairs):
    """Pairs from a cache of samples.

    Raises:
        DataError: It contains no shards, or a damaged one.
    """

    def __init__(self, config: PairConfig, batch_size: int, seed: int) -> None:
        super().__init__(read_shards(config), config, batch_size, seed, config.cache.stage)


class LivePairs:
    """Pairs made from the raw data in each step: unlimited variety, at the cost of decoding and warping."""

    def __init__(self, config: PairConfig, model: Config, batch_size: int, seed: int) -> None:
        self.config, self.batch_size, self.seed = config, batch_size, seed
        material = merge(config.material, {"templates": 1, "searches": 1})
        self.mixture = build_mixture(material, model.model, model.tracking.context, frame_store(config.cache))

    def batch(self, step: int, rank: int, world: int) -> PairBatch:
        """See `tracker.training.data.batch.PairSource`."""
        rows: list[tuple[Any, ...]] = []
        share = share_of(self.batch_size, rank, world)
        for a, b, genuine in self.pairs(step, rank, world):
            template, search = a.templates[0].transpose(2, 0, 1), b.searches[0].transpose(2, 0, 1)
            size, box = a.targets[0], b.boxes[0]
            if self.config.box_jitter:
                size, box = jitter_boxes(
                    size,
                    box,
                    self.config.box_jitter,
                    np.random.default_rng([self.seed, step, share.start + len(rows), 1]),
                )
            rows.append((template, search, size, box, genuine, np.int64(track_number(a.identity))))
        return collate(rows, 0)

    def pairs(self, step: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Sample, Sample, bool]]:
        """The pairs of a batch: the sample of the template, that of the search, and whether they show the same
        target."""
        picks = draw(self.seed, step, self.batch_size, 2**31, (1, 1), self.config.negative_pairs)
        share = share_of(self.batch_size, rank, world)
        for number, p in enumerate(picks[share], share.start):
            a = self.mixture.sample(np.random.default_rng([self.seed, p.sample]))
            b = a
            if p.other != p.sample:
                b = self._negative(a, p.other, np.random.default_rng([self.seed, step, number]))
            yield a, b, bool(a is b and a.present[0])

    def _negative(self, sample: Sample, drawn: int, rng: np.random.Generator) -> Sample:
        """As in SamplePairs."""
        if self.config.same_kind and rng.random() < self.config.same_kind:
            rival = self.mixture.rival(sample, rng)
            if rival is not None:
                return rival
        for _ in range(20):
            other = self.mixture.sample(np.random.default_rng([self.seed, drawn]))
            if not self.config.distinct or other.identity != sample.identity:
                return other
            drawn = int(rng.integers(2**31))
        return sample
