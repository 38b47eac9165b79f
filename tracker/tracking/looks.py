"""Views of a target collected while it is tracked, and the comparison of later search candidates with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.template_memory import TemplateView

FIRST_GAP = 4
"""Initial number of frames between two views; doubled whenever there are too many."""
MOST_LOOKS = 16
"""Greatest number of views with descriptors; docs/experiments.md, 91."""
BEST = 3
"""Number of most similar views that are averaged."""


@dataclass
class Looks:
    """Views of a target, evenly spaced over the tracked footage; for `SiamTracker.save_target`.

    Attributes:
        views: At most `MOST_LOOKS`.
        gap: Present number of frames between two.
    """

    views: list[TemplateView] = field(default_factory=list)
    gap: int = FIRST_GAP

    def wants(self, age: int) -> bool:
        """Whether to keep a view of this frame."""
        return not self.views or age - self.views[-1].frame >= self.gap

    def add(self, view: TemplateView) -> None:
        """Adds a view; if there are too many, every second one is dropped."""
        self.views.append(view)
        if len(self.views) > MOST_LOOKS:
            self.views, self.gap = self.views[::2], 2 * self.gap


def evenly(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) -> at most `MOST_LOOKS` rows, evenly spaced."""
    rows = np.linspace(0, len(descriptors) - 1, min(len(descriptors), MOST_LOOKS)).round().astype(int)
    return descriptors[rows]


@dataclass
class Individual:
    """The descriptors of a known target, and the state of the search for it.

    Attributes:
        descriptors: (N, D) of its views, from `describe`.
        likenesses: Likeness of the tracked candidate in each frame.
        passed: Dropped candidates: the target's age at that time, centre and size.
    """

    descriptors: NDArray[np.float32]
    likenesses: list[float] = field(default_factory=list)
    passed: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=list)

    def likeness(self, descriptors: NDArray[np.float32]) -> NDArray[np.float64]:
        """(M, D) -> (M,) in [-1, 1]: the mean similarity to its most similar views."""
        alike = np.sort(descriptors @ self.descriptors.T, axis=1)[:, -BEST:]
        return np.asarray(alike.mean(axis=1), np.float64)
