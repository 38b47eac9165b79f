"""The user's interface: embed, compare, verify; images or texts, with a shipped model or any other."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.errors import ConfigError, DeviceError, ImageError
from tracker.matching.calibration import Calibration
from tracker.matching.inputs import ImageSample, Region, as_batch, open_picture
from tracker.matching.store import WEIGHTS, StoredMatcher, find_matcher, is_matcher, load_matcher
from tracker.tracking.embedding import embed_views, view_of
from tracker.tracking.observer import Observer
from tracker.tracking.tracker import SiamTracker, fingerprint

Embeddings = NDArray[np.float32]
BATCH = 64
"""Number of items per batch of an encoder."""


@dataclass(frozen=True)
class Verdict:
    """The decision whether two inputs show the same object.

    Attributes:
        similarity: By the matcher's energy; higher is more similar.
        probability: That they show the same object, with equal priors; None for a matcher without calibration.
        same: The decision.
        threshold: The least similarity for a positive decision.
        far: The requested false-accept rate: the fraction of pairs of different objects that would be accepted.
    """

    similarity: float
    probability: float | None
    same: bool
    threshold: float
    far: float


class Matcher:
    """A Siamese matcher of any modality.

    Args:
        name: Name of the model.
        encode: Function of side (0 or 1) and a sequence of items -> (B, D).
        energy: cosine, euclidean or dot.
        fingerprint: Embeddings are comparable only if it is equal.
        calibration: The meaning of similarities; None: no probability and no decision.
        tied: Whether both sides share their weights.
        modality: image or text.

    Examples:
        >>> matcher = Matcher.from_pretrained("match-omniglot")
        >>> matcher.similarity(["a.png"], ["b.png", "c.png"]).shape
        (1, 2)
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[int, Sequence[Any]], Embeddings],
        energy: str,
        fingerprint: str,
        calibration: Calibration | None = None,
        tied: bool = True,
        modality: str = "image",
    ) -> None:
        self.name, self.energy, self.fingerprint, self.calibration = name, energy, fingerprint, calibration
        self.tied, self.modality = tied, modality
        self._encode = encode

    @classmethod
    def from_pretrained(cls, name_or_file: str | Path = "siamtrack-s", device: str = "auto") -> Matcher:
        """A matcher by the name of shipped weights or from a file; a tracker's name gives the tracker's own embedding.

        Args:
            name_or_file: match-omniglot, match-sentences, ..., a file of `siamtrack match train`; or siamtrack-s,
                siamtrack-n and checkpoints of trackers, whose embedding compares an object as a whole, by quarters and
                cell by cell.
            device: auto (CUDA when there is one), cpu, cuda or cuda:N.

        Raises:
            WeightsError, DeviceError: With the value, the reason and the next step.
        """
        path = find_matcher(name_or_file)
        if path.suffix == ".safetensors" and is_matcher(path):
            return cls.of(load_matcher(name_or_file), device)
        return cls.of_tracker(SiamTracker.from_pretrained(name_or_file, device))

    @classmethod
    def of_tracker(cls, tracker: SiamTracker) -> Matcher:
        """A matcher from a tracker's weights: its template embedding compares objects at several levels."""
        mark = embedding_mark(tracker)
        return cls(tracker.name, tracker_encoder(tracker), "cosine", mark, stored_calibration(tracker.name))

    @classmethod
    def of(cls, stored: StoredMatcher, device: str = "cpu") -> Matcher:
        """A matcher from loaded encoders."""
        import torch

        where = torch.device(
            "cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else _device(device)
        )
        twins, given = stored.twins.to(where), stored.twins.config.input

        def encode(side: int, items: Sequence[Any]) -> Embeddings:
            with torch.inference_mode():
                vectors = twins.embed(as_batch(items, given).to(where), side)
            return np.asarray(vectors.cpu().numpy(), np.float32)

        return cls(
            stored.name, encode, twins.config.energy, stored.fingerprint, stored.calibration, twins.tied, given.modality
        )

    @classmethod
    def of_function(
        cls, function: Callable[[list[Any]], Any], name: str, energy: str = "cosine", modality: str = "image"
    ) -> Matcher:
        """A matcher from any function from items to embeddings, for example a sentence-transformers model.

        Args:
            function: A list of items -> (B, D) array or tensor.
            name: Identifies its weights in galleries: another model must have another name.
            energy: The similarity of embeddings.
            modality: image or text.
        """

        def encode(side: int, items: Sequence[Any]) -> Embeddings:
            return np.asarray(function(list(items)), np.float32)

        return cls(name, encode, energy, hashlib.sha256(f"function:{name}".encode()).hexdigest(), None, True, modality)

    def embed(self, items: Any, side: int = 0) -> Embeddings:
        """Embeddings of images or texts, computed in batches.

        Args:
            items: One item or a sequence: H x W x 3 BGR uint8 arrays or file names, or texts.
            side: 0 or 1; matters if the two sides have different encoders.

        Returns:
            (B, D) float32, of unit length if the energy is cosine.

        Raises:
            ImageError, SourceError, TextError: An item that can't be read.
        """
        rows = _rows(items)
        if not rows:
            raise ImageError("There is nothing to embed: the list of items is empty.")
        vectors = np.concatenate([self._encode(side, rows[k : k + BATCH]) for k in range(0, len(rows), BATCH)])
        return unit(vectors) if self.energy == "cosine" else vectors

    def similarity(self, a: Any, b: Any) -> NDArray[np.float64]:
        """The similarities of all pairs.

        Args:
            a, b: Items, or (K, D) and (M, D) embeddings of this matcher.

        Returns:
            (K, M): cosine, minus the squared distance, or dot product.
        """
        return compare(self._vectors(a, 0), self._vectors(b, 1), self.energy)

    def verify(self, a: Any, b: Any, far: float = 0.01) -> Verdict:
        """Decides whether two inputs show the same object; of several references on a side the most similar pair
        counts.

        Args:
            a, b: Items or embeddings.
            far: False-accept rate: the fraction of pairs of different objects that may be accepted.

        Raises:
            ConfigError: The matcher has no calibration, or one from too few pairs for that rate.
        """
        return decide(float(self.similarity(a, b).max()), self.calibration, far, self.name)

    def _vectors(self, items: Any, side: int) -> Embeddings:
        if isinstance(items, np.ndarray) and items.ndim == 2 and items.dtype == np.float32:
            return items
        return self.embed(items, side)


