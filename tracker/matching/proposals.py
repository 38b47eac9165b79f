"""Candidate positions of known objects in a frame: windows of an image pyramid, each matched with all objects at once.

The network embeds a window once, however many objects it is compared with, so searching for five objects costs little
more than searching for one. An object may be larger or smaller than in its references: it is searched at sizes around
two estimates, the same fraction of the frame and the same number of pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Colour, Crop, mean_colour
from tracker.geometry import iou
from tracker.runtime.base import Response
from tracker.tracking.decode import sigmoid, weigh_boxes
from tracker.tracking.observation import clean
from tracker.tracking.observer import Observer
from tracker.tracking.redetection_search import FEW, tiles
from tracker.tracking.template_memory import KnownTarget
from tracker.types import Image

STEP = 1.4
"""Scale factor between two levels of the pyramid."""
REACH = 1.5
"""Largest factor above the larger estimate, or below the smaller one."""
PEAKS = 2
"""Greatest number of candidates for an object in one window."""
LEAST = 0.05
"""Least response of a candidate."""
SAME = 0.4
"""Intersection over union above which two candidates are one."""
FLAT = 8
"""Least range of gray levels of a window with content: excludes bars beside an image."""


@dataclass(frozen=True)
class Proposal:
    """A candidate position of an object.

    Attributes:
        thing: Its name.
        box: (4,) x, y, w, h in frame pixels, inside the frame.
        response: Response of the network, 0 to 1.
    """

    thing: str
    box: NDArray[np.float64]
    response: float


class Proposals:
    """Goes cyclically through the windows of a pyramid, a number of them in each frame.

    Args:
        observer: The tracker's observer.
        known: The objects to search for, by name.
        windows: Greatest number per frame; 0: the whole pyramid.

    Attributes:
        passes: Number of completed passes over the pyramid.
    """

    def __init__(self, observer: Observer, known: Mapping[str, KnownTarget], windows: int) -> None:
        self._observer, self._windows = observer, windows
        self._host = {name: target.embeddings for name, target in known.items()}
        self._sizes = {name: np.asarray(target.size, np.float64) for name, target in known.items()}
        self._heights = {name: target.frame[1] for name, target in known.items()}
        self._queue: list[tuple[Crop, float]] = []
        self._wanted: frozenset[str] = frozenset()
        self.passes = 0

    def next(self, image: Image, wanted: Iterable[str]) -> list[Proposal]:
        """Candidates in the windows of this frame, for each object the best first, without duplicates.

        Args:
            image: BGR uint8.
            wanted: Names of the objects to search for.
        """
        names = frozenset(wanted)
        if not names:
            return []
        if names - self._wanted or not self._queue:  # objects missing from now on are searched at all sizes
            self._queue = self.pyramid(image.shape[1], image.shape[0], names)
        self._wanted = names
        fill, count = mean_colour(image), 0
        found: list[Proposal] = []
        while self._queue and (count < self._windows or not self._windows):
            crop, side = self._queue.pop(0)
            there = [name for name in sorted(names) if self._fits(name, side, image.shape[0])]
            if there and not _flat(crop, image):
                found += self._look(crop, side, there, image, fill)
                count += 1
        self.passes += not self._queue
        best: list[Proposal] = []
        for one in sorted(found, key=lambda p: -p.response):
            mine = [p.box for p in best if p.thing == one.thing]
            if not mine or float(iou(np.array(mine), one.box[None]).max()) < SAME:
                best.append(one)
        return best

    def pyramid(self, width: int, height: int, names: Iterable[str]) -> list[tuple[Crop, float]]:
        """All windows for these objects in a frame of that size, those of the estimated sizes first, with the side of a
        template window at their level."""
        ranges = [self._range(name, height) for name in names]
        guesses = np.log(np.array(ranges) * (REACH, 1 / REACH)).ravel()
        low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
        centre, sizes = np.array([width / 2, height / 2]), (self._observer.sizes[0], self._observer.window)
        out: list[tuple[Crop, float]] = []
        levels = high / STEP ** np.arange(int(np.ceil(np.log(high / low) / np.log(STEP) - 1e-9)) + 1)
        for side in sorted(levels, key=lambda s: (np.abs(guesses - np.log(s)).min() > np.log(STEP) / 2, -s)):
            if any(r[0] / np.sqrt(STEP) <= side <= r[1] * np.sqrt(STEP) for r in ranges):
                out += [(crop, float(side)) for crop in tiles(centre, float(side), (width, height), *sizes, FEW)]
        return out

    def _range(self, name: str, height: int) -> tuple[float, float]:
        """Least and greatest side of template windows around the object in a frame of that height."""
        side = self._observer.side(self._sizes[name])
        guesses = (side, side * height / max(self._heights[name], 1))
        return min(guesses) / REACH, max(guesses) * REACH

    def _fits(self, name: str, side: float, height: int) -> bool:
        low, high = self._range(name, height)
        return bool(low / np.sqrt(STEP) <= side <= high * np.sqrt(STEP))

    def _look(self, crop: Crop, side: float, names: list[str], image: Image, fill: Colour) -> list[Proposal]:
        templates = self._observer.engine.from_host(np.concatenate([self._host[name] for name in names]))
        response = clean(self._observer.engine.match(templates, [crop.cut(image, fill)]))
        out, at = [], 0
        for name in names:
            count = len(self._host[name])
            out += self._peaks(name, crop, side, response[at : at + count], image)
            at += count
        return out

    def _peaks(self, name: str, crop: Crop, side: float, response: Response, image: Image) -> list[Proposal]:
        """The best positions of an object in the responses of its views to one window."""
        expected = self._sizes[name] * side / self._observer.side(self._sizes[name]) * crop.scale
        score, config = response.score.max(axis=0), self._observer.config
        if response.boxes is None:  # the classic head: the size of the template's target
            value = sigmoid(score)
            rows, columns = (np.arange(n) - (n - 1) / 2 for n in value.shape)
            x, y = np.meshgrid(
                crop.size / 2 + columns * self._observer.stride, crop.size / 2 + rows * self._observer.stride
            )
            boxes = np.stack([x - expected[0] / 2, y - expected[1] / 2, x + expected[0] / 2, y + expected[1] / 2])
        else:
            boxes = response.boxes[int(response.score.max(axis=(1, 2)).argmax())].astype(np.float64)
            usual = (float(expected[0]), float(expected[1]))
            value = weigh_boxes(score, boxes.astype(np.float32), usual, config).weighted.copy()
        extent, out = np.array([image.shape[1], image.shape[0]]), []
        for _ in range(PEAKS):
            row, column = divmod(int(value.argmax()), value.shape[1])
            if value[row, column] < LEAST:
                break
            corners = boxes[:, row, column].reshape(2, 2) / crop.scale + (crop.left, crop.top)
            corner, opposite = np.clip(corners, 0, extent)
            if min(opposite - corner) >= config.min_size:
                out.append(Proposal(name, np.concatenate([corner, opposite - corner]), float(value[row, column])))
            value[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = 0
        return out


def _flat(crop: Crop, image: Image) -> bool:
    """Whether a window has no content."""
    left, top = max(int(crop.left), 0), max(int(crop.top), 0)
    side = int(np.ceil(crop.size / crop.scale))
    part = image[top : int(crop.top) + side : 2, left : int(crop.left) + side : 2]
    return part.size == 0 or int(part.max()) - int(part.min()) < FLAT
