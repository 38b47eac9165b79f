"""How alike the colours of what was found are to those of the target where it was surely seen last.

The response says least about a target that comes back, and about one that has turned; colours change little from frame
to frame then, and differ between things that one matcher takes for another (docs/experiments.md, 132 to 135).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.individual import colours_of
from tracker.tracking.observer import Scene
from tracker.tracking.target import Target

Vector = NDArray[np.float64]

EVEN = 0.8
"""Likeness of colours that speaks neither for the target nor against it."""
LEAST = -1.0
"""Log-odds that other colours take off at most: what is followed for long must not stay LOST because it turned."""


def colours_alike(scene: Scene, target: Target, place: tuple[Vector, Vector]) -> float | None:
    """Bhattacharyya's coefficient, in [0, 1], of the colours at a place and of the target in its kept frame.

    Args:
        scene: The frame.
        target: Its kept frame is `Target.distractors`.
        place: Centre and size (2,), frame pixels.

    Returns:
        None where no frame was kept: it was not seen surely in this video yet.
    """
    observer, kept = scene.observer, target.distractors
    if kept is None:
        return None
    if kept.colours is None:
        kept.colours = colours_of(observer.view(kept.frame, kept.centre, kept.size, target.fill, 0))
    return float(kept.colours @ colours_of(observer.view(scene.frame, *place, target.fill, 0)))


def recoloured(
    scene: Scene, target: Target, place: tuple[Vector, Vector], score: float, weight: float, jumped: bool
) -> float:
    """A score in [0, 1], raised or lowered by the colours at a place.

    Args:
        scene, target, place: As of `colours_alike`.
        score: Probability that it is the target, without them.
        weight: Log-odds for a likeness of one more; 0 leaves the score as it is.
        jumped: Whether the place was found by search or by a jump. One that was followed all the way may turn, and show
            other colours: they only speak for it.
    """
    alike = colours_alike(scene, target, place) if weight > 0 else None
    if alike is None:
        return score
    evidence = max(weight * (alike - EVEN), LEAST if jumped else 0.0)
    p = min(max(score, 1e-4), 1 - 1e-4)
    odds = p / (1 - p) * np.exp(evidence)
    return float(odds / (1 + odds))
