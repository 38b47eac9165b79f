"""Crops cut by torch (for a GPU; here on its CPU twin) against those of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.runtime.models import pictures, random_model
from tracker.crops import Crop, mean_colour
from tracker.geometry import iou
from tracker.runtime.cuda_engine import CudaEngine
from tracker.runtime.torch_engine import cut_crops
from tracker.settings import changed
from tracker.tracking.multi import MultiTracker
from tracker.tracking.observer import MANY
from tracker.tracking.tracker import SiamTracker

FILL = (17.0, 120.0, 201.0)


@pytest.fixture
def frame() -> np.ndarray:
    rng = np.random.default_rng(4)
    return cv2.GaussianBlur(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8), (0, 0), 1.5)


@pytest.mark.parametrize(
    ("centre", "side"),
    [
        ((80, 60), 40),
        ((80.3, 59.7), 77.7),
        ((5, 8), 60),
        ((158, 119), 90),
        ((80, 60), 400),
        ((-30, -30), 40),
        ((80, 60), 9.5),
    ],
)
def test_torch_cuts_what_opencv_cuts(frame: np.ndarray, centre: tuple[float, float], side: float) -> None:
    crop = Crop.around(centre, side, 65)
    want = crop.cut(frame, FILL).astype(int)
    got = cut_crops(torch.from_numpy(frame), [crop], [FILL])[0].numpy().astype(int)
    # OpenCV may round its weights to 1/32 pixel: on an edge of the image that is up to 1/32 of a step between two
    # colours.
    assert np.abs(got - want).max() <= 8
    assert np.abs(got - want).mean() < 0.5


def test_many_windows_of_one_frame_are_the_single_ones(frame: np.ndarray) -> None:
    crops = [Crop.around((40 + 9 * k, 50), 30 + 7 * k, 33) for k in range(4)]
    fills = [(10.0 * k, 20.0, 30.0) for k in range(4)]
    together = cut_crops(torch.from_numpy(frame), crops, fills)
    for k in range(4):
        assert torch.equal(together[k], cut_crops(torch.from_numpy(frame), crops[k : k + 1], fills[k : k + 1])[0])


def test_matching_windows_is_matching_their_crops(frame: np.ndarray) -> None:
    model = random_model("boxes cosine")
    engine = CudaEngine(model.module, "cpu", torch.float32)
    template = engine.embed_template(
        pictures(2, model.config.model.template_size), np.array([[30, 20], [9, 30]], np.float32)
    )
    crops = [
        Crop.around((80, 60), 90, model.config.model.search_size),
        Crop.around((60, 60), 140, model.config.model.search_size),
    ]
    fills = [mean_colour(frame)] * 2
    want = engine.match(template, [c.cut(frame, f) for c, f in zip(crops, fills, strict=True)])
    got = engine.match_windows(template, frame, crops, fills)
    assert np.abs(got.score - want.score).max() < 0.1 * np.abs(want.score).max()


def test_many_targets_are_cut_by_the_engine_and_tracked_alike(
    frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model("boxes cosine")
    config = changed(model.config.tracking, {"online.weight": 0.0})
    frames = [np.roll(frame, k, axis=1) for k in range(4)]
    boxes = [(20 + 9 * k, 20 + 5 * k, 24, 20) for k in range(MANY)]
    tracks = {}
    for on_device in (True, False):
        engine = CudaEngine(model.module, "cpu", torch.float32)
        calls: list[int] = []
        whole = engine.match_windows_on_device
        monkeypatch.setattr(
            engine,
            "match_windows_on_device",
            lambda *args, whole=whole, calls=calls: (calls.append(1), whole(*args))[1],
        )
        if not on_device:
            monkeypatch.setattr("tracker.tracking.observer.MANY", 99)
        several = MultiTracker(SiamTracker(model, engine, config))
        several.init(frames[0], boxes)
        tracks[on_device] = np.array([[t.box for t in several.update(frame)] for frame in frames[1:]])
        assert bool(calls) == on_device
    # Random weights: a tie may fall otherwise where a pixel differs by a grey level.
    assert np.mean(iou(tracks[True].reshape(-1, 4), tracks[False].reshape(-1, 4)) > 0.9) > 0.8
