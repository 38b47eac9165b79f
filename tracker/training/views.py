"""Groups of views: some templates and some searches of one target, cut as the tracker cuts them.

Any template of a group against any search of it is a genuine pair; against a search of another group, an impostor pair.
Crops come from `tracker.crops`, so training sees what tracking will see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.crops import Colour, Crop, context_side, mean_colour
from tracker.geometry import xywh_to_xyxy
from tracker.training.augment import AugmentConfig, Rng, degrade, occlude, to_gray
from tracker.training.stills import BoxedStill, Cutouts, Scenery
from tracker.training.tracks import AnnotatedTrack, read_image
from tracker.types import Image


@dataclass(frozen=True)
class ViewConfig:
    """Sizes of the crops and how many views a group holds."""

    template_size: int = 129
    search_size: int = 257
    context: float = 0.5
    templates: int = 2
    searches: int = 4
    frame_range: int = 60
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class Group:
    """Views of one target.

    Attributes:
        templates: T pictures, BGR uint8 template_size square.
        targets: (T, 2) width and height of the target in template pixels.
        searches: S pictures, BGR uint8 search_size square.
        boxes: (S, 4) xyxy of the target in search pixels.
        label: Which target it is (for logs and contact sheets).
    """

    templates: list[Image]
    targets: NDArray[np.float32]
    searches: list[Image]
    boxes: NDArray[np.float32]
    label: str


class GroupMaker(Protocol):
    """Makes one group from a seed."""

    def group(self, rng: Rng) -> Group: ...


Cut = Callable[[Crop], Image]


def _finish(
    config: ViewConfig,
    rng: Rng,
    label: str,
    template_views: Sequence[tuple[Cut, NDArray[np.float64]]],
    search_views: Sequence[tuple[Cut, NDArray[np.float64]]],
    scenery: Scenery | None = None,
) -> Group:
    """Cuts and degrades the views of one target.

    Args:
        template_views, search_views: For each view a function that samples a Crop, and the target's xywh box in its frame.
        scenery: Where occluders come from; the view itself where None.
    """
    a = config.augment
    flip, gray = rng.random() < a.flip, rng.random() < a.gray
    templates, targets = [], []
    for cut, box in template_views:
        centre, size = box[:2] + box[2:] / 2, box[2:]
        noisy_centre = centre + size * rng.normal(0, a.template_jitter, 2)
        noisy_size = size * np.exp(rng.normal(0, a.template_jitter, 2))
        crop = Crop.around(noisy_centre, context_side(*noisy_size, context=config.context), config.template_size)
        picture = degrade(cut(crop), a, rng)
        templates.append(_common(picture, flip, gray))
        targets.append(noisy_size * crop.scale)
    searches, boxes = [], []
    for cut, box in search_views:
        size = box[2:] * np.exp(rng.normal(0, a.scale * 0.4, 2)) * np.exp(rng.normal(0, a.scale))
        side = context_side(*size, context=config.context) * config.search_size / config.template_size
        scale = config.search_size / side
        # Mostly near the centre, as in tracking, at times far out: a padded backbone must not learn the centre.
        reach = a.shift * (rng.random() ** 0.5 if rng.random() < 0.7 else 1.25)
        centre = box[:2] + box[2:] / 2 + rng.uniform(-reach, reach, 2) / scale
        crop = Crop.around(centre, side, config.search_size)
        picture = cut(crop)
        target = xywh_to_xyxy(crop.to_crop(box))
        if rng.random() < a.occlusion:
            other = scenery.patch(config.search_size, rng) if scenery is not None and rng.random() < 0.5 else None
            picture = occlude(picture, target, rng, other)
        searches.append(_common(degrade(picture, a, rng), flip, gray))
        boxes.append([config.search_size - target[2], target[1], config.search_size - target[0], target[3]] if flip else target)
    return Group(templates, np.asarray(targets, np.float32), searches, np.asarray(boxes, np.float32), label)


def _common(picture: Image, flip: bool, gray: bool) -> Image:
    picture = to_gray(picture) if gray else picture
    return np.ascontiguousarray(picture[:, ::-1]) if flip else picture


class ClipViews:
    """Views from annotated clips: frames within a range of one another (SiamFC: the same object, T frames apart at most)."""

    def __init__(self, tracks: Sequence[AnnotatedTrack], config: ViewConfig, scenery: Scenery | None = None) -> None:
        self.tracks = [t for t in tracks if len(t.present) >= 2]
        self.config, self.scenery = config, scenery

    def group(self, rng: Rng) -> Group:
        track = self.tracks[int(rng.integers(len(self.tracks)))]
        c = self.config
        first = int(rng.integers(len(track.present)))
        low, high = max(0, first - c.frame_range), min(len(track.present) - 1, first + c.frame_range)
        picks = rng.integers(low, high + 1, c.templates + c.searches)
        fills: dict[int, tuple[Image, Colour]] = {}

        def view(pick: int) -> tuple[Cut, NDArray[np.float64]]:
            index = int(track.present[pick])
            if index not in fills:
                image = track.image(index)
                fills[index] = image, mean_colour(image)
            image, fill = fills[index]
            return lambda crop: crop.cut(image, fill), track.boxes[index]

        views = [view(int(p)) for p in picks]
        return _finish(c, rng, track.name, views[: c.templates], views[c.templates :], self.scenery)


class StillViews:
    """Views of one boxed object of a photo: stretched copies, the outside filled with other scenery."""

    def __init__(self, stills: Sequence[BoxedStill], config: ViewConfig, scenery: Scenery) -> None:
        self.stills, self.config, self.scenery = list(stills), config, scenery

    def group(self, rng: Rng) -> Group:
        still = self.stills[int(rng.integers(len(self.stills)))]
        image = read_image(still.path)
        return self.views_of(image, still.box, f"{still.kind} {still.path.stem}", rng)

    def views_of(self, image: Image, box: NDArray[np.float64], label: str, rng: Rng) -> Group:
        """The group for one box of one image."""
        a = self.config.augment

        def view() -> tuple[Cut, NDArray[np.float64]]:
            # A stretched copy: x times sx, y times 1 / sx.
            stretch = float(np.exp(rng.uniform(-a.stretch, a.stretch) / 2))
            factors = np.array([stretch, 1 / stretch])
            backdrop = self.scenery.patch(self.config.search_size, rng)

            def cut(crop: Crop) -> Image:
                inverse = 1.0 / crop.scale
                shift = 0.5 * inverse
                matrix = np.array(
                    [
                        [inverse / factors[0], 0, (crop.left + shift) / factors[0] - 0.5],
                        [0, inverse / factors[1], (crop.top + shift) / factors[1] - 0.5],
                    ]
                )
                out = backdrop[: crop.size, : crop.size].copy()
                cv2.warpAffine(
                    image,
                    matrix,
                    (crop.size, crop.size),
                    dst=out,
                    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                    borderMode=cv2.BORDER_TRANSPARENT,
                )
                return out

            return cut, box * np.concatenate([factors, factors])

        views = [view() for _ in range(self.config.templates + self.config.searches)]
        return _finish(self.config, rng, label, views[: self.config.templates], views[self.config.templates :], self.scenery)


class PhotoViews(StillViews):
    """Self-supervised views: a random region of an unlabelled photo is the target (S2SiamFC, Sio et al. 2020)."""

    def __init__(self, config: ViewConfig, scenery: Scenery) -> None:
        super().__init__((), config, scenery)

    def group(self, rng: Rng) -> Group:
        image = self.scenery.photo(rng)
        height, width = image.shape[:2]
        for _ in range(8):  # a region with some texture
            side = min(height, width) * rng.uniform(0.2, 0.5)
            ratio = np.exp(rng.uniform(-0.7, 0.7) / 2)
            w, h = side * ratio, side / ratio
            x, y = rng.uniform(0, max(1.0, width - w)), rng.uniform(0, max(1.0, height - h))
            if image[int(y) : int(y + h), int(x) : int(x + w)].std() > 25:
                break
        return self.views_of(image, np.array([x, y, w, h]), "photo", rng)


class PasteViews:
    """Views made by copy and paste: a cut-out object, warped anew in each view, over scenery, among look-alikes."""

    def __init__(self, cutouts: Cutouts, config: ViewConfig, scenery: Scenery) -> None:
        self.cutouts, self.config, self.scenery = cutouts, config, scenery

    def group(self, rng: Rng) -> Group:
        c = self.config
        index = int(rng.integers(len(self.cutouts)))
        same_place = rng.random() < 0.5
        backdrops: list[Image] = []

        def backdrop() -> Image:
            if not backdrops or not same_place:
                backdrops.append(self.scenery.patch(int(1.6 * c.search_size), rng))
            return backdrops[-1]

        def view(distractors: int) -> tuple[Cut, NDArray[np.float64]]:
            canvas = backdrop().copy()
            side = canvas.shape[0]
            length = rng.uniform(48, 80)
            if same_place:
                place = rng.uniform(0.4, 0.6, 2) * side
            else:
                place = np.array([side / 2, side / 2])
            around = 0.5 * c.search_size
            for _ in range(distractors):
                other = self._look_alike(index, rng)
                angle = rng.uniform(0, 2 * np.pi)
                where = place + np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(length * 0.9, around)
                self._paste(canvas, other, where, length * np.exp(rng.uniform(-0.4, 0.4)), rng)
            box = self._paste(canvas, index, place, length, rng)
            if distractors and rng.random() < 0.3:  # something passes in front
                where = place + rng.uniform(-0.7, 0.7, 2) * length
                self._paste(canvas, int(rng.integers(len(self.cutouts))), where, length * rng.uniform(0.3, 0.6), rng)
            return lambda crop: crop.cut(canvas, (127.0, 127.0, 127.0)), box

        templates = [view(0 if rng.random() < 0.6 else 1) for _ in range(c.templates)]
        searches = [view(int(rng.integers(0, 5))) for _ in range(c.searches)]
        return _finish(c, rng, self.cutouts.kind(index), templates, searches, self.scenery)

    def _look_alike(self, index: int, rng: Rng) -> int:
        family = self.cutouts.kinds[self.cutouts.kind(index)]
        if len(family) > 1 and rng.random() < 0.5:
            return int(family[int(rng.integers(len(family)))])
        return int(rng.integers(len(self.cutouts)))

    def _paste(self, canvas: Image, index: int, place: NDArray[np.float64], length: float, rng: Rng) -> NDArray[np.float64]:
        """Draws a warped cutout with sqrt(w h) about `length` at `place`; returns its xywh box on the canvas."""
        a = self.config.augment
        cutout = self.cutouts[index]
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


class Mixture:
    """Several makers, each with a share; which one makes a group is drawn from the group's own seed."""

    def __init__(self, parts: Sequence[tuple[str, float, GroupMaker]]) -> None:
        self.parts = list(parts)
        total = sum(weight for _, weight, _ in self.parts)
        self._shares = np.cumsum([weight / total for _, weight, _ in self.parts])

    def group(self, rng: Rng) -> Group:
        part = int(np.searchsorted(self._shares, rng.random(), side="right"))
        return self.parts[min(part, len(self.parts) - 1)][2].group(rng)
