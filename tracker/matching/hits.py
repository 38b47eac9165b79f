"""The objects of a gallery that are most similar to an input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.matching.calibration import Calibration


@dataclass(frozen=True)
class Hit:
    """A known object that is similar to the input.

    Attributes:
        name: Name of the object.
        similarity: To the most similar of its references.
        probability: That it is this object, or None without a calibration.
        reference: Number of that reference in the gallery.
    """

    name: str
    similarity: float
    probability: float | None
    reference: int


def best_things(
    names: Sequence[str],
    calibration: Calibration | None,
    similarity: NDArray[np.float64],
    order: Iterable[int],
    count: int,
) -> list[Hit]:
    """The most similar objects, each by the most similar of its references.

    Args:
        names: For each reference the name of its object.
        calibration: The calibration, or None.
        similarity: To each reference.
        order: Numbers of references, the most similar first.
        count: Greatest number of objects.
    """
    hits: dict[str, Hit] = {}
    for k in order:
        name = names[int(k)]
        if name not in hits:
            value = float(similarity[int(k)])
            probability = None if calibration is None else float(calibration.probability(value))
            hits[name] = Hit(name, value, probability, int(k))
            if len(hits) == count:
                break
    return list(hits.values())


def faiss_index(vectors: NDArray[np.float32], energy: str) -> Any | None:
    """An exact index of the package faiss over (N, D) references; None if it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    index = (faiss.IndexFlatL2 if energy == "euclidean" else faiss.IndexFlatIP)(vectors.shape[1])
    index.add(vectors)
    return index
