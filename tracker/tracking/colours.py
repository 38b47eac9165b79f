"""Similarity of the colours of a candidate to those of the target in the last reliable frame.

The response is least informative about a target that reappears or has rotated; colours change little from frame to
frame then, and differ between objects that the matcher confuses (docs/experiments.md, 131).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.individual import colours_of
from tracker.tracking.observer import Scene
from tracker.tracking.target import Target

Vector = NDArray[np.float64]

EVEN = 0.8
"""Likeness of colours that is evidence neither for nor against the target."""
LEAST = -1.0
"""Most log-odds that different colours subtract: a long-tracked target must not stay LOST because it has rotated."""


def colours_alike(scene: Scene, target: Target, place: tuple[Vector, Vector]) -> float | None:
    """Bhattacharyya's coefficient, in [0, 1], of the colours at a position and of the target in its stored frame.

    Args:
        scene: The frame.
        target: Its stored frame is `Target.distractors`.
        place: Centre and size (2,), frame pixels.

    Returns:
        None without a stored frame: the target was not yet tracked reliably in this video.
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
    """A score in [0, 1], raised or lowered by the colours at a position.

    Args:
        scene, target, place: As in `colours_alike`.
        score: Probability that it is the target, without them.
        weight: Log-odds per 1 of likeness; 0 leaves the score unchanged.
        jumped: Whether the position was found by search or by a jump. A target tracked without a jump may rotate and
            show other colours, so there colours can only raise the score.
    """
    alike = colours_alike(scene, target, place) if weight > 0 else None
    if alike is None:
        return score
    evidence = max(weight * (alike - EVEN), LEAST if jumped else 0.0)
    p = min(max(score, 1e-4), 1 - 1e-4)
    odds = p / (1 - p) * np.exp(evidence)
    return float(odds / (1 + odds))
