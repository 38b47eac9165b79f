"""Views: the box that is taught lies where the target is, whatever was done to the picture."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import moving_square
from tests.training.material import got10k, stills, write_frames
from tracker.datasets.stills import BoxedStill, Cutouts, Scenery, read_coco
from tracker.datasets.tracks import AnnotatedTrack
from tracker.geometry import iou, xyxy_to_xywh
from tracker.training.data.augment import AugmentConfig, degrade, light, motion_blur, occlude, to_gray
from tracker.training.data.copy_paste import PasteViews
from tracker.training.data.samples import Sample, ViewConfig
from tracker.training.data.views import ClipViews, PhotoViews, StillViews

PLAIN = AugmentConfig(
    light=0.0,
    blur=0.0,
    motion_blur=0.0,
    noise=0.0,
    jpeg=0.0,
    low_resolution=0.0,
    occlusion=0.0,
    gray=0.0,
    flip=0.5,
    shift=30.0,
    template_jitter=0.0,
)
VIEW = ViewConfig(template_size=65, search_size=129, frame_range=8, augment=PLAIN)


def red_square(folder: Path, frames: int = 6, second: bool = False) -> AnnotatedTrack:
    """A red square that moves over gray ground (with a blue one far from it)."""
    images, boxes = [], []
    for k in range(frames):
        image = np.full((200, 300, 3), 90, np.uint8)
        image[60 : 60 + 30, 50 + 4 * k : 90 + 4 * k] = (0, 0, 255)
        if second:
            image[140:170, 230:270] = (255, 0, 0)
        images.append(image)
        boxes.append((50 + 4 * k, 60, 40, 30))
    paths = write_frames(folder, images, "{}.png")
    return AnnotatedTrack("red", tuple(paths), np.asarray(boxes, float), "square", clip="clip")


def red_box(picture: np.ndarray) -> np.ndarray:
    """xywh of the red pixels of a picture."""
    mask = (picture[..., 2].astype(int) - picture[..., 0] > 90).astype(np.uint8)
    return np.asarray(cv2.boundingRect(mask), float)


def test_boxes_lie_on_the_target(tmp_path: Path) -> None:
    maker = ClipViews([red_square(tmp_path)], VIEW)
    for k in range(12):
        sample = maker.sample(np.random.default_rng(k))
        for picture, box, present in zip(sample.searches, sample.boxes, sample.present, strict=True):
            inside = np.clip(box, 0, 129)
            assert present and iou(red_box(picture), xyxy_to_xywh(inside)) > 0.85
        for picture, (w, h) in zip(sample.templates, sample.targets, strict=True):
            expected = np.array([32.5 - w / 2, 32.5 - h / 2, w, h])
            assert iou(red_box(picture), expected) > 0.85


def test_the_target_is_not_always_in_the_middle(tmp_path: Path) -> None:
    maker = ClipViews([red_square(tmp_path)], VIEW)
    boxes = np.concatenate([maker.sample(np.random.default_rng(k)).boxes for k in range(60)])
    offset = (boxes[:, :2] + boxes[:, 2:]) / 2 - 64.5
    assert np.abs(offset).max() > 30 and offset.std() > 10 and np.abs(offset.mean()) < 4


@pytest.mark.parametrize("annotated", [True, False])
def test_distractors_of_the_same_frame(tmp_path: Path, annotated: bool) -> None:
    red = red_square(tmp_path, second=True)
    blue = AnnotatedTrack("blue", red.frames, np.tile([230.0, 140, 40, 30], (6, 1)), "square", clip="clip")
    view = ViewConfig(template_size=65, search_size=129, distractors=1.0, augment=PLAIN)
    maker = ClipViews([red, blue] if annotated else [red], view)
    away = near = 0
    for k in range(20):
        sample = maker.make(0, np.random.default_rng(k))
        for picture, box, present in zip(sample.searches, sample.boxes, sample.present, strict=True):
            red_area = red_box(picture)[2:].prod()
            if present:
                near += 1
                assert red_area >= 0.5 * np.prod(box[2:] - box[:2])
            else:
                away += 1
                assert red_area == 0
                if annotated:
                    x, y, w, h = xyxy_to_xywh(np.clip(box, 0, 129)).astype(int)
                    assert picture[y : y + h, x : x + w, 0].mean() > 150  # the blue one
    assert away > 10 and (annotated or near > 10)


def test_boxed_stills_know_the_other_objects(tmp_path: Path) -> None:
    root = stills(tmp_path)
    found = read_coco(root / "boxed" / "instances.json")
    assert len(found) == 4
    view = ViewConfig(template_size=65, search_size=129, distractors=1.0, augment=PLAIN)
    maker = StillViews(found, view, Scenery(root / "photos"))
    samples = [maker.sample(np.random.default_rng(k)) for k in range(10)]
    assert any(not g.present.all() for g in samples)
    assert len({g.identity for g in samples}) > 1 and {g.kind for g in samples} == {"box"}


def test_stretched_stills_keep_their_box(tmp_path: Path) -> None:
    root = stills(tmp_path / "s")
    track = red_square(tmp_path / "f")
    maker = StillViews([BoxedStill(track.frames[0], track.boxes[0], "red")], VIEW, Scenery(root / "photos"))
    gray = np.full((150, 200, 3), 90, np.uint8)
    for path in (root / "photos").iterdir():
        cv2.imwrite(str(path), gray)
    maker = StillViews(maker.stills, VIEW, Scenery(root / "photos"))
    for k in range(8):
        sample = maker.sample(np.random.default_rng(k))
        for picture, box in zip(sample.searches, sample.boxes, strict=True):
            assert iou(red_box(picture), xyxy_to_xywh(np.clip(box, 0, 129))) > 0.8


def test_pasted_objects_and_photos(tmp_path: Path) -> None:
    root = stills(tmp_path)
    cutouts = Cutouts(root / "cutouts", [])
    assert sorted(cutouts.kinds) == ["cup", "dog"] and cutouts[0].shape[2] == 4
    scenery = Scenery(root / "photos")
    sample = PasteViews(cutouts, VIEW, scenery).sample(np.random.default_rng(0))
    assert sample.kind in ("cup", "dog") and sample.boxes.shape == (4, 4)
    photos = PhotoViews(VIEW, scenery)
    one, two = photos.sample(np.random.default_rng(0)), photos.sample(np.random.default_rng(1))
    assert one.label == two.label == "photo" and one.identity != two.identity


def test_a_seed_decides_a_group(tmp_path: Path) -> None:
    maker = ClipViews([red_square(tmp_path)], ViewConfig(template_size=65, search_size=129))

    def digest(sample: Sample) -> str:
        return hashlib.sha256(b"".join(p.tobytes() for p in [*sample.templates, *sample.searches])).hexdigest()

    assert digest(maker.sample(np.random.default_rng([1, 2]))) == digest(maker.sample(np.random.default_rng([1, 2])))
    assert digest(maker.sample(np.random.default_rng([1, 2]))) != digest(maker.sample(np.random.default_rng([1, 3])))


def test_what_is_off_by_default_draws_nothing(tmp_path: Path) -> None:
    """The order of random numbers is part of a recipe: caches and weights depend on it.

    These were drawn before distractors came.
    """
    got10k(tmp_path / "got")
    tracks = [
        AnnotatedTrack(n, tuple(sorted((tmp_path / "got" / n).glob("*.jpg"))), moving_square(12)[1])
        for n in ("alpha", "beta")
    ]
    sample = ClipViews(tracks, ViewConfig(template_size=65, search_size=129)).sample(np.random.default_rng([0, 3, 7]))
    assert sample.label == EXPECTED_LABEL
    assert np.allclose(sample.boxes[:, :2], EXPECTED_BOXES, atol=1e-3)


EXPECTED_LABEL = "beta"
EXPECTED_BOXES = [[55.7993, 28.0822], [36.8541, 30.7789], [41.1507, 49.3346], [23.1238, 68.6828]]


def test_single_steps_of_augmentation() -> None:
    image = moving_square(1)[0][0]
    rng = np.random.default_rng(0)
    assert (light(image, 0.0, rng) == image).mean() > 0.99
    gray = to_gray(image)
    assert (gray[..., 0] == gray[..., 2]).all()
    flat = motion_blur(np.full((20, 20, 3), 77, np.uint8), 7, 30.0)
    assert np.abs(flat.astype(int) - 77).max() <= 1
    hidden = occlude(image, np.array([20.0, 30, 48, 58]), rng)
    changed = (hidden != image).any(-1)
    assert changed.any() and changed.mean() < 0.1
    assert degrade(image, AugmentConfig(), rng).shape == image.shape
