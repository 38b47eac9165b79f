"""Little material for matchers: classes of drawn shapes, lists of pairs, a recipe that trains in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tracker.config_merge import merge
from tracker.matching.config import MatchConfig

COLOURS = [(40, 40, 220), (40, 200, 40), (220, 60, 40), (30, 200, 220), (200, 40, 200), (120, 120, 120)]


def shape(kind: int, seed: int, size: int = 40) -> np.ndarray:
    """A picture of thing `kind`: its colour and form are its own, place and size vary."""
    rng = np.random.default_rng((kind, seed))
    image = np.full((size, size, 3), 235, np.uint8)
    image = np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)
    x, y = (int(v) for v in rng.integers(size // 2 - 4, size // 2 + 5, 2))
    r = int(rng.integers(size // 4, size // 3))
    if kind % 3 == 0:
        cv2.circle(image, (x, y), r, COLOURS[kind], -1)
    elif kind % 3 == 1:
        cv2.rectangle(image, (x - r, y - r), (x + r, y + r), COLOURS[kind], -1)
    else:
        cv2.line(image, (x - r, y - r), (x + r, y + r), COLOURS[kind], 6)
        cv2.line(image, (x + r, y - r), (x - r, y + r), COLOURS[kind], 6)
    return image


def classes(folder: Path, count: int = 5, each: int = 8) -> Path:
    """A folder of classes thing0, thing1, ..."""
    for kind in range(count):
        (folder / f"thing{kind}").mkdir(parents=True, exist_ok=True)
        for k in range(each):
            cv2.imwrite(str(folder / f"thing{kind}" / f"{k:02d}.png"), shape(kind, k))
    return folder


def values(root: Path, **data: Any) -> dict[str, Any]:
    """A recipe as plain values: small pictures, few steps."""
    return {
        "name": "match-test",
        "model": {
            "input": {"width": 24, "height": 24},
            "encoder": {"name": "cnn", "options": {"channels": [8, 16], "dim": 16}},
        },
        "data": {"root": str(root), "sources": [{"kind": "folder", "path": "."}], "classes": 4, "samples": 3, **data},
        "loss": {"name": "multi-similarity"},
        "train": {
            "steps": 12,
            "precision": "fp32",
            "channels_last": False,
            "threads": 1,
            "workers": 0,
            "log_every": 1,
            "checkpoint_every": 4,
            "tensorboard": False,
            "ema_decay": 0.5,
            "optim": {"learning_rate": 0.005},
        },
    }


def recipe(root: Path, **changes: Any) -> MatchConfig:
    """The same as a configuration; `changes` replace whole sections."""
    data = changes.pop("data", {})
    return merge(MatchConfig(), {**values(root, **data), **changes})
