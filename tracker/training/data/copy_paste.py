"""Views made by copy and paste: cut-out objects over background photos, among look-alikes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.datasets.stills import Cutouts, Scenery
from tracker.training.data.augment import Rng, bent
from tracker.training.data.samples import Sample, SampleView, ViewConfig, finish
from tracker.types import Image


class PasteViews:
    """Views made by copy and paste: a cut-out object, warped differently in each view, over a background, among
    look-alikes."""

    def __init__(self, cutouts: Cutouts, config: ViewConfig, scenery: Scenery) -> None:
        self.cutouts, self.config, self.scenery = cutouts, config, scenery

    def items(self) -> Sequence[tuple[str, str]]:
        return [(self.cutouts.kind(k), self.cutouts.identity(k)) for k in range(len(self.cutouts))]

    def material(self) -> tuple[Sequence[Path], bytes]:
        masked = self.cutouts.masked
        files = [*self.cutouts.paths, *(still.path for still in masked), *self.scenery.paths]
        return files, b"".join(part.tobytes() for still in masked for part in (still.box, *still.polygons))

    def sample(self, rng: Rng) -> Sample:
        return self.make(int(rng.integers(len(self.cutouts))), rng)

    def make(self, item: int, rng: Rng) -> Sample:
        c, index = self.config, item
        same_place = rng.random() < 0.5
        backdrops: list[Image] = []

        def backdrop() -> Image:
            if not backdrops or not same_place:
                backdrops.append(self.scenery.patch(int(1.6 * c.search_size), rng))
            return backdrops[-1]

        def view(distractors: int) -> SampleView:
            canvas = backdrop().copy()
            side = canvas.shape[0]
            length = rng.uniform(48, 80)
            if same_place:
                place = rng.uniform(0.4, 0.6, 2) * side
            else:
                place = np.array([side / 2, side / 2])
            around = max(0.5 * c.search_size, 0.9 * length)
            for _ in range(distractors):
                other = self._look_alike(index, rng)
                angle = rng.uniform(0, 2 * np.pi)
                where = place + np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(length * 0.9, around)
                self._paste(canvas, other, where, length * np.exp(rng.uniform(-0.4, 0.4)), rng)
            box = self._paste(canvas, index, place, length, rng)
            if distractors and rng.random() < 0.3:  # something occludes it
                where = place + rng.uniform(-0.7, 0.7, 2) * length
                self._paste(canvas, int(rng.integers(len(self.cutouts))), where, length * rng.uniform(0.3, 0.6), rng)
            return SampleView(lambda crop: crop.cut(canvas, (127.0, 127.0, 127.0)), box)

        templates = [view(0 if rng.random() < 0.6 else 1) for _ in range(c.templates)]
        searches = [view(int(rng.integers(0, 5))) for _ in range(c.searches)]
        kind = self.cutouts.kind(index)
        return finish(c, rng, kind, [*templates, *searches], self.scenery, kind, self.cutouts.identity(index))

    def _look_alike(self, index: int, rng: Rng) -> int:
        family = self.cutouts.kinds[self.cutouts.kind(index)]
        if len(family) > 1 and rng.random() < 0.5:
            return int(family[int(rng.integers(len(family)))])
        return int(rng.integers(len(self.cutouts)))

    def _paste(
        self, canvas: Image, index: int, place: NDArray[np.float64], length: float, rng: Rng
    ) -> NDArray[np.float64]:
        """Pastes a warped cutout with sqrt(w h) of about `length` at `place`; returns its xywh box on the canvas."""
        a = self.config.augment
        cutout = self.cutouts[index]
        if a.bend:
            margin = int(2 * a.bend * np.sqrt(cutout.shape[0] * cutout.shape[1])) + 1  # room for what moves outwards
            cutout = bent(np.pad(cutout, ((margin, margin), (margin, margin), (0, 0))), a.bend, rng)
            length *= np.sqrt(np.prod(np.array(cutout.shape[:2]) / (np.array(cutout.shape[:2]) - 2 * margin)))
        height, width = cutout.shape[:2]
        angle = np.radians(rng.uniform(-a.rotation, a.rotation))
        scale = length / np.sqrt(height * width)
        stretch = np.exp(rng.uniform(-a.stretch, a.stretch) / 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn[0, 1] += rng.uniform(-0.15, 0.15)  # shear
        linear = turn @ np.diag([scale * stretch, scale / stretch])
        corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2 @ linear.T
        low = np.floor(corners.min(0) + place).astype(int) - 1
        high = np.ceil(corners.max(0) + place).astype(int) + 1
        size = high - low
        offset = place - low - linear @ np.array([width / 2, height / 2])
        matrix = np.column_stack([linear, offset])
        warped = cv2.warpAffine(cutout, matrix, (int(size[0]), int(size[1])), flags=cv2.INTER_AREA)
        opaque = warped[..., 3] > 127
        columns, rows = np.flatnonzero(opaque.any(0)), np.flatnonzero(opaque.any(1))
        x0, y0 = max(0, low[0]), max(0, low[1])
        x1, y1 = min(canvas.shape[1], high[0]), min(canvas.shape[0], high[1])
        if x1 > x0 and y1 > y0:
            part = warped[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]].astype(np.float32)
            alpha = part[..., 3:] / 255
            region = canvas[y0:y1, x0:x1]
            region[:] = (region * (1 - alpha) + part[..., :3] * alpha).astype(np.uint8)
        if not len(columns) or not len(rows):
            return np.array([place[0] - 2, place[1] - 2, 4.0, 4.0])
        left, top = low[0] + columns[0], low[1] + rows[0]
        return np.array([left, top, columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1], dtype=np.float64)
