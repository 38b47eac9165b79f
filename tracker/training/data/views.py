"""Sample makers: from annotated clips, from annotated stills, and from photos without boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.crops import Colour, Crop, context_side, mean_colour
from tracker.datasets.stills import BoxedStill, Scenery
from tracker.datasets.tracks import AnnotatedTrack, DataError, read_image
from tracker.training.data.augment import Rng, turned_box
from tracker.training.data.samples import Sample, SampleView, ViewConfig, finish
from tracker.types import Image


class ClipViews:
    """Samples from annotated clips: frames within a range of each other (SiamFC: the same object, at most T frames
    apart)."""

    def __init__(self, tracks: Sequence[AnnotatedTrack], config: ViewConfig, scenery: Scenery | None = None) -> None:
        self.tracks = [t for t in tracks if len(t.present) >= 2]
        if not self.tracks:
            raise DataError("None of the tracks shows its target in two frames; there is nothing to make pairs of.")
        self.config, self.scenery = config, scenery
        self._by_clip: dict[str, list[AnnotatedTrack]] = {}
        for track in self.tracks:
            self._by_clip.setdefault(track.clip or track.name, []).append(track)

    def material(self) -> tuple[Sequence[Path], bytes]:
        files = [f for track in self.tracks for f in (*track.frames, *track.masks)]
        return files + (self.scenery.paths if self.scenery else []), b"".join(
            track.boxes.tobytes() for track in self.tracks
        )

    def items(self) -> Sequence[tuple[str, str]]:
        return [(t.kind, t.name) for t in self.tracks]

    def sample(self, rng: Rng) -> Sample:
        return self.make(int(rng.integers(len(self.tracks))), rng)

    def make(self, item: int, rng: Rng) -> Sample:
        track = self.tracks[item]
        c = self.config
        first = int(rng.integers(len(track.present)))
        low, high = max(0, first - c.frame_range), min(len(track.present) - 1, first + c.frame_range)
        picks = rng.integers(low, high + 1, c.templates + c.searches)
        fills: dict[int, tuple[Image, Colour]] = {}

        def view(number: int, pick: int) -> SampleView:
            index = int(track.present[pick])
            if index not in fills:
                image = track.image(index)
                fills[index] = image, mean_colour(image)
            image, fill = fills[index]
            focus = None
            if number >= c.templates and c.distractors and rng.random() < c.distractors:
                focus = self._distractor(track, index, image, rng)
            return SampleView(lambda crop: crop.cut(image, fill), track.boxes[index], focus)

        views = [view(k, int(p)) for k, p in enumerate(picks)]
        return finish(c, rng, track.name, views, self.scenery, track.kind, track.name)

    def _distractor(self, track: AnnotatedTrack, index: int, image: Image, rng: Rng) -> NDArray[np.float64]:
        """Another target in this frame, or else a position in it away from the target."""
        frame, box = track.frames[index], track.boxes[index]
        others = []
        for other in self._by_clip[track.clip or track.name]:
            if (
                other is not track
                and (index < len(other.frames) and other.frames[index] == frame)
                and index in other.present
            ):
                others.append(other.boxes[index])
        if others:
            return others[int(rng.integers(len(others)))]
        side = context_side(box[2], box[3], self.config.context) * self.config.search_size / self.config.template_size
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.2) * side
        centre = box[:2] + box[2:] / 2 + distance * np.array([np.cos(angle), np.sin(angle)])
        size = np.array([image.shape[1], image.shape[0]], dtype=np.float64)
        edge = np.minimum(0.3 * side, size / 2)  # a window that extends beyond the frame is an easy negative
        centre = np.clip(centre, edge, size - edge)
        return np.concatenate([centre - box[2:] / 2, box[2:]])


class StillViews:
    """Samples from annotated objects of photos: stretched copies, padded with other photos."""

    def __init__(self, stills: Sequence[BoxedStill], config: ViewConfig, scenery: Scenery) -> None:
        self.stills, self.config, self.scenery = list(stills), config, scenery
        self._by_path: dict[Path, list[int]] = {}
        for k, still in enumerate(self.stills):
            self._by_path.setdefault(still.path, []).append(k)

    def material(self) -> tuple[Sequence[Path], bytes]:
        return [still.path for still in self.stills] + self.scenery.paths, b"".join(
            still.box.tobytes() for still in self.stills
        )

    def items(self) -> Sequence[tuple[str, str]]:
        return [(s.kind, _identity(s)) for s in self.stills]

    def sample(self, rng: Rng) -> Sample:
        return self.make(int(rng.integers(len(self.stills))), rng)

    def make(self, item: int, rng: Rng) -> Sample:
        still = self.stills[item]
        others = [self.stills[k].box for k in self._by_path[still.path] if k != item]
        label = f"{still.kind} {still.path.stem}"
        return self.views_of(read_image(still.path), still.box, label, rng, still.kind, _identity(still), others)

    def views_of(
        self,
        image: Image,
        box: NDArray[np.float64],
        label: str,
        rng: Rng,
        kind: str = "",
        identity: str = "",
        others: Sequence[NDArray[np.float64]] = (),
    ) -> Sample:
        """The sample for one box of one image.

        Args:
            image: BGR uint8.
            box: (4,) xywh.
            label, kind, identity: As in Sample.
            rng: Decides everything.
            others: Boxes of the image's other objects: distractors.
        """
        a = self.config.augment

        def view(search: bool) -> SampleView:
            # A stretched copy: x times sx, y times 1 / sx.
            stretch = float(np.exp(rng.uniform(-a.stretch, a.stretch) / 2))
            factors = np.array([stretch, 1 / stretch])
            backdrop = self.scenery.patch(self.config.search_size, rng)
            angle = np.radians(rng.uniform(-a.turn, a.turn)) if a.turn else 0.0
            middle = (box[:2] + box[2:] / 2) * factors
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

            def cut(crop: Crop) -> Image:
                inverse = 1.0 / crop.scale
                shift = 0.5 * inverse
                # From a pixel of the crop to a position in the stretched and rotated copy, and from there to the photo.
                back = turn.T / factors[:, None]
                corner = np.array([crop.left, crop.top]) + shift - middle
                matrix = np.column_stack([back * inverse, back @ corner + middle / factors - 0.5])
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

            four = np.concatenate([factors, factors])

            def placed(one: NDArray[np.float64]) -> NDArray[np.float64]:
                return turned_box(one * four, angle, middle) if a.turn else one * four

            focus = None
            if search and len(others) and self.config.distractors and rng.random() < self.config.distractors:
                focus = placed(others[int(rng.integers(len(others)))])
            return SampleView(cut, placed(box), focus)

        views = [view(k >= self.config.templates) for k in range(self.config.templates + self.config.searches)]
        return finish(self.config, rng, label, views, self.scenery, kind, identity)


def _identity(still: BoxedStill) -> str:
    return f"{still.path.name} {','.join(f'{v:.0f}' for v in still.box)}"


class PhotoViews(StillViews):
    """Self-supervised samples: a random region of an unlabelled photo is the target (S2SiamFC, Sio et al. 2020)."""

    def __init__(self, config: ViewConfig, scenery: Scenery) -> None:
        super().__init__((), config, scenery)

    def items(self) -> Sequence[tuple[str, str]]:
        return ()

    def sample(self, rng: Rng) -> Sample:
        path = self.scenery.draw(rng)
        image = self.scenery.read(path)
        height, width = image.shape[:2]
        for _ in range(8):  # a region with some texture
            side = min(height, width) * rng.uniform(0.2, 0.5)
            ratio = np.exp(rng.uniform(-0.7, 0.7) / 2)
            w, h = side * ratio, side / ratio
            x, y = rng.uniform(0, max(1.0, width - w)), rng.uniform(0, max(1.0, height - h))
            if image[int(y) : int(y + h), int(x) : int(x + w)].std() > 25:
                break
        # Its own identity: regions of two photos are never the same object.
        return self.views_of(image, np.array([x, y, w, h]), "photo", rng, identity=f"{path.name} {x:.0f} {y:.0f}")