def decide(similarity: float, calibration: Calibration | None, far: float, name: str) -> Verdict:
    """Turns a similarity into a verdict.

    Raises:
        ConfigError: There is no calibration, or none for that rate.
    """
    if calibration is None:
        raise ConfigError(
            f"The matcher {name} has no calibration, so that {similarity:.3f} is no probability; `siamtrack match "
            "calibrate` fits one to pictures of known classes."
        )
    threshold = calibration.threshold(far)
    return Verdict(similarity, float(calibration.probability(similarity)), similarity >= threshold, threshold, far)


def unit(vectors: ArrayLike) -> Embeddings:
    """Rows normalised to unit length; zero rows stay."""
    v = np.asarray(vectors, np.float32)
    return np.asarray(v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12), np.float32)


def compare(a: ArrayLike, b: ArrayLike, energy: str) -> NDArray[np.float64]:
    """(K, D), (M, D) -> (K, M) by one matrix product; the formulas of `tracker.matching.twins.pairwise` without
    torch."""
    x, y = np.asarray(a, np.float32), np.asarray(b, np.float32)
    if energy == "cosine":
        x, y = unit(x), unit(y)
    dots = np.asarray(x @ y.T, np.float64)
    if energy == "euclidean":
        return np.asarray(2 * dots - (x * x).sum(1)[:, None] - (y * y).sum(1)[None], np.float64)
    return dots


def _rows(items: Any) -> list[Any]:
    if isinstance(items, (str, Path, Region, ImageSample)) or (isinstance(items, np.ndarray) and items.ndim <= 3):
        return [items]
    return list(items) if isinstance(items, Sequence | np.ndarray) else [items]


def _device(name: str) -> str:
    import torch

    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise DeviceError(f"The device {name!r} is unknown; it is auto, cpu, cuda or cuda:N.")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError(f"The device {name} was asked for, but torch sees no CUDA device here; use --device cpu.")
    return name


EMBEDDING = "pyramid-1-2-cells"
"""Name of the way in which a template becomes a vector (`tracker.tracking.embedding.pyramid`)."""


def tracker_encoder(tracker: SiamTracker) -> Callable[[int, Sequence[Any]], NDArray[np.float32]]:
    """The template embedding of a tracker as the encoder of a matcher: (side, objects) -> one row for each."""

    def encode(side: int, items: Sequence[Any]) -> NDArray[np.float32]:
        return embed_views(tracker.observer, [_view(tracker.observer, item) for item in items])

    return encode


def embedding_mark(tracker: SiamTracker) -> str:
    """The identification that a gallery is bound to: the weights, and how their maps become a vector."""
    projection = tracker.observer.projection
    how = EMBEDDING if projection is None else f"{EMBEDDING}:{projection.mark}"
    return hashlib.sha256(f"{fingerprint(tracker.model)}:{how}".encode()).hexdigest()


def _view(observer: Observer, item: Any) -> Any:
    if isinstance(item, Region):
        return view_of(observer, open_picture(item.image), item.box)
    if isinstance(item, ImageSample) and item.box is not None:
        return view_of(observer, ImageSample(item.path, item.member).read(), item.box)
    return view_of(observer, open_picture(item))


def stored_calibration(name: str) -> Calibration | None:
    """The calibration of a shipped tracker's embedding, from `weights/match-trackers.json`; None for another tracker.

    Raises:
        ConfigError: The file is damaged.
    """
    file = WEIGHTS / "match-trackers.json"
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"The calibration file {file} is damaged ({error}); install the package again.") from None
    return Calibration.from_dict(values[name]) if name in values else None
