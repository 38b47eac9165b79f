"""What an engine is: embed templates once, match searches against them every frame."""

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
    """What a match gives: numpy arrays, or tensors that are still on the engine's device (`Engine.match_on_device`).

    Attributes:
        score: (B, H, W) float32 logits.
        boxes: (B, 4, H, W) float32 xyxy in search-crop pixels, or None (classic head).
        embedding: (B or 1, C + F, H, W) float32 search embeddings as of `Matcher.unit`, or None (classic head, or a
            graph without this output): what the online filter learns on.
    """

    score: Any
    boxes: Any | None
    embedding: Any | None = None

    def __getitem__(self, rows: slice) -> Response:
        """Some of the pictures of a batch."""
        return Response(
            self.score[rows], *(None if part is None else part[rows] for part in (self.boxes, self.embedding))
        )


class Engine(ABC):
    """The compute behind the tracker; engines derive from it and change the defaults where they can do more.

    Attributes:
        name: Such as "torch" or "onnxruntime".
        device: Such as "cpu" or "cuda".
        concurrent: Whether `one_thread` gives an engine; else several targets are better put in one batch.
        parallel_threads: Threads that several targets are spread over, where `concurrent`.
        cuts_windows: Whether `match_windows` cuts on the device: pays where windows are many.
        keeps_maps: Whether `match_on_device` leaves its maps there.
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
            crops: B pictures, BGR uint8 n x n x 3.
            targets: (B, 2) width and height of the target in template-crop pixels.

        Returns:
            An opaque value whose first axis is B; `stack` joins several.
        """

    @abstractmethod
    def match(self, templates: Any, crops: Sequence[Image]) -> Response:
        """Matches B searches with B templates (or one with many: the smaller side is repeated).

        Args:
            templates: What `embed_template` gave.
            crops: Search crops, BGR uint8 m x m x 3, all of one size (any size: fully convolutional).
        """

    def upload(self, image: Image) -> Any:
        """A frame where `match_windows` cuts from it; good until the next one is uploaded."""
        return image

    def match_windows(self, templates: Any, image: Any, crops: Sequence[Crop], fills: Sequence[Colour]) -> Response:
        """As `match`, the search crops still to be cut from one picture.

        Args:
            templates: What `embed_template` gave.
            image: The whole frame, BGR uint8 H x W x 3, or what `upload` made of it.
            crops: Where to cut, all of one size.
            fills: Colour of what lies outside the frame, for each of them.
        """
        return self.match(templates, [crop.cut(image, fill) for crop, fill in zip(crops, fills, strict=True)])

    def match_on_device(self, templates: Any, crops: Sequence[Image]) -> Response:
        """As `match`; where the engine `keeps_maps`, as tensors of its own that no later call changes."""
        return self.match(templates, crops)

    def match_windows_on_device(
        self, templates: Any, image: Any, crops: Sequence[Crop], fills: Sequence[Colour]
    ) -> Response:
        """As `match_windows`, and as `match_on_device`."""
        return self.match_windows(templates, image, crops, fills)

    def one_thread(self) -> Engine:
        """An engine for the same templates that takes one thread for a call and, where `concurrent`, may be called from
        several at once."""
        return self

    @abstractmethod
    def stack(self, templates: Sequence[Any]) -> Any:
        """Joins embeddings along the first axis."""

    @abstractmethod
    def to_host(self, templates: Any) -> NDArray[np.float32]:
        """Embeddings as an array: (B, C, h, w), for a file or for comparison."""

    @abstractmethod
    def from_host(self, embeddings: NDArray[np.float32]) -> Any:
        """The way back from `to_host`."""
