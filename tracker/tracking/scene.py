"""A frame and what the parts that change targets may ask of it: they never get the image itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
    """A frame and the queries that re-detection, identity and skipping may make. Templates are embedded once."""

    observer: Observer
    frame: Image
    _templates: dict[tuple[float, ...], Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def extent(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.frame.shape[1], self.frame.shape[0]

    def small_green(self, window: tuple[int, int, int, int], step: int, halve: bool) -> NDArray[np.uint8]:
        """See `tracker.crops.small_green`."""
        return small_green(self.frame, window, step, halve)

    def observe(self, target: Target, place: tuple[Vector, Vector]) -> Observation:
        """Observes a target in the full search window around a position: centre and size (2,), frame pixels."""
        region = self.observer.search_region(target, self.frame, place)
        matched = Matched([0], self.observer.match(target, region))
        return read_all(self.observer, [target], [region], [matched])[0]

    def match(self, template: Any, windows: Sequence[Crop], fill: Colour) -> Response:
        """Responses of an embedded template in some windows of one size."""
        return clean(self.observer.engine.match(template, [window.cut(self.frame, fill) for window in windows]))

    def template(self, place: tuple[Vector, Vector], fill: Colour) -> Any:
        """A position, its centre and size (2,) in frame pixels, embedded as a template where the engine keeps it."""
        key = (*place[0].tolist(), *place[1].tolist(), *fill)
        if key not in self._templates:
            view = self.observer.view(self.frame, *place, fill, 0)
            self._templates[key] = self.observer.engine.embed_template([view.picture], view.target[None])
        return self._templates[key]

    def embedding(self, place: tuple[Vector, Vector], fill: Colour) -> NDArray[np.float32]:
        """(1, C, h, w) host copy of `template`."""
        return self.observer.engine.to_host(self.template(place, fill))
