"""Samples: some templates and some searches of one target, cut as in tracking.

Any template of a sample with any search of it is a genuine pair (unless the search is centred on a distractor and the
target is out of view); with a search of another sample it is a negative pair. Crops come from `tracker.crops`, so that
training and tracking use the same crops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop, context_side
from tracker.datasets.stills import Scenery
from tracker.geometry import clip_box, xywh_to_xyxy
from tracker.settings import LARGEST, Checked, setting
from tracker.training.data.augment import AugmentConfig, Rng, degrade, occlude, to_gray
from tracker.types import Image


@dataclass(frozen=True)
class ViewConfig(Checked, section="train.data.views"):
    """Sizes of the crops, number of views per sample, and number of searches centred on distractors."""

    template_size: int = setting(129, 33, 1023, "pixels", "As `model.template_size`.")
    search_size: int = setting(257, 33, 1023, "pixels", "As `model.search_size`.")
    context: float = setting(0.5, 0, 4, help="As `tracking.context`.")
    templates: int = setting(2, 1, 1000, "views", "Templates in one sample.")
    searches: int = setting(4, 1, 1000, "views", "Searches in one sample.")
    frame_range: int = setting(60, 1, LARGEST, "frames", "Greatest distance between two views in a clip.")
    distractors: float = setting(
        0.0, 0, 1, help="Fraction of the searches that are centred on something else in the same frame."
    )
    augment: AugmentConfig = setting(factory=AugmentConfig, help="Augmentation.")


@dataclass(frozen=True)
class Sample:
    """Views of one target.

    Attributes:
        templates: T images, BGR uint8 template_size square.
        targets: (T, 2) width and height of the target in template pixels.
        searches: S images, BGR uint8 search_size square.
        boxes: (S, 4) xyxy of the target in search pixels; of the distractor where the target is not present.
        label: Name of the target (for logs and contact sheets).
        kind: Its class, or "": samples of the same class are look-alikes.
        identity: Two samples of the same identity show the same object.
        present: (S,) bool, False where the search is centred on a distractor and the target is out of view.
    """

    templates: list[Image]
    targets: NDArray[np.float32]
    searches: list[Image]
    boxes: NDArray[np.float32]
    label: str
    kind: str = ""
    identity: str = ""
    present: NDArray[np.bool_] = field(default_factory=lambda: np.ones(0, dtype=bool))

    def __post_init__(self) -> None:
        if len(self.present) != len(self.searches):
            object.__setattr__(self, "present", np.ones(len(self.searches), dtype=bool))
        if not self.identity:
            object.__setattr__(self, "identity", self.label)


class SampleMaker(Protocol):
    """Makes samples from seeds."""

    def sample(self, rng: Rng) -> Sample:
        """A sample of a random target."""

    def make(self, item: int, rng: Rng) -> Sample:
        """A sample of one of `items`."""

    def items(self) -> Sequence[tuple[str, str]]:
        """(class, identity) of each known target; () if targets have no class."""

    def material(self) -> tuple[Sequence[Path], bytes]:
        """The files that its views are cut from, and the boxes in them: they determine the content of a cache."""


Cut = Callable[[Crop], Image]


@dataclass(frozen=True)
class SampleView:
    """An image to cut from.

    Attributes:
        cut: Samples the pixels of a Crop.
        box: (4,) xywh of the target in its frame.
        focus: (4,) xywh of a distractor on which a search is centred instead; None: the target.
    """

    cut: Cut
    box: NDArray[np.float64]
    focus: NDArray[np.float64] | None = None


SEEN = 0.6
"""Fraction of the target's box that must be visible in a search on a distractor for a genuine pair; between 0 and this
the pair is neither genuine nor negative."""


def finish(
    config: ViewConfig,
    rng: Rng,
    label: str,
    views: Sequence[SampleView],
    scenery: Scenery | None = None,
    kind: str = "",
    identity: str = "",
) -> Sample:
    """Cuts and augments the views of one target.

    Args:
        views: Those of the templates first, then those of the searches.
        scenery: Source of occluders; the view itself where None.
        kind, identity: As in Sample.
    """
    a = config.augment
    flip, gray = rng.random() < a.flip, rng.random() < a.gray
    templates, targets = [], []
    for view in views[: config.templates]:
        box = view.box
        centre, size = box[:2] + box[2:] / 2, box[2:]
        noisy_centre = centre + size * rng.normal(0, a.template_jitter, 2)
        noisy_size = size * np.exp(rng.normal(0, a.template_jitter, 2))
        crop = Crop.around(
            noisy_centre, context_side(noisy_size[0], noisy_size[1], config.context), config.template_size
        )
        picture = degrade(view.cut(crop), a, rng)
        templates.append(_common(picture, flip, gray))
        targets.append(noisy_size * crop.scale)
    searches, boxes, present = [], [], []
    for view in views[config.templates :]:
        box = view.box
        size = box[2:] * np.exp(rng.normal(0, a.scale * 0.4, 2)) * np.exp(rng.normal(0, a.scale))
        side = context_side(size[0], size[1], config.context) * config.search_size / config.template_size
        scale = config.search_size / side
        # Mostly near the centre, as in tracking, sometimes far off: with a padded backbone the network must not learn
        # the centre position.
        reach: Any = a.shift * (rng.random() ** 0.5 if rng.random() < 0.7 else 1.25)
        if a.far and rng.random() < a.far:  # the whole target stays in the window
            reach = np.maximum((config.search_size - size * scale) / 2, a.shift)
        offset = rng.uniform(-reach, reach, 2) / scale
        crop = Crop.around(box[:2] + box[2:] / 2 + offset, side, config.search_size)
        shown = True
        if view.focus is not None:
            on_distractor = Crop.around(view.focus[:2] + view.focus[2:] / 2 + offset, side, config.search_size)
            share = _visible(on_distractor.to_crop(box), config.search_size)
            if share == 0 or share >= SEEN:  # else neither genuine nor negative pair: the ordinary view stays
                crop, shown = on_distractor, share > 0
        picture = view.cut(crop)
        target = xywh_to_xyxy(crop.to_crop(box if shown or view.focus is None else view.focus))
        if rng.random() < a.occlusion:
            other = scenery.patch(config.search_size, rng) if scenery is not None and rng.random() < 0.5 else None
            picture = occlude(picture, target, rng, other)
        searches.append(_common(degrade(picture, a, rng), flip, gray))
        boxes.append(
            [config.search_size - target[2], target[1], config.search_size - target[0], target[3]] if flip else target
        )
        present.append(shown)
    return Sample(
        templates,
        np.asarray(targets, np.float32),
        searches,
        np.asarray(boxes, np.float32),
        label,
        kind,
        identity,
        np.asarray(present),
    )


def _visible(box: NDArray[np.float64], size: int) -> float:
    """Fraction of an xywh box inside a size x size image."""
    inside = clip_box(box, size, size)
    return float(inside[2] * inside[3] / max(box[2] * box[3], 1e-9))


def _common(picture: Image, flip: bool, gray: bool) -> Image:
    picture = to_gray(picture) if gray else picture
    return np.ascontiguousarray(picture[:, ::-1]) if flip else picture
