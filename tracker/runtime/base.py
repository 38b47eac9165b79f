"""The engine interface: embed templates once, match search crops against them in every frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Colour, Crop
from tracker.types import Image


@dataclass(frozen=True)
class Response:
    """The result of a match: numpy arrays, or tensors still on the engine's device (`Engine.match_on_device`).

    Attributes:
        score: (B, H, W) float32 logits.
        boxes: (B, 4, H, W) float32 xyxy in search-crop pixels, or None (classic head).
        embedding: (B or 1, C + F, H, W) float32 search embeddings as of `Matcher.unit`, or None (classic head, or a
            graph without this output): the input of the online filter.
    """

    score: Any
    boxes: Any | None
    embedding: Any | None = None

    def __getitem__(self, rows: slice) -> Response:
        """A part of the batch."""
        return Response(
            self.score[rows], *(None if part is None else part[rows] for part in (self.boxes, self.embedding))
        )


class Engine(ABC):
    """Base class of the engines, with defaults; engines override what they can do better.

    Attributes:
        name: Such as "torch" or "onnxruntime".
        device: Such as "cpu" or "cuda".
        concurrent: Whether `one_thread` returns an engine for concurrent calls; if not, several targets are better
            batched.
        parallel_threads: Number of threads that several targets are distributed over, if `concurrent`.
        cuts_windows: Whether `match_windows` cuts crops on the device, which pays for many windows.
        keeps_maps: Whether `match_on_device` leaves its results on the device.
    """

    name: str
    device: str
    concurrent: bool = False
    parallel_threads: int = 1
    cuts_windows: bool = False
    keeps_maps: bool = False

    @abstractmethod
    def embed_template(self, crops: Sequence[Image], targets: NDArray[np.float32]) -> Any:
        """Embeds B template crops.

        Args:
            crops: B images, BGR uint8 n x n x 3.
            targets: (B, 2) width and height of the target in template-crop pixels.

        Returns:
            An opaque value whose first axis is B; `stack` joins several.
        """

    @abstractmethod
    def match(self, templates: Any, crops: Sequence[Image]) -> Response:
        """Matches B searches with B templates (or one with many: the smaller side is repeated).

        Args:
            templates: The result of `embed_template`.
            crops: Search crops, BGR uint8 m x m x 3, all of one size (any size: fully convolutional).
        """

    def upload(self, image: Image) -> Any:
        """A frame in the form that `match_windows` cuts from; valid until the next upload."""
        return image

    def match_windows(self, templates: Any, image: Any, crops: Sequence[Crop], fills: Sequence[Colour]) -> Response:
        """As `match`, but the search crops are still to be cut from one frame.

        Args:
            templates: The result of `embed_template`.
            image: The whole frame, BGR uint8 H x W x 3, or the result of `upload`.
            crops: The windows, all of one size.
            fills: Padding colour outside the frame, one per window.
        """
        return self.match(templates, [crop.cut(image, fill) for crop, fill in zip(crops, fills, strict=True)])

    def match_on_device(self, templates: Any, crops: Sequence[Image]) -> Response:
        """As `match`; if the engine `keeps_maps`, the result is tensors that no later call overwrites."""
        return self.match(templates, crops)

    def match_windows_on_device(
        self, templates: Any, image: Any, crops: Sequence[Crop], fills: Sequence[Colour]
    ) -> Response:
        """Combines `match_windows` and `match_on_device`."""
        return self.match_windows(templates, image, crops, fills)

    def one_thread(self) -> Engine:
        """An engine for the same templates that uses one thread per call and, if `concurrent`, can be called from
        several threads at once."""
        return self

    @abstractmethod
    def stack(self, templates: Sequence[Any]) -> Any:
        """Joins embeddings along the first axis."""

    @abstractmethod
    def to_host(self, templates: Any) -> NDArray[np.float32]:
        """Embeddings as an array (B, C, h, w), to store or compare."""

    @abstractmethod
    def from_host(self, embeddings: NDArray[np.float32]) -> Any:
        """The inverse of `to_host`."""
