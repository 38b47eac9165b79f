"""Another tracker as a teacher: its scores and boxes for each pair of a sample, cached for the losses "peer-score" and
"peer-box".

The tracker is external: a recipe names a callable of the user, `module:name`, that loads its files. A search is
combined with templates of its own sample only, so the answers can be cached; for pairs across samples there is none.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.errors import ConfigError
from tracker.model.backbones import build_backbone
from tracker.model_config import ModelConfig
from tracker.training.data.samples import Sample
from tracker.training.losses.labels import Grid
from tracker.types import Image

SCORES, BOXES = "peer_scores", "peer_boxes"
"""Names of the arrays in a shard."""


class Answer(NamedTuple):
    """The answer of a peer for one search.

    Attributes:
        score: (h, w) logits, high where the target is.
        xs, ys: (w,) and (h,) positions of its cells, in pixels of the search (continuous, 0 is its left edge),
            ascending.
        boxes: (4, h, w) left, top, right, bottom of the target predicted by each cell, in pixels of the search.
    """

    score: ArrayLike
    xs: ArrayLike
    ys: ArrayLike
    boxes: ArrayLike


class Peer(Protocol):
    """The interface of the external tracker: matches one template with some searches."""

    def __call__(
        self, template: Image, size: NDArray[np.float32], searches: Sequence[Image]
    ) -> Sequence[Answer | tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]]:
        """One answer for each search.

        Args:
            template: (n, n, 3) BGR; the target is at its centre.
            size: (2,) its width and height in pixels of the template.
            searches: (m, m, 3) BGR each, at the template's scale.
        """


def load_peer(name: str, files: Sequence[str]) -> Peer:
    """The peer that a recipe names.

    Args:
        name: `module:name`; called with `files` it gives a `Peer`. Its code is run, so it must be trusted.
        files: Paths of its networks.

    Raises:
        ConfigError: It can't be imported or made, or a file is missing.
    """
    for file in files:
        if not Path(file).is_file():
            raise ConfigError(f"train.data.cache.peer_files names {file}, which is no file; give the peer's networks.")
    try:
        return cast(Peer, getattr(_module(name), name.partition(":")[2])(list(files)))
    except ConfigError:
        raise
    except Exception as error:  # external code can raise anything
        raise ConfigError(
            f"The peer {name!r} can't be made of {len(files)} files: {type(error).__name__}: {error}."
        ) from error


def peer_content(name: str, files: Sequence[str]) -> list[Path]:
    """The files that determine a peer's answers: its code and its networks."""
    return [Path(str(_module(name).__file__)), *map(Path, files)]


def _module(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
        if not callable(getattr(found, attribute, None)):
            raise ImportError(f"it has no callable {attribute!r}")
        return found
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"train.data.cache.peer={name!r} can't be imported ({error}); write module:name, its folder being on "
            "PYTHONPATH."
        ) from None


def score_grid(model: ModelConfig) -> Grid:
    """The positions of the cells of a model's response in a search."""
    import torch

    network = build_backbone(model.backbone).eval()
    with torch.no_grad():
        cells, kernel = (
            network(torch.zeros(1, 3, size, size)).shape[-1] for size in (model.search_size, model.template_size)
        )
    count = cells if network.padded else cells - kernel + 1
    places = model.search_size / 2 + network.stride * (torch.arange(count) - (count - 1) / 2)
    return Grid(places, places, float(network.stride))


def peer_arrays(name: str, peer: Peer, samples: Sequence[Sample], grid: Grid) -> dict[str, NDArray[Any]]:
    """The answers of a peer for every template with every search of its sample.

    Args:
        name: Its name, for error messages.
        peer: Called once for each template.
        samples: G samples of T templates and S searches.
        grid: Positions at which its scores are sampled.

    Returns:
        peer_scores (G, T * S, 1, H, W) float16, NaN outside its map, and peer_boxes (G, T * S, 4, 1, 1) float32, the
        box of its highest score.

    Raises:
        ConfigError: It fails, or returns something other than an `Answer`.
    """
    scores, boxes = [], []
    for sample in samples:
        answers = []
        for template, size in zip(sample.templates, sample.targets, strict=True):
            said = _asked(name, peer, template, size, sample.searches)
            if len(said) != len(sample.searches):
                raise ConfigError(
                    f"The peer {name!r} gave {len(said)} answers on {len(sample.searches)} searches; it must give one "
                    "on each."
                )
            answers += [_read(name, answer) for answer in said]
        scores.append([_resampled(score, xs, ys, grid) for score, xs, ys, _ in answers])
        boxes.append([box for *_, box in answers])
    return {
        SCORES: np.asarray(scores, np.float16)[:, :, None],
        BOXES: np.asarray(boxes, np.float32)[..., None, None],
    }


Vector = NDArray[np.float64]


def _asked(name: str, peer: Peer, template: Image, size: NDArray[np.float32], searches: Sequence[Image]) -> list[Any]:
    try:
        return list(peer(template, size, searches))
    except Exception as error:  # external code can raise anything
        raise ConfigError(f"The peer {name!r} failed on a pair: {type(error).__name__}: {error}.") from error


def _read(name: str, answer: Any) -> tuple[Vector, Vector, Vector, Vector]:
    """Score, positions and the box of the peak as float64, checked."""
    try:
        s, x, y, b = (np.asarray(values, np.float64) for values in answer)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The peer {name!r} gave no score, xs, ys and boxes ({error}); see tracker.training.data.peers.Answer."
        ) from None
    fits = s.ndim == 2 and (y.shape, x.shape, b.shape) == ((s.shape[0],), (s.shape[1],), (4, *s.shape))
    if not (fits and np.isfinite(s).all() and min(s.shape) > 1 and (np.diff(x) > 0).all() and (np.diff(y) > 0).all()):
        raise ConfigError(
            f"The peer {name!r} gave score {s.shape}, xs {x.shape}, ys {y.shape}, boxes {b.shape}; they must be finite "
            "(h, w), ascending (w,) and (h,), and (4, h, w)."
        )
    return s, x, y, b.reshape(4, -1)[:, s.argmax()]


def _resampled(score: Vector, xs: Vector, ys: Vector, grid: Grid) -> Vector:
    """A map sampled at the positions of a grid, bilinear; NaN more than half a cell outside it."""
    down, across = _weights(ys, grid.ys.numpy()), _weights(xs, grid.xs.numpy())
    return down @ np.clip(score, -100, 100) @ across.T


def _weights(cells: Vector, places: NDArray[Any]) -> Vector:
    """(N, n) interpolation weights of the two cells around each position; NaN outside."""
    at = np.interp(places, cells, np.arange(len(cells)))
    weights = np.maximum(1 - np.abs(at[:, None] - np.arange(len(cells))), 0)
    beyond = (places < cells[0] - (cells[1] - cells[0]) / 2) | (places > cells[-1] + (cells[-1] - cells[-2]) / 2)
    weights[beyond] = np.nan
    return weights
