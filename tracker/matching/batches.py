"""Training batches by step number: balanced classes, pairs or triplets; equal steps give identical batches, whatever
was read before."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tracker.errors import ConfigError
from tracker.matching.augment import vary
from tracker.matching.config import MatchConfig
from tracker.matching.inputs import ImageSample, fit, stack
from tracker.matching.losses import PLACING
from tracker.matching.sources import Classes, Material, read_material
from tracker.matching.strokes import draw
from tracker.matching.tables import Item, Pairs, Triplets
from tracker.matching.text import encode_texts, tokens
from tracker.types import Image

CACHE = 1 << 29
"""Bytes of resized images kept in memory; others are read again."""


@dataclass(frozen=True)
class MatchBatch:
    """One process's share of a batch. Integers stay integers until they are on the device.

    Attributes:
        first: (N, 3, H, W) uint8 images or (N, T, G) int64 texts.
        second: The other side: (N, ...), for triplets (2 N, ...) with positive and negative alternating; None for
            classes of one modality.
        label: (N,) int64 classes.
        score: (N,) float32 in [0, 1]; for pairs.
        kind: classes, pairs or triplets.
    """

    first: Tensor
    second: Tensor | None
    label: Tensor
    score: Tensor
    kind: str

    @property
    def positive(self) -> Tensor:
        """(N,): the items that the trainer counts."""
        return self.label


class MatchSource:
    """Batches of a recipe.

    Args:
        config: The recipe.
        material: The material that it names; None reads it.

    Raises:
        ConfigError: Classes and pairs in one recipe, or too few classes for a batch.
    """

    def __init__(self, config: MatchConfig, material: Sequence[Material] | None = None) -> None:
        self.config, self.input = config, config.model.input
        parts = list(read_material(config.data, self.input) if material is None else material)
        kinds = {type(part) for part in parts}
        if len(kinds) != 1 or (kinds != {Classes} and len(parts) > 1):
            raise ConfigError(
                "A recipe has sources of classes, or one list of pairs or triplets, not both; part them into two "
                "recipes."
            )
        self.parts = parts
        self._cache: dict[str, Image] = {}
        self._bytes, self._lock = 0, threading.Lock()
        if isinstance(parts[0], Classes):
            self._check_classes()
        self.families = [_families(part) if isinstance(part, Classes) else {} for part in parts]

    def _check_classes(self) -> None:
        data = self.config.data
        classes = [part for part in self.parts if isinstance(part, Classes)]
        if len({part.partners is None for part in classes}) > 1:
            raise ConfigError(
                "Aligned pictures and classes of one modality can't be in one recipe; part them into two."
            )
        count = sum(map(len, classes)) * data.turns
        if count < 2 or data.classes > count:
            raise ConfigError(
                f"A batch wants {data.classes} classes, and there are {count}; set data.classes to at most that, two "
                "at least."
            )
        single = classes[0].partners is None and data.samples > 1
        lone = [
            name
            for part in classes
            for name, samples in zip(part.names, part.samples, strict=True)
            if single and len(samples) < 2
        ]
        augment = data.augment
        if lone and not any(
            (augment.rotate, augment.scale, augment.shift, augment.shear, augment.warp, augment.light, augment.noise)
        ):
            raise ConfigError(
                f"The class {lone[0]!r} (one of {len(lone)}) has a single picture, and data.augment makes no second "
                "view of it; add a picture, or set data.augment."
            )

    def batch(self, step: int, rank: int = 0, world: int = 1) -> MatchBatch:
        """The share of process `rank` of `world` in the batch of `step`; see
        `tracker.training.data.batch.PairSource`."""
        rng = np.random.default_rng((self.config.train.seed, step))
        part = self.parts[0]
        if isinstance(part, Classes):
            return self._classes(rng, rank, world)
        size = self.config.train.batch_size
        rows = self._rows(part, size, step)[_share(size, rank, world)]
        seeds = rng.integers(0, 2**31, size)[_share(size, rank, world)]
        label = torch.from_numpy(rows.astype(np.int64))
        if isinstance(part, Pairs):
            swap = rng.random(size)[_share(size, rank, world)] < (0.5 if self.config.model.tied else 0.0)
            sides = [(part.first[k], part.second[k]) for k in rows]
            sides = [(b, a) if s else (a, b) for (a, b), s in zip(sides, swap, strict=True)]
            first, second = (self._read([side[k] for side in sides], seeds + k) for k in (0, 1))
            return MatchBatch(first, second, label, torch.from_numpy(part.score[rows]), "pairs")
        first = self._read([part.anchor[k] for k in rows], seeds)
        both = [item for k in rows for item in (part.positive[k], part.negative[k])]
        second = self._read(both, np.repeat(seeds, 2) + np.tile([1, 2], len(rows)))
        return MatchBatch(first, second, label, torch.zeros(len(rows)), "triplets")

    def _rows(self, part: Pairs | Triplets, size: int, step: int) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Row numbers of a step: each epoch has a new order, so that all rows are used equally often. Labels are
        balanced."""
        if isinstance(part, Pairs) and part.binary and 0 < part.score.mean() < 1:
            rng = np.random.default_rng((self.config.train.seed, step, 1))
            sides = [np.flatnonzero(part.score >= 0.5), np.flatnonzero(part.score < 0.5)]
            return np.concatenate(
                [rng.choice(side, n) for side, n in zip(sides, (size // 2, size - size // 2), strict=True)]
            )
        count = len(part)
        numbers = np.arange(step * size, (step + 1) * size)
        epochs, places = numbers // count, numbers % count
        orders = {
            e: np.random.default_rng((self.config.train.seed, int(e), 2)).permutation(count) for e in np.unique(epochs)
        }
        return np.array([orders[e][p] for e, p in zip(epochs, places, strict=True)], dtype=np.intp)

    def _classes(self, rng: np.random.Generator, rank: int, world: int) -> MatchBatch:
        data = self.config.data
        plan: list[tuple[Classes, int, int, int]] = []  # part, class, picture, quarter turn
        labels = []
        for number, (p, k, turn) in enumerate(self._choose(rng)):
            part = self.parts[p]
            assert isinstance(part, Classes)
            count = len(part.samples[k])
            picked = rng.choice(count, data.samples, replace=count < data.samples)
            plan += [(part, k, int(s), turn) for s in picked]
            labels += [number] * data.samples
        # Within a batch the class number suffices; a memory needs numbers that are stable across batches.
        if self.config.loss.memory:
            labels = [self._number(part, k, turn) for part, k, _, turn in plan]
        seeds = rng.integers(0, 2**31, len(plan))
        mine = range(len(plan))[_share(len(plan), rank, world)]
        first = stack(
            [
                self._view(
                    plan[j][0].samples[plan[j][1]][plan[j][2]],
                    plan[j][0].strokes,
                    plan[j][3],
                    int(seeds[j]),
                    None if plan[j][0].partners is None else 0,
                )
                for j in mine
            ]
        )
        second = None
        if plan[0][0].partners is not None:
            # The same seed: aligned images stay aligned.
            second = stack(
                [
                    self._view(part.partners[k][s], False, turn, int(seeds[j]), 1)
                    for j in mine
                    for part, k, s, turn in [plan[j]]
                    if part.partners
                ]
            )
        label = torch.tensor([labels[j] for j in mine], dtype=torch.int64)
        return MatchBatch(first, second, label, torch.zeros(len(label)), "classes")

    def _number(self, part: Classes, k: int, turn: int) -> int:
        before = sum(len(p) for p in self.parts[: next(n for n, p in enumerate(self.parts) if p is part)])
        return (before + k) * self.config.data.turns + turn

    def _choose(self, rng: np.random.Generator) -> list[tuple[int, int, int]]:
        """(part, class, turn) for each class of a batch, without repetition."""
        data = self.config.data
        parts = [part for part in self.parts if isinstance(part, Classes)]
        weights = np.array([part.weight for part in parts])
        wanted = rng.multinomial(data.classes, weights / weights.sum())
        wanted = np.minimum(wanted, [len(part) * data.turns for part in parts])
        while wanted.sum() < data.classes:  # a small part is exhausted: the others fill up
            p = int(rng.integers(len(parts)))
            wanted[p] += int(wanted[p] < len(parts[p]) * data.turns)
        out = []
        for p, count in enumerate(wanted):
            pool = np.arange(len(parts[p]) * data.turns)
            first: list[int] = []
            families = self.families[p]
            if data.siblings and families and count > 1:
                members = families[sorted(families)[int(rng.integers(len(families)))]]
                turn = int(rng.integers(data.turns))
                near = [m * data.turns + turn for m in members]
                first = list(rng.permutation(near)[: round(count * data.siblings)])
            others = rng.permutation(np.setdiff1d(pool, first))[: count - len(first)]
            out += [(p, int(c) // data.turns, int(c) % data.turns) for c in [*first, *others]]
        return out

    def _read(self, items: Sequence[Item], seeds: Any) -> Tensor:
        if self.input.modality == "text":
            texts = [self._drop_words(str(item), int(seed)) for item, seed in zip(items, seeds, strict=True)]
            return encode_texts(texts, self.input)
        return stack(
            [
                self._view(item, False, 0, int(s))
                for item, s in zip(items, seeds, strict=True)
                if isinstance(item, ImageSample)
            ]
        )

    def _drop_words(self, text: str, seed: int) -> str:
        share = self.config.data.words
        if not share:
            return text
        words = tokens(text, self.input.unit)
        kept = [
            word for word, p in zip(words, np.random.default_rng(seed).random(len(words)), strict=True) if p >= share
        ]
        return (" " if self.input.unit == "word" else "").join(kept or words)

    def _view(self, sample: ImageSample, strokes: bool, turn: int, seed: int, side: int | None = None) -> Image:
        """A random view; for aligned images each side has its own brightness, noise and tone."""
        image = np.ascontiguousarray(np.rot90(self._fitted(sample, strokes), turn))
        own = None if side is None else np.random.default_rng((seed, side))
        return vary(image, self.config.data.augment, np.random.default_rng(seed), own)

    def _fitted(self, sample: ImageSample, strokes: bool) -> Image:
        key = f"{sample}{sample.box or ''}"
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        image = draw(int(str(sample.path)), int(sample.member)) if strokes else sample.read()
        # The search image is larger than the encoder's input for an object.
        image = image if self.config.loss.name == PLACING else fit(image, self.input)
        with self._lock:
            if self._bytes + image.nbytes <= CACHE and key not in self._cache:
                self._cache[key], self._bytes = image, self._bytes + image.nbytes
        return image


def _share(count: int, rank: int, world: int) -> slice:
    return slice(rank * count // world, (rank + 1) * count // world)


def _families(part: Classes) -> dict[str, list[int]]:
    """Classes grouped by their parent folder, if that has at least two."""
    found: dict[str, list[int]] = {}
    for k, name in enumerate(part.names):
        if "/" in name:
            found.setdefault(name.rsplit("/", 1)[0], []).append(k)
    return {name: members for name, members in found.items() if len(members) > 1}
