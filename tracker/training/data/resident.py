"""Pairs from a cache held entirely on the device: batches are gathered and augmented there.

On an H100 the process that stacked float32 batches for the GPU limited the speed of training. Here a step costs the
host only a few numbers. The same class on a CPU is how it is tested; it pays with CUDA.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training.data.batch import PairBatch
from tracker.training.data.device_moves import drawn, move_boxes, move_pictures
from tracker.training.data.pairs import SamplePairs
from tracker.training.data.sampling import PairConfig, share_of
from tracker.training.data.shards import PackedSamples

logger = logging.getLogger(__name__)

SHARE = 0.7
"""Fraction of the device's free memory that the data may use; network, gradients and activations need the rest."""


class ResidentPairs(SamplePairs):
    """`SamplePairs` on a device: identical pairs, except for the augmentation of `train.data.moves`.

    Args:
        parts: The samples; read once.
        config, batch_size, seed, start: As in `SamplePairs`.
        device: Their device.

    Attributes:
        resident: True: there is nothing to prepare for a worker (`tracker.training.data.loader`).

    Raises:
        ConfigError: `train.data.moves` is set for features.
    """

    resident = True

    def __init__(
        self,
        parts: Sequence[PackedSamples],
        config: PairConfig,
        batch_size: int,
        seed: int,
        start: int,
        device: torch.device,
    ) -> None:
        super().__init__(parts, config, batch_size, seed, start)
        if config.moves.any and start:
            raise ConfigError(
                f"train.data.moves changes pictures, but the cache holds features (train.data.cache.stage={start}); "
                "set all of train.data.moves to 0, or prepare a cache of pictures with train.data.cache.stage=0."
            )
        self._peers = all(part.peers for part in parts)
        if config.moves.any and self._peers:
            raise ConfigError(
                "train.data.moves changes pictures, and what a peer said of them (train.data.cache.peer) would no "
                "longer fit; set all of train.data.moves to 0, or prepare a cache without a peer."
            )
        self.device = device
        names = ("templates", "searches", *(("wanted",) if all(part.taught for part in parts) else ()))
        self._on_device = {name: self._load(name) for name in names}

    def batch(self, step: int, rank: int, world: int) -> PairBatch:
        """See `tracker.training.data.batch.PairSource`; the tensors are on the device."""
        rows = list(self._rows(step, rank, world))
        templates, searches = (self._sent(np.array([getattr(row, n) for row in rows])) for n in ("template", "search"))
        labels = np.concatenate([np.stack([row.size for row in rows]), np.stack([row.box for row in rows])], axis=1)
        size, box = self._sent(labels.astype(np.float32)).split([2, 4], 1)
        wanted = self._on_device.get("wanted")
        peers = [self._peer(row) for row in rows] if self._peers else []
        batch = PairBatch(
            template=self._on_device["templates"][templates[:, 0], templates[:, 1]],
            search=self._on_device["searches"][searches[:, 0], searches[:, 1]],
            template_size=size,
            box=box,
            positive=self._sent(np.array([row.genuine for row in rows])),
            track=self._sent(np.array([row.track for row in rows], dtype=np.int64)),
            start=self.start,
            distillation_target=None if wanted is None else wanted[searches[:, 0], searches[:, 1]],
            peer_score=self._sent(np.stack([score for score, _ in peers])) if peers else None,
            peer_box=self._sent(np.stack([box for _, box in peers])) if peers else None,
        )
        if not self.config.moves.any:
            return batch
        share = share_of(self.batch_size, rank, world)
        moves = self._sent(drawn(self.config.moves, self.seed, step, range(share.start, share.stop)))
        return self._moved(batch, moves)

    def _moved(self, batch: PairBatch, moves: Tensor) -> PairBatch:
        turn, x, y, scale, one, other = moves.unbind(1)
        shift, search = torch.stack([x, y], 1), batch.search.float()
        if self.config.moves.turn or self.config.moves.shift or self.config.moves.scale:
            search = move_pictures(search, turn, shift, scale)
        return dataclasses.replace(
            batch,
            template=(batch.template.float() * one[:, None, None, None]).clamp(0, 255),
            search=(search * other[:, None, None, None]).clamp(0, 255),
            box=move_boxes(batch.box, turn, shift, scale, search.shape[-1]),
        )

    def _sent(self, values: NDArray[Any]) -> Tensor:
        """Copies a few numbers to the device asynchronously."""
        tensor = torch.from_numpy(values)
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _load(self, name: str) -> Tensor:
        """(samples, views, C, h, w) as stored: images uint8, features float16."""
        first = np.asarray(self._parts[0].view(name, 0, 0))
        views = self._parts[0].views[0 if name == "templates" else 1]
        whole = torch.empty(
            (self.samples, views, *first.shape), dtype=torch.from_numpy(first.copy()).dtype, device=self.device
        )
        at = 0
        for part in self._parts:
            host = np.empty((part.samples, views, *first.shape), first.dtype)

            def read(sample: int, part: PackedSamples = part, host: NDArray[Any] = host) -> None:
                for view in range(views):
                    host[sample, view] = part.view(name, sample, view)

            with ThreadPoolExecutor(8) as pool:  # decoding releases the interpreter lock
                list(pool.map(read, range(part.samples)))
            whole[at : at + part.samples] = torch.from_numpy(host)
            at += part.samples
        return whole


def bytes_of(parts: Sequence[PackedSamples]) -> int:
    """Memory that the samples take on a device."""
    total = 0
    for name, which in (("templates", 0), ("searches", 1), ("wanted", 1)):
        taught = [part for part in parts if name != "wanted" or part.taught]
        if taught:
            one = np.asarray(taught[0].view(name, 0, 0)).nbytes
            total += one * sum(part.samples * part.views[which] for part in taught)
    return total


def is_resident(config: PairConfig, parts: Sequence[PackedSamples], device: torch.device) -> bool:
    """Whether the samples are held on the device.

    Raises:
        ConfigError: They must be, but don't fit.
    """
    if config.resident == "off" or (config.resident == "auto" and device.type != "cuda"):
        return False
    if device.type != "cuda":
        return True
    needed, free = bytes_of(parts), torch.cuda.mem_get_info(device)[0]
    if needed <= SHARE * free:
        logger.info("The cache lies on %s: %.1f GB of %.1f free.", device, needed / 1e9, free / 1e9)
        return True
    if config.resident == "on":
        raise ConfigError(
            f"train.data.resident is on, but the cache takes {needed / 1e9:.1f} GB and {device} has {free / 1e9:.1f} "
            f"GB free, of which {SHARE:.0%} may go to data; lower train.data.cache.groups, or set "
            "train.data.resident=off."
        )
    logger.info("The cache stays on the host: %.1f GB, and %s has %.1f free.", needed / 1e9, device, free / 1e9)
    return False
