"""Turned stills, bent cutouts, far targets: the box stays where the target is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.material import stills
from tracker.datasets.stills import BoxedStill, Scenery
from tracker.training.data.augment import AugmentConfig, bent, turned_box
from tracker.training.data.samples import ViewConfig
from tracker.training.data.views import StillViews

QUIET = {
    name: 0.0
    for name in "scale template_jitter flip gray light blur motion_blur noise jpeg low_resolution occlusion".split()
}
SIZES = {"template_size": 65, "search_size": 129}


def ellipse_of(folder: Path) -> tuple[StillViews, AugmentConfig]:
    photo = np.zeros((240, 320, 3), np.uint8)
    cv2.ellipse(photo, ((150.0, 110.0), (80.0, 30.0), 0.0), (255, 255, 255), -1)
    cv2.imwrite(str(folder / "photo.png"), photo)
    augment = AugmentConfig(**QUIET, shift=6.0, turn=90.0)  # type: ignore[arg-type]
    still = BoxedStill(folder / "photo.png", np.array([110.0, 95.0, 80.0, 30.0]), "thing")
    black = folder / "black"
    black.mkdir()
    cv2.imwrite(str(black / "black.png"), np.zeros((300, 300, 3), np.uint8))
    return StillViews([still], ViewConfig(**SIZES, augment=augment), Scenery(black)), augment  # type: ignore[arg-type]


def test_the_box_of_a_turned_still_is_that_of_what_is_seen(tmp_path: Path) -> None:
    views, _ = ellipse_of(tmp_path)
    heights = []
    for seed in range(12):
        sample = views.make(0, np.random.default_rng(seed))
        for picture, box in zip(sample.searches, sample.boxes, strict=True):
            rows, columns = np.nonzero(picture[..., 0] > 127)
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(box - seen).max() < 2.5
            heights.append((box[3] - box[1]) / (box[2] - box[0]))
    assert min(heights) < 0.6 and max(heights) > 1.6  # it lies, and it stands


def test_a_quarter_turn_swaps_the_sides() -> None:
    box = turned_box(np.array([10.0, 20.0, 40.0, 10.0]), np.pi / 2, np.array([30.0, 25.0]))
    assert box == pytest.approx([25, 5, 10, 40])


def test_a_bent_picture_keeps_its_size_and_its_place() -> None:
    picture = np.zeros((80, 60, 4), np.uint8)
    cv2.ellipse(picture, (30, 40), (15, 20), 0, 0, 360, (9, 9, 9, 255), -1)
    before = np.array(np.nonzero(picture[..., 3] > 127)).mean(1)
    moved, areas = [], []
    for seed in range(30):
        out = bent(picture, 0.05, np.random.default_rng(seed))
        assert out.shape == picture.shape and not np.array_equal(out, picture)
        where = np.array(np.nonzero(out[..., 3] > 127))
        moved.append(where.mean(1) - before)
        areas.append(where.shape[1] / (picture[..., 3] > 127).sum())
    assert np.abs(np.mean(moved, axis=0)).max() < 1.5
    assert 0.85 < np.mean(areas) < 1.15 and np.std(areas) > 0.01


def test_a_bent_cutout_keeps_a_box_that_fits(tmp_path: Path) -> None:
    from tracker.datasets.stills import Cutouts
    from tracker.training.data.copy_paste import PasteViews

    root = stills(tmp_path)
    scenery = Scenery(root / "photos")
    sizes = {}
    for bend in (0.0, 0.08):
        augment = AugmentConfig(**QUIET, bend=bend)  # type: ignore[arg-type]
        views = PasteViews(Cutouts(root / "cutouts", []), ViewConfig(**SIZES, augment=augment), scenery)  # type: ignore[arg-type]
        samples = [views.make(k % 4, np.random.default_rng(k)) for k in range(8)]
        boxes = np.concatenate([s.boxes for s in samples])
        sizes[bend] = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)).mean()
    assert sizes[0.08] == pytest.approx(sizes[0.0], rel=0.25)  # crops follow the box, so its size in them stays


def test_far_targets_stand_anywhere_and_whole_in_the_window(tmp_path: Path) -> None:
    views, augment = ellipse_of(tmp_path)
    far = AugmentConfig(**{**QUIET, "shift": 6.0, "far": 1.0})  # type: ignore[arg-type]
    offsets = []
    for config in (augment, far):
        views.config = ViewConfig(**SIZES, augment=config)  # type: ignore[arg-type]
        boxes = np.concatenate([views.make(0, np.random.default_rng(k)).boxes for k in range(20)])
        offsets.append(np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - 64.5).max())
        assert boxes.min() > -3 and boxes.max() < 132
    assert offsets[0] < 10 and offsets[1] > 25
