"""The tracker's embedding of an object as one vector: its template as a whole, by quarters, cell by cell, and after the
model's projection (`tracker.tracking.projection`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.tracking.observer import Observer
from tracker.tracking.projection import Projection
from tracker.tracking.template_memory import TemplateView
from tracker.types import Image

LEVELS = (1, 2)
"""Parts per side at the coarser levels of an embedding; the finest level is the cells themselves."""


def view_of(observer: Observer, image: Image, box: ArrayLike | None = None) -> TemplateView:
    """The template crop of an object.

    Args:
        observer: The tracker's observer.
        image: H x W x 3 BGR uint8.
        box: x, y, w, h of the object, cut with its surroundings; None: the object fills the image.

    Raises:
        BoxError: The box can't be used.
    """
    if box is not None:
        return observer.first_view(image, np.asarray(box, np.float64))[0]
    n = observer.sizes[0]
    how = cv2.INTER_AREA if min(image.shape[:2]) > n else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(image, (n, n), interpolation=how), np.uint8)
    return TemplateView(picture, np.array([n, n], dtype=np.float32))


def embed_views(observer: Observer, views: Sequence[TemplateView]) -> NDArray[np.float32]:
    """(B, D) unit vectors of views, by one call of the network."""
    templates = observer.engine.embed_template(
        [view.picture for view in views], np.stack([view.target for view in views])
    )
    return pyramid(observer.engine.to_host(templates), observer.uncompared_channels, observer.projection)


def pyramid(
    host: NDArray[np.float32], uncompared_channels: int, projection: Projection | None = None
) -> NDArray[np.float32]:
    """Embedded templates as unit vectors whose dot product is the mean similarity over several levels.

    The whole object, its quarters, its cells (spatial pyramid: Lazebnik et al. 2006, "Beyond Bags of Features", with
    equal weights). Cells are compared at equal positions, so an object that rotated or was marked slightly differently
    isn't similar to itself; a mean alone carries no shape. If the model has a projection, the projected mean is a
    further level: it removes what varies within one object and what is common to all.

    Args:
        host, uncompared_channels: As in `flattened`.
        projection: Projection of the mean cell, or None.

    Returns:
        (B, D).
    """
    parts = [parts_of(host, uncompared_channels, count) for count in LEVELS]
    parts.append(flattened(host, uncompared_channels))
    if projection is not None:
        parts.append(unit(projection(mean_cell(host, uncompared_channels))))
    return np.asarray(np.concatenate(parts, 1) / np.sqrt(len(parts)), np.float32)


def parts_of(host: NDArray[np.float32], uncompared_channels: int, count: int) -> NDArray[np.float32]:
    """Embedded templates by parts: the cells of each part are summed and normalised, and the parts concatenated.

    Args:
        host, uncompared_channels: As in `flattened`.
        count: Parts per side.

    Returns:
        (B, count * count * C).
    """
    z, share = _cells(host, uncompared_channels)
    rows, columns = (np.linspace(0, n, count + 1).round().astype(int) for n in z.shape[2:])
    sums = [
        (z[:, :, top:bottom, left:right] * share[:, None, top:bottom, left:right]).sum((2, 3))
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]
    return unit(np.concatenate(sums, 1))


def mean_cell(host: NDArray[np.float32], uncompared_channels: int) -> NDArray[np.float32]:
    """The mean of an object's cells, each of unit length, weighted by the fraction that the target covers.

    Args:
        host, uncompared_channels: As in `flattened`.

    Returns:
        (B, C).
    """
    z, share = _cells(host, uncompared_channels)
    whole = np.maximum(share.sum((1, 2)), 1e-6)[:, None]
    return np.asarray((z * share[:, None]).sum((2, 3)) / whole, np.float32)


def _cells(host: NDArray[np.float32], uncompared_channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(B, C, h, w) cells of unit length, and (B, h, w) the fraction of each that the target covers."""
    z = np.asarray(host, np.float32)
    z, share = (z[:, :-uncompared_channels], z[:, -1]) if uncompared_channels else (z, np.ones_like(z[:, -1]))
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-6), share


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, D) vectors normalised to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def flattened(host: NDArray[np.float32], uncompared_channels: int) -> NDArray[np.float32]:
    """Embedded templates as unit vectors whose dot product is the mean cosine of cells, weighted by the fraction that
    the targets cover.

    Args:
        host: (B, C, h, w).
        uncompared_channels: Number of last channels that are not compared, the last of them being that fraction; 0:
            none, all cells have equal weight (`tracker.tracking.similarity.similarity`).

    Returns:
        (B, D).
    """
    z, share = _cells(host, uncompared_channels)
    return np.asarray(unit((z * np.sqrt(share)[:, None]).reshape(len(z), -1)), np.float32)
