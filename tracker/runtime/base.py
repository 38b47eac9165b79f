"""The protocol of an engine: embed templates once, match searches against them every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracker.types import Image


@dataclass(frozen=True)
class Response:
    """What a match gives, on the host.

    Attributes:
        score: (B, H, W) float32 logits.
        boxes: (B, 4, H, W) float32 xyxy in search-crop pixels, or None (classic head).
        embedding: (B or 1, C + F, H, W) float32 search embeddings as of `Matcher.unit`, or None (classic head, or a graph
            without this output): what the online filter learns on.
    """

    score: NDArray[np.float32]
    boxes: NDArray[np.float32] | None
    embedding: NDArray[np.float32] | None = None

    def __getitem__(self, rows: slice) -> Response:
        """Some of the pictures of a batch."""
        return Response(
            self.score[rows], *(None if part is None else part[rows] for part in (self.boxes, self.embedding))
        )


class Engine(Protocol):
    """The compute behind the tracker.

    An engine on whose calls several threads gain has two things more: `one_thread()`, an engine for the same templates that takes one
    thread for a call and may be called from several at once, and `parallel_threads`, the number of threads that is worth it.

    Attributes:
        name: Such as "torch" or "onnxruntime".
        device: Such as "cpu" or "cuda".
    """

    name: str
    device: str

    def embed_template(self, crops: Sequence[Image], targets: NDArray[np.float32]) -> Any:
        """Embeds B template crops.

        Args:
            crops: B pictures, BGR uint8 n x n x 3.
            targets: (B, 2) width and height of the target in template-crop pixels.

        Returns:
            An opaque value whose first axis is B; `stack` joins several.
        """

    def match(self, templates: Any, crops: Sequence[Image]) -> Response:
        """Matches B searches with B templates (or one with many: the smaller side is repeated).

        Args:
            templates: What `embed_template` gave.
            crops: Search crops, BGR uint8 m x m x 3, all of one size (any size: fully convolutional).
        """

    def stack(self, templates: Sequence[Any]) -> Any:
        """Joins embeddings along the first axis."""

    def to_host(self, templates: Any) -> NDArray[np.float32]:
        """Embeddings as an array: (B, C, h, w), for a file or for comparison."""

    def from_host(self, embeddings: NDArray[np.float32]) -> Any:
        """The way back from `to_host`."""
