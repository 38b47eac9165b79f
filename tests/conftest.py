"""Small videos that the tests synthesise: a textured square that moves over a textured ground."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

# A shell that starts the tests in the background makes them, and the tools they start, deaf to Ctrl-C, which some of
# them send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The engine is not chosen by measuring: tests, and the tools that they start, give the same on every machine.
os.environ["SIAMTRACK_ENGINE"] = "onnxruntime"

# A machine that does other work, too, is no fault of what is tested.
settings.register_profile("siamtrack", deadline=None)
settings.load_profile("siamtrack")


def moving_square(
    frames: int = 12, width: int = 160, height: int = 120, size: int = 28, seed: int = 0
) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames (BGR uint8) and their true boxes (frames, 4) xywh."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 3)
    patch = np.kron(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8), np.ones((size // 7, size // 7, 1), np.uint8))
    size = patch.shape[0]
    images, boxes = [], []
    for k in range(frames):
        x, y = 20 + 3 * k, 30 + 2 * k
        image = ground.copy()
        image[y : y + size, x : x + size] = patch
        images.append(image)
        boxes.append((x, y, size, size))
    return images, np.asarray(boxes, dtype=np.float64)


@pytest.fixture
def clip() -> tuple[list[np.ndarray], np.ndarray]:
    return moving_square()


@pytest.fixture
def image_folder(tmp_path: Path, clip: tuple[list[np.ndarray], np.ndarray]) -> Path:
    """A folder of numbered PNG frames without leading zeros (natural sort decides their order)."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for k, image in enumerate(clip[0]):
        cv2.imwrite(str(folder / f"frame_{k + 1}.png"), image)
    return folder
