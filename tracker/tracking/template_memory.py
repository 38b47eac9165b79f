"""The template bank: the first view of the target, and a few later ones; embedded, compared, saved to a file."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.config import TrackingConfig
from tracker.errors import SourceError, reading
from tracker.files import as_path, atomic, is_file
from tracker.geometry import MOST
from tracker.runtime.base import Engine
from tracker.tracking.similarity import similarity
from tracker.types import Image

logger = logging.getLogger(__name__)

FORMAT = 1

PATIENCE = 4
"""Greatest number of gaps between two checks of a target that shows nothing new: a check costs as much as a frame."""


@dataclass(frozen=True)
class TemplateView:
    """One view of the target.

    Attributes:
        picture: Template crop, BGR uint8 n x n x 3.
        target: (2,) float32 width and height of the target in crop pixels.
        frame: Frames after the first view.
    """

    picture: Image
    target: NDArray[np.float32]
    frame: int = 0


@dataclass
class TemplateBank:
    """Views of one target and their embeddings, the first view always first.

    Attributes:
        views: The stored views.
        templates: Their embeddings, in the engine's form.
        host: (K, C, h, w) float32, the same for comparison.
        first: The first view's embedding alone, in the engine's form.
        uncompared_channels: How many of the last channels of an embedding are not compared; the last of them is the
            fraction of each cell that the target covers (padded backbones). 0: none, and all cells count.
        gaps: Number of usual gaps until the next check: doubled after each that showed nothing new.
    """

    views: list[TemplateView]
    templates: Any
    host: NDArray[np.float32]
    first: Any
    uncompared_channels: int
    gaps: int = 1

    @classmethod
    def of(
        cls,
        engine: Engine,
        views: list[TemplateView],
        host: NDArray[np.float32] | None = None,
        *,
        uncompared_channels: int,
    ) -> TemplateBank:
        """A bank of views; `host` are their embeddings if they are known."""
        if host is None:
            templates = engine.embed_template([v.picture for v in views], np.stack([v.target for v in views]))
            host = engine.to_host(templates)
        else:
            templates = engine.from_host(host)
        first = templates if len(views) == 1 else engine.from_host(host[:1])
        return cls(views, templates, host, first, uncompared_channels)

    def __len__(self) -> int:
        return len(self.views)

    def wants(self, frame: int, score: float, config: TrackingConfig) -> bool:
        """Whether to check a view of this frame with this score: the score is high, and the last check long ago."""
        return (
            config.template_memory.size > 0
            and score >= config.template_memory.score
            and frame - self.views[-1].frame >= config.template_memory.gap * self.gaps
        )

    def add_if_new(self, engine: Engine, view: TemplateView, config: TrackingConfig) -> bool:
        """Adds a view if it shows something new.

        Returns:
            Whether it was added.
        """
        fresh = engine.to_host(engine.embed_template([view.picture], view.target[None]))
        alike = similarity(self.host, fresh, self.uncompared_channels)[:, 0]
        if self.turns_down(view, alike, config):
            return False
        self.add(engine, view, fresh, config)
        return True

    def turns_down(self, view: TemplateView, alike: NDArray[np.float64], config: TrackingConfig) -> bool:
        """Whether a view shows nothing new, or is not reliable; `alike` (K,) is its similarity to the stored views.

        The gap restarts there, so that an unchanging target doesn't cost an embedding per frame.
        """
        if alike.max() <= config.template_memory.similarity and alike[0] >= config.template_memory.least:
            return False
        self.views[-1] = TemplateView(self.views[-1].picture, self.views[-1].target, view.frame)
        self.gaps = min(2 * self.gaps, PATIENCE)
        return True

    def add(self, engine: Engine, view: TemplateView, fresh: NDArray[np.float32], config: TrackingConfig) -> None:
        """Adds a view and its embedding `fresh` (1, C, h, w).

        A full bank drops the later view that is most similar to another one; the first view always stays.
        """
        views, host = [*self.views, view], np.concatenate([self.host, fresh])
        if len(views) > 1 + config.template_memory.size:
            among = similarity(host, host, self.uncompared_channels) - 2 * np.eye(len(host))
            drop = 1 + int(np.argmax(among[1:].max(axis=1)))
            views, host = [v for k, v in enumerate(views) if k != drop], np.delete(host, drop, axis=0)
        self.views, self.host, self.gaps = views, host, 1
        self.templates = engine.from_host(host)

    def likeness(self, embedding: NDArray[np.float32]) -> float:
        """The largest similarity of one embedding (1, C, h, w) to the views."""
        return float(similarity(self.host, embedding, self.uncompared_channels).max())


@dataclass(frozen=True)
class TargetHeader:
    """The origin of a saved target.

    Attributes:
        frame: (width, height) of the video.
        model: Fingerprint of the weights, so that embeddings of another model are detected.
        projection: Identification of the projection behind the descriptors, "" without one.
    """

    frame: tuple[int, int]
    model: str
    projection: str = ""


def save_target(
    path: str | Path,
    bank: TemplateBank,
    size: ArrayLike,
    header: TargetHeader,
    descriptors: NDArray[np.float32] | None = None,
) -> None:
    """Writes a known target: its views, their embeddings, its size; plain arrays without code.

    Args:
        path: An .npz file.
        bank: Its template bank.
        size: (2,) w, h in pixels of the video it comes from.
        header: Video and model.
        descriptors: (N, D) of its views through that video (`tracker.tracking.individual`), or None.
    """
    file = Path(path)
    head = {"format": FORMAT, "model": header.model, "frame": list(header.frame), "projection": header.projection}
    more: dict[str, Any] = {} if descriptors is None else {"descriptors": descriptors.astype(np.float16)}
    with atomic(file) as out:
        np.savez_compressed(
            out,
            header=np.frombuffer(json.dumps(head).encode(), np.uint8),
            pictures=np.stack([v.picture for v in bank.views]),
            targets=np.stack([v.target for v in bank.views]),
            embeddings=bank.host,
            size=np.asarray(size, dtype=np.float64),
            **more,
        )


@dataclass(frozen=True)
class KnownTarget:
    """A target from a file.

    Attributes:
        views: At least one.
        embeddings: (K, C, h, w) float32 by the model `model`.
        size: (2,) w, h where it was last seen, pixels.
        frame: (width, height) of that video.
        model: Fingerprint of the weights behind the embeddings.
        descriptors: (N, D) float32 of more views, by the same model (`tracker.tracking.individual`), or None.
        projection: Identification of the projection behind them.
    """

    views: list[TemplateView]
    embeddings: NDArray[np.float32]
    size: NDArray[np.float64]
    frame: tuple[int, int]
    model: str
    descriptors: NDArray[np.float32] | None = None
    projection: str = ""

    def bank(self, engine: Engine, model: str, template_size: int, uncompared_channels: int) -> TemplateBank:
        """The bank for an engine: the stored embeddings if they have the same weights, otherwise the images are
        embedded again."""
        if model == self.model and self._fits(engine):
            return TemplateBank.of(engine, list(self.views), self.embeddings, uncompared_channels=uncompared_channels)
        logger.warning(
            "The saved target was made with other weights: its %d pictures are embedded anew.", len(self.views)
        )
        import cv2

        views = []
        for view in self.views:
            factor = template_size / view.picture.shape[0]
            picture = view.picture if factor == 1 else cv2.resize(view.picture, (template_size, template_size))
            views.append(TemplateView(picture, (view.target * factor).astype(np.float32), view.frame))  # type: ignore[arg-type]
        return TemplateBank.of(engine, views, uncompared_channels=uncompared_channels)

    def _fits(self, engine: Engine) -> bool:
        """Whether the stored embeddings have the shape of this engine's.

        Raises:
            SourceError: They don't, although the weights are the same.
        """
        first = self.views[0]
        shape = engine.to_host(engine.embed_template([first.picture], first.target[None])).shape
        if shape[1:] != self.embeddings.shape[1:]:
            raise SourceError(
                f"The saved target holds embeddings of shape {self.embeddings.shape[1:]}; the model gives "
                f"{shape[1:]}: save it again."
            )
        return True


def load_target(path: str | Path) -> KnownTarget:
    """Reads a file of `save_target`.

    Raises:
        SourceError: The file is missing, or has another format.
    """
    file = as_path(path, SourceError, "target")
    if not is_file(file):
        raise SourceError(f"The target {file} does not exist; --save-target writes one while tracking.")
    with reading(lambda why: SourceError(f"The file {file} is not a saved target ({why}); --save-target writes one.")):
        with np.load(file, allow_pickle=False) as data:
            header = json.loads(bytes(data["header"]))
            pictures, targets = data["pictures"], data["targets"].astype(np.float32)
            embeddings, size = data["embeddings"].astype(np.float32), data["size"].astype(np.float64)
            descriptors = data["descriptors"].astype(np.float32) if "descriptors" in data.files else None
        frame = np.asarray(header["frame"], dtype=np.float64)
        wrong = _wrong(header, pictures, targets, embeddings, size, frame, descriptors)
        if wrong:
            raise SourceError(
                f"The file {file} is not a target of format {FORMAT}: {wrong}; save it again with this version."
            )
        views = [TemplateView(p, t, k) for k, (p, t) in enumerate(zip(pictures, targets, strict=True))]
        size_of_frame, projection = (int(frame[0]), int(frame[1])), str(header.get("projection", ""))
        return KnownTarget(views, embeddings, size, size_of_frame, str(header["model"]), descriptors, projection)


def _wrong(header: Any, pictures: Any, targets: Any, embeddings: Any, size: Any, frame: Any, descriptors: Any) -> str:
    """Describes what is invalid in a saved target; "" if nothing is."""
    count, side = len(pictures), pictures.shape[1] if pictures.ndim == 4 else 0
    checks = {
        "its format": header["format"] == FORMAT and isinstance(header["model"], str),
        "its pictures": pictures.dtype == np.uint8
        and 0 < count <= 1000
        and 0 < side <= 4096
        and pictures.shape == (count, side, side, 3),
        "their targets": targets.shape == (count, 2) and bool((targets > 0).all() and (targets <= MOST).all()),
        "their embeddings": embeddings.ndim == 4 and len(embeddings) == count and bool(np.isfinite(embeddings).all()),
        "its size": size.shape == (2,) and bool((size > 0).all() and (size <= MOST).all()),
        "its frame": frame.shape == (2,) and bool((frame >= 1).all() and (frame <= MOST).all()),
        "its descriptors": descriptors is None
        or (descriptors.ndim == 2 and 0 < descriptors.size <= 1_000_000 and bool(np.isfinite(descriptors).all())),
    }
    return ", ".join(name for name, good in checks.items() if not good)
