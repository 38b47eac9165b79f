"""Our tracker in the clothes of OpenCV's and of the got10k package's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.helpers import tiny_model
from tests.conftest import moving_square
from tracker.evaluation.specs import parse_model
from tracker.evaluation.toolkit import as_toolkit_tracker
from tracker.tracking.adapters import OpenCVTracker
from tracker.tracking.tracker import SiamTracker


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny_model(tmp_path_factory.mktemp("adapters") / "tiny.safetensors"))


def test_opencv_shape(model: Path) -> None:
    images, boxes = moving_square(8)
    ours = OpenCVTracker.create(str(model))
    assert ours.init(images[0], tuple(boxes[0])) is None and ours.getTrackingScore() == 0.0
    plain = SiamTracker.from_pretrained(model)
    plain.init(images[0], boxes[0])
    for image in images[1:]:
        ok, found = ours.update(image)
        track = plain.update(image)
        assert ok is track.visible and all(isinstance(v, int) for v in found)
        np.testing.assert_allclose(found, track.box, atol=0.5)
    assert 0 < ours.getTrackingScore() <= 1


def test_got10k_shape(model: Path) -> None:
    from PIL import Image

    images, boxes = moving_square(6)
    adapter = as_toolkit_tracker(parse_model(str(model), {"device": "cpu", "engine": "auto", "overrides": ""}))
    plain = SiamTracker.from_pretrained(model)
    pictures = [Image.fromarray(image[..., ::-1]) for image in images]
    adapter.init(pictures[0], boxes[0])
    plain.init(images[0], boxes[0])
    for picture, image in zip(pictures[1:], images[1:], strict=True):
        np.testing.assert_allclose(adapter.update(picture), plain.update(image).box)
