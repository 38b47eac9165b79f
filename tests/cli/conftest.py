"""A folder with a video and a small model, for `track`; other tests make places of their own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.helpers import tiny_model, write_video
from tests.conftest import moving_square


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip, its frames, a box file and a model."""
    place = tmp_path_factory.mktemp("cli")
    images, boxes = moving_square(12)
    write_video(place / "clip.mp4", images, Fraction(30000, 1001))
    (place / "frames").mkdir()
    for k, image in enumerate(images):
        cv2.imwrite(str(place / "frames" / f"{k + 1}.png"), image)
    np.savetxt(place / "boxes.txt", boxes, delimiter=",", fmt="%g")
    tiny_model(place / "tiny.safetensors")
    return place


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, no display."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    from tracker.media.window import display_available

    display_available.cache_clear()
    return tmp_path
