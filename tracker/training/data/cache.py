"""Cached samples: as JPEG images, or as features of the frozen lower stages of a backbone.

Decoding, warping and the lower stages are most of the cost of a training step on a CPU. A cache is a folder of shards,
each determined by (seed, shard number) alone, so that an interrupted preparation can continue, and several processes
can share the work. `cache.json` holds the fingerprint of the recipe; a cache of another recipe is refused, never
mixed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.config_merge import to_dict
from tracker.errors import OutputError
from tracker.files import atomic, content_of, write_atomic
from tracker.media.images import encode_image
from tracker.model.checkpoint import find_weights
from tracker.model_config import ModelConfig
from tracker.settings import LARGEST, LARGEST_SEED, Checked, setting
from tracker.training.data.cached_features import embed_views, frozen_stages, taught
from tracker.training.data.mixture import Mixture
from tracker.training.data.peers import load_peer, peer_arrays, peer_content, score_grid
from tracker.training.data.samples import Sample
from tracker.training.data.sources import DataConfig, build_mixture
from tracker.types import Image

logger = logging.getLogger(__name__)

INDEX = "cache.json"
LATER = {"distractors": 0.0}
LATER_AUGMENT = {"turn": 0.0, "bend": 0.0, "far": 0.0}
"""Fields of DataConfig and AugmentConfig added after the first caches, with their neutral values."""


@dataclass(frozen=True)
class CacheConfig(Checked, section="train.data.cache"):
    """What to cache."""

    path: str = setting("cache", help="Folder of the cache.")
    stage: int = setting(
        0,
        0,
        64,
        "stages",
        "0 keeps pictures; k keeps the output of the backbone's first k stages, which must stay frozen in training.",
    )
    groups: int = setting(20000, 1, LARGEST, "groups", "Number of samples in the cache.")
    shard: int = setting(100, 1, 1_000_000, "groups", "Samples per file.")
    quality: int = setting(92, 1, 100, help="JPEG quality of cached images.")
    seed: int = setting(0, 0, LARGEST_SEED, help="Seed of the samples.")
    weights: str = setting(
        "",
        help="""Model whose backbone gives the features of a stage above 0: a shipped model or a checkpoint; "": the
        ImageNet weights. Training must then start from the same (`siamtrack train --init`).""",
    )
    teacher: str = setting(
        "", help='Model whose embedding of each search is kept for the loss "distillation"; "": none.'
    )
    peer: str = setting(
        "",
        help="""Another tracker whose scores and boxes of each pair are kept for the losses "peer-score" and "peer-box":
        module:name of a callable that makes it of `peer_files`, its folder being on PYTHONPATH; "": none. Its code is
        run (`tracker.training.data.peers`).""",
    )
    peer_files: list[str] = setting(factory=list, help="Its networks.")


def fingerprint(cache: CacheConfig, data: DataConfig, model: ModelConfig) -> str:
    """A short hash of everything that determines the content of a cache (not its path, nor its number of samples)."""
    what: dict[str, Any] = {"cache": to_dict(cache), "data": to_dict(data)}
    for key in ("path", "groups"):
        del what["cache"][key]
    if not cache.weights or cache.stage == 0:
        del what["cache"]["weights"]
    if not cache.teacher:
        del what["cache"]["teacher"]
    del what["cache"]["peer_files"]  # their content counts (`material_key`), not their path
    if not cache.peer:
        del what["cache"]["peer"]
    for key in ("root", "on_bad_file"):  # its path, and what is left out, is not part of the content
        del what["data"][key]
    for key, default in LATER.items():  # recipes that don't use later fields keep their caches
        if what["data"][key] == default:
            del what["data"][key]
    for key, default in LATER_AUGMENT.items():
        if what["data"]["augment"][key] == default:
            del what["data"]["augment"][key]
    keys = (
        ("template_size", "search_size", "backbone")
        if cache.stage or cache.teacher or cache.peer
        else ("template_size", "search_size")
    )
    what["model"] = {key: getattr(model, key) for key in keys}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def material_key(cache: CacheConfig, mixture: Mixture) -> str:
    """A key of the data behind a cache: images, boxes, and the weights that computed its features."""
    used = [name for name in (cache.weights if cache.stage else "", cache.teacher) if name]
    files = [find_weights(name) for name in used]
    if cache.peer:
        files += peer_content(cache.peer, cache.peer_files)
    return content_of(files, mixture.content().encode())


def read_index(index: Path) -> dict[str, str]:
    """The recipe and data keys in `cache.json`; empty if the file is damaged, so that the cache is made again."""
    try:
        known = json.loads(index.read_text(encoding="utf-8"))
        return {key: known[key] for key in ("fingerprint", "content") if isinstance(known.get(key), str)}
    except (OSError, ValueError, AttributeError, RecursionError):
        logger.warning("%s can't be read; the cache is taken for one of another recipe.", index)
        return {}


def open_index(cache: CacheConfig, data: DataConfig, model: ModelConfig, content: str = "") -> Path:
    """Opens or creates the cache's folder; shards that were made from other images or boxes are removed.

    Args:
        cache, data, model: The recipe.
        content: `material_key` of the present data; "" skips the check.

    Raises:
        OutputError: It contains a cache of another recipe, or can't be written.
    """
    folder, mark = Path(cache.path), fingerprint(cache, data, model)
    index = folder / INDEX
    known = read_index(index) if index.is_file() else {}
    damaged = index.is_file() and "fingerprint" not in known
    if damaged and next(folder.glob("shard_*.npz"), None) is not None:
        raise OutputError(
            f"The cache {folder} holds shards, but {INDEX}, which says of what recipe, is damaged; "
            "remove the folder or name another train.data.cache.path."
        )
    if known.get("fingerprint", mark) != mark:
        raise OutputError(
            f"The cache {folder} was made from another recipe ({known['fingerprint']}, this one is {mark}); "
            "remove it or name another train.data.cache.path."
        )
    if known.get("fingerprint") == mark and known.get("content", content) == content:
        if "content" not in known and content:
            logger.warning(
                "%s doesn't say what its shards were cut from; they are taken for those of the data as they are now.",
                index,
            )
        elif known.get("content", "") or not content:
            return folder
    elif index.is_file() and not damaged:
        logger.warning(
            "The data behind the cache %s changed (pictures, boxes or weights): its shards are made again.", folder
        )
        for shard in folder.glob("shard_*.npz"):
            shard.unlink()
    table = {"fingerprint": mark, "content": content, "cache": to_dict(cache), "data": to_dict(data)}
    write_atomic(index, json.dumps(table, indent=1))
    return folder


def frame_store(cache: CacheConfig) -> Path:
    """Folder for the decoded frames of videos: beside the cache, shared by all caches there."""
    return Path(cache.path).parent / "frames"


def shard_path(folder: Path, number: int) -> Path:
    """The file of one shard."""
    return folder / f"shard_{number:05d}.npz"


class ShardMaker:
    """Makes shards; one instance per process.

    Args:
        cache, data, model: The recipe.
        context: Margin around the box, as a fraction of w + h.
        store: Folder for the decoded frames of videos; beside the cache where None.
    """

    def __init__(
        self, cache: CacheConfig, data: DataConfig, model: ModelConfig, context: float, store: Path | None = None
    ) -> None:
        self.cache, self.model = cache, model
        self.mixture = build_mixture(data, model, context, store or frame_store(cache))
        self.embed = frozen_stages(model.backbone, cache.stage, cache.weights) if cache.stage else None
        self.teach = taught(cache.teacher, model) if cache.teacher else None
        self.peer = load_peer(cache.peer, cache.peer_files) if cache.peer else None
        self.grid = score_grid(model) if cache.peer else None

    def make(self, number: int) -> Path:
        """Writes shard `number`, atomically; an existing one stays."""
        path = shard_path(Path(self.cache.path), number)
        if path.is_file():
            return path
        count = min(self.cache.shard, self.cache.groups - number * self.cache.shard)
        samples = [self.mixture.sample(np.random.default_rng([self.cache.seed, number, k])) for k in range(count)]
        arrays = self.arrays(samples)
        try:
            with atomic(path) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        except OutputError as error:
            raise OutputError(
                f"The shard {path} can't be written: {error} The shards before it are kept; run the command again."
            ) from None
        return path

    def arrays(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """The arrays of a shard; see `tracker.training.data.shards`."""
        arrays: dict[str, NDArray[Any]] = sample_labels(samples)
        for name in ("templates", "searches"):
            pictures = [getattr(g, name) for g in samples]
            arrays.update(embed_views(name, pictures, self.embed) if self.embed else self._jpegs(name, pictures))
        if self.teach:
            arrays.update(embed_views("wanted", [g.searches for g in samples], self.teach))
        if self.peer and self.grid:
            arrays.update(peer_arrays(self.cache.peer, self.peer, samples, self.grid))
        return arrays

    def _jpegs(self, name: str, pictures: Sequence[Sequence[Image]]) -> dict[str, NDArray[Any]]:
        codes = [encode_image(p, quality=self.cache.quality) for views in pictures for p in views]
        ends = np.cumsum([len(c) for c in codes])
        return {name: np.frombuffer(b"".join(codes), np.uint8), f"{name}_ends": ends.reshape(len(pictures), -1)}


def sample_labels(samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    """All labels of some samples, without the images."""
    return {
        "targets": np.stack([g.targets for g in samples]),
        "boxes": np.stack([g.boxes for g in samples]),
        "present": np.stack([g.present for g in samples]),
        "tracks": np.array([track_number(g.identity) for g in samples], dtype=np.int64),
        "kinds": np.array([track_number(g.kind) if g.kind else 0 for g in samples], dtype=np.int64),
    }


def track_number(label: str) -> int:
    """A number for a target's label, equal on every machine."""
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:7], "big")
