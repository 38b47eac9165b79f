"""Views of a target through the footage that it is followed in, and what a search for it later is judged by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.template_memory import TemplateView

FIRST_GAP = 4
"""Frames between two of them at first; twice as many each time that there are too many."""
MOST_LOOKS = 16
"""Views of which descriptors are kept; docs/experiments.md, 91."""
BEST = 3
"""Views whose mean counts: the most alike ones."""


@dataclass
class Looks:
    """Pictures of a target through the footage that it is followed in, evenly spread; for `SiamTracker.save_target`.

    Attributes:
        views: At most `MOST_LOOKS`.
        gap: Frames between two now.
    """

    views: list[TemplateView] = field(default_factory=list)
    gap: int = FIRST_GAP

    def wants(self, age: int) -> bool:
        """Whether a view of this frame is to be kept."""
        return not self.views or age - self.views[-1].frame >= self.gap

    def add(self, view: TemplateView) -> None:
        """Keeps a view; of too many, every second one goes."""
        self.views.append(view)
        if len(self.views) > MOST_LOOKS:
            self.views, self.gap = self.views[::2], 2 * self.gap


def evenly(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) -> at most `MOST_LOOKS` of them, evenly spread."""
    rows = np.linspace(0, len(descriptors) - 1, min(len(descriptors), MOST_LOOKS)).round().astype(int)
    return descriptors[rows]


@dataclass
class Individual:
    """What a known target is told from others by, and where the search for it stands.

    Attributes:
        descriptors: (N, D) of its views, as `describe` gives them.
        likenesses: Of the place that is followed now, of each frame.
        passed: Places that were followed and were not it: the target's age then, centre and size.
    """

    descriptors: NDArray[np.float32]
    likenesses: list[float] = field(default_factory=list)
    passed: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=list)

    def likeness(self, descriptors: NDArray[np.float32]) -> NDArray[np.float64]:
        """(M, D) -> (M,) in [-1, 1]: the mean likeness to the most alike of its views."""
        alike = np.sort(descriptors @ self.descriptors.T, axis=1)[:, -BEST:]
        return np.asarray(alike.mean(axis=1), np.float64)
