"""The tracker's embedding of a thing as one vector: the cells of its template, so that a cosine is the mean likeness of
cells."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.geometry import check_box
from tracker.tracking.core import Core
from tracker.tracking.template_memory import TemplateView
from tracker.types import Image


def view_of(core: Core, image: Image, box: ArrayLike | None = None) -> TemplateView:
    """A thing as the tracker's network looks at it.

    Args:
        core: Of the tracker.
        image: H x W x 3 BGR uint8.
        box: x, y, w, h of the thing, with its surroundings then; None: it fills the picture.

    Raises:
        BoxError: The box can't be used.
    """
    if box is not None:
        height, width = image.shape[:2]
        return core.start(image, check_box(np.asarray(box, np.float64), width, height)).bank.views[0]
    n = core.sizes[0]
    how = cv2.INTER_AREA if min(image.shape[:2]) > n else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(image, (n, n), interpolation=how), np.uint8)
    return TemplateView(picture, np.array([n, n], dtype=np.float32))


def embed_views(core: Core, views: Sequence[TemplateView]) -> NDArray[np.float32]:
    """(B, D) unit vectors of views, by one call of the network."""
    templates = core.engine.embed_template([view.picture for view in views], np.stack([view.target for view in views]))
    return flattened(core.engine.to_host(templates), core.uncompared_channels)


def flattened(host: NDArray[np.float32], uncompared_channels: int) -> NDArray[np.float32]:
    """Embedded templates as unit vectors whose dot product is the mean cosine of cells, weighted by the targets' share
    of them.

    Args:
        host: (B, C, h, w).
        uncompared_channels: How many of the last channels are not compared, the last of them being the share; 0: none,
            all cells count (`tracker.tracking.template_memory.similarity`).

    Returns:
        (B, D).
    """
    z = np.asarray(host, np.float32).reshape(*host.shape[:2], -1)
    z, share = (z[:, :-uncompared_channels], z[:, -1]) if uncompared_channels else (z, np.ones_like(z[:, -1]))
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-6)
    flat = (z * np.sqrt(share)[:, None]).reshape(len(z), -1)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), np.float32)
