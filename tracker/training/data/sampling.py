"""The pairs of a batch: a pure function of seed and step, divided among processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.errors import ConfigError
from tracker.settings import Checked, setting
from tracker.training.data.batch import PairBatch
from tracker.training.data.cache import CacheConfig
from tracker.training.data.device_moves import DeviceMoves
from tracker.training.data.sources import DataConfig


@dataclass(frozen=True)
class PairConfig(Checked, section="train.data"):
    """The `train.data` section of a recipe.

    Attributes:
        negative_pairs: Fraction of pairs whose search shows another target.
        same_kind: Fraction of these whose other target is of the same class, if there is one.
        distinct: A negative pair never shows the template's own target at another time. False: it may, by chance.
        box_jitter: Standard deviation of the logarithm of a factor on width and height, common to both boxes of a pair:
            the head learns to predict boxes in the style of the template's box (`model.relative_boxes`).
        resident: Whether the whole cache is held on the device, where batches are gathered as stored (uint8, float16),
            and `moves` are applied there. auto: with CUDA, if it fits.
        moves: Augmentation on the device, anew in each step; needs `resident`.
        use_cache: False makes samples anew for every step.
        material: The data behind the samples.
        cache: The prepared samples; used if `use_cache`.
    """

    negative_pairs: float = setting(0.15, 0, 1)
    same_kind: float = setting(0.0, 0, 1)
    distinct: bool = setting(True)
    box_jitter: float = setting(0.0, 0, 2)
    resident: str = setting("auto", choices=("auto", "on", "off"))
    moves: DeviceMoves = setting(factory=DeviceMoves)
    use_cache: bool = setting(True)
    material: DataConfig = setting(factory=DataConfig)
    cache: CacheConfig = setting(factory=CacheConfig)


@dataclass(frozen=True)
class Pick:
    """One pair: sample and view of the template, sample and view of the search."""

    sample: int
    template: int
    other: int
    search: int


def draw(seed: int, step: int, batch: int, samples: int, views: tuple[int, int], negative_pairs: float) -> list[Pick]:
    """The picks of the whole batch of one step, before it is divided among processes."""
    rng = np.random.default_rng([seed, step])
    picks = []
    for _ in range(batch):
        sample = int(rng.integers(samples))
        other = int(rng.integers(samples)) if rng.random() < negative_pairs else sample
        picks.append(Pick(sample, int(rng.integers(views[0])), other, int(rng.integers(views[1]))))
    return picks


def jitter_boxes(
    size: NDArray[np.float32], box: NDArray[np.float32], strength: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The boxes of a pair as another annotator might have drawn them: both scaled in width and height by the same
    factors.

    Args:
        size: (2,) width and height of the target in the template.
        box: (4,) xyxy in the search.
        strength: Standard deviation of the factors' logarithms.
        rng: Random generator of the factors.

    Returns:
        Both boxes, with unchanged centres.
    """
    factor = np.exp(np.clip(rng.normal(size=2), -2, 2) * strength)
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return (size * factor).astype(np.float32), np.concatenate([centre - half, centre + half]).astype(np.float32)


def share_of(total: int, rank: int, world: int) -> slice:
    """The part of a batch that belongs to a rank; the concatenated parts are the batch."""
    if total % world:
        raise ConfigError(
            f"The batch of {total} pairs can't be shared by {world} processes; take a multiple of {world}."
        )
    return slice(rank * total // world, (rank + 1) * total // world)


def collate(
    rows: list[tuple[Any, ...]],
    start: int,
    target: Sequence[NDArray[Any]] = (),
    peers: Sequence[tuple[NDArray[Any], NDArray[Any]]] = (),
) -> PairBatch:
    """Stacks pairs to a batch, each in the order of `PairBatch`'s fields up to `track`.

    Images stay uint8 and features as they were stored: a quarter or half of the bytes to move to a device.
    """
    templates, searches, sizes, boxes, positive, tracks = zip(*rows, strict=True)
    return PairBatch(
        template=torch.from_numpy(np.stack(templates)),
        search=torch.from_numpy(np.stack(searches)),
        template_size=torch.from_numpy(np.stack(sizes)).float(),
        box=torch.from_numpy(np.stack(boxes)).float(),
        positive=torch.tensor(positive),
        track=torch.from_numpy(np.array(tracks, dtype=np.int64)),
        start=start,
        distillation_target=torch.from_numpy(np.stack(target)) if target else None,
        peer_score=torch.from_numpy(np.stack([score for score, _ in peers])) if peers else None,
        peer_box=torch.from_numpy(np.stack([box for _, box in peers])) if peers else None,
    )
