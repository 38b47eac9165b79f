"""Identification of an individual among objects of its class: descriptors of many views of a target, with which the
candidates of a search are compared.

A descriptor concatenates three vectors whose cosines are averaged: the mean cell of the embedding after the model's
projection (`tracker.tracking.projection`), which is stable for an individual and differs between individuals; the four
quarters of the embedding, which carry the shape; and a histogram of colours. The matcher and the cells of one view
distinguish classes rather than individuals (docs/experiments.md, 90 to 92).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.crops import Colour
from tracker.tracking.embedding import mean_cell, parts_of, unit
from tracker.tracking.looks import Individual
from tracker.tracking.observer import Observer
from tracker.tracking.scene import Scene
from tracker.tracking.template_memory import KnownTarget, TemplateView

WHOLE, QUARTERS, COLOUR = 0.25, 0.5, 0.25
"""Weights of the three in a likeness; docs/experiments.md, 91."""
BINS, RANGES = (4, 8, 8), (0, 256, 64, 192, 64, 192)
"""Histogram of L, a, b of CIE Lab as OpenCV scales them to bytes; a and b outside the ranges are rare."""
INNER = 0.8
"""Fraction of the box, per side, whose colours are used: its corners show background."""


def describe(observer: Observer, views: Sequence[TemplateView]) -> NDArray[np.float32]:
    """(N, D) descriptors of unit length of N views, by one call of the network.

    Args:
        observer: That of a model with a projection.
        views: At least one.
    """
    assert observer.projection is not None
    embedded = observer.engine.embed_template([v.picture for v in views], np.stack([v.target for v in views]))
    host, channels = observer.engine.to_host(embedded), observer.uncompared_channels
    whole = unit(observer.projection(mean_cell(host, channels)))
    colours = np.stack([colours_of(view) for view in views])
    weighed = [np.sqrt(WHOLE) * whole, np.sqrt(QUARTERS) * parts_of(host, channels, 2), np.sqrt(COLOUR) * colours]
    return np.asarray(np.concatenate(weighed, axis=1), np.float32)


def describe_places(
    scene: Scene, places: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], fill: Colour
) -> NDArray[np.float32]:
    """(N, D) descriptors of positions in a frame: centre and size (2,), frame pixels; cut as templates."""
    return describe(scene.observer, [scene.observer.view(scene.frame, *place, fill, 0) for place in places])


def individual_of(observer: Observer, known: KnownTarget, fingerprint: str) -> Individual | None:
    """The descriptors that identify a known target; None if its file has none, or those of another model.

    Args:
        observer: The model's observer.
        known: The target.
        fingerprint: Fingerprint of the model's weights.
    """
    if known.descriptors is None or observer.projection is None:
        return None
    fits = (known.model, known.projection) == (fingerprint, observer.projection.mark)
    return Individual(known.descriptors) if fits else None


def colours_of(view: TemplateView) -> NDArray[np.float32]:
    """Square roots of the relative frequencies of colours inside the box: their dot product is Bhattacharyya's
    coefficient."""
    n, half = view.picture.shape[0], INNER / 2 * view.target
    left, top = np.maximum(n / 2 - half, 0).astype(int)
    right, bottom = np.maximum(np.minimum(n / 2 + half, n).astype(int), (left + 2, top + 2))
    lab = cv2.cvtColor(np.ascontiguousarray(view.picture[top:bottom, left:right]), cv2.COLOR_BGR2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, list(BINS), list(RANGES)).ravel()
    return np.asarray(np.sqrt(counts / max(float(counts.sum()), 1.0)), np.float32)
