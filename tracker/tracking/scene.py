"""A frame as the targets' states see it: what may be asked of it, without the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Colour, Crop, small_green
from tracker.runtime.base import Response
from tracker.tracking.observation import Observation, clean
from tracker.tracking.observer import Observer
from tracker.tracking.readout import Matched, read_all
from tracker.tracking.target import Target, Vector
from tracker.types import Image


@dataclass(frozen=True)
class Scene:
    """A frame and what can be asked of it: re-detection, identity and skipping never get the picture itself."""

    observer: Observer
    frame: Image

    @property
    def extent(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.frame.shape[1], self.frame.shape[0]

    def small_green(self, window: tuple[int, int, int, int], step: int, halve: bool) -> NDArray[np.uint8]:
        """See `tracker.crops.small_green`."""
        return small_green(self.frame, window, step, halve)

    def observe(self, target: Target, place: tuple[Vector, Vector]) -> Observation:
        """What is seen of a target in the full search window around a place: centre and size (2,), frame pixels."""
        region = self.observer.search_region(target, self.frame, place)
        matched = Matched([0], self.observer.match(target, region))
        return read_all(self.observer, [target], [region], [matched])[0]

    def match(self, target: Target, windows: Sequence[Crop]) -> Response:
        """The responses of the first view to some windows of one size."""
        engine = self.observer.engine
        return clean(engine.match(target.bank.first, [window.cut(self.frame, target.fill) for window in windows]))

    def embedding(self, place: tuple[Vector, Vector], fill: Colour) -> NDArray[np.float32]:
        """(1, C, h, w) of what is at a place: its centre and size (2,), frame pixels; cut as a template."""
        view, engine = self.observer.view(self.frame, *place, fill, 0), self.observer.engine
        return engine.to_host(engine.embed_template([view.picture], view.target[None]))
