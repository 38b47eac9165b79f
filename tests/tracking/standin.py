"""An engine without a network for tests of what is around it: normalised cross-correlation of pixels (numpy and
OpenCV)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from tracker.config import Config, TrackingConfig
from tracker.model_config import ModelConfig
from tracker.runtime.base import Engine, Response
from tracker.settings import changed
from tracker.tracking.tracker import SiamTracker

TEMPLATE, SEARCH, STRIDE = 65, 129, 4
CALIBRATED = changed(
    TrackingConfig(),
    {
        "calibration.confidence": (-2.0, 1.0, 0.2, 0.0, 0.0, 0.0, 0.0),
        "states.uncertain_score": 0.5,
        "states.sure_score": 0.6,
        "states.lost_score": 0.25,
        "redetection.score": 0.6,
        "redetection.evidence": 0.0,
        "template_memory.least": -1.0,
        "redetection.margin": 0.3,
        "redetection.budget_ms": 0.0,
        "window_influence": 0.2,
        "scale_penalty": 0.04,
        "online.weight": 0.0,  # the pixels have no embedding to learn on
        "skip.mode": "off",  # tests count what the engine looks at
    },
)


class PixelEngine(Engine):
    """Finds the pixels of the template. An embedding is the template picture and a last channel: the target's share."""

    name, device = "pixels", "cpu"

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def embed_template(self, crops: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
        out = np.zeros((len(crops), 4, TEMPLATE, TEMPLATE), np.float32)
        for k, (crop, (w, h)) in enumerate(zip(crops, np.asarray(targets).reshape(-1, 2), strict=True)):
            out[k, :3] = crop.transpose(2, 0, 1).astype(np.float32) - 127
            away = np.abs(np.arange(TEMPLATE) - (TEMPLATE - 1) / 2)
            out[k, 3] = (away[:, None] <= max(h, 6) / 2) & (away[None] <= max(w, 6) / 2)
        return out

    def match(self, templates: np.ndarray, crops: Sequence[np.ndarray]) -> Response:
        self.calls.append((len(templates), len(crops)))
        n = max(len(templates), len(crops))
        pairs = [(templates[k % len(templates)], crops[k % len(crops)]) for k in range(n)]
        maps = [self._one(z, x) for z, x in pairs]
        return Response(np.stack([m[0] for m in maps]), np.stack([m[1] for m in maps]))

    def _one(self, z: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = np.flatnonzero(z[3].any(1)), np.flatnonzero(z[3].any(0))
        patch = (
            (z[:3, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].transpose(1, 2, 0) + 127)
            .clip(0, 255)
            .astype(np.uint8)
        )
        h, w = patch.shape[:2]
        padded = cv2.copyMakeBorder(x, h // 2, h // 2, w // 2, w // 2, cv2.BORDER_REPLICATE)
        full = np.nan_to_num(cv2.matchTemplate(padded, patch, cv2.TM_CCOEFF_NORMED), nan=-1, posinf=-1, neginf=-1)
        full = cv2.dilate(full, np.ones((7, 7), np.uint8))  # a cell stands for its neighbourhood
        steps = np.arange(0, x.shape[0], STRIDE)
        score = (
            10 * (full[np.ix_(np.minimum(steps, full.shape[0] - 1), np.minimum(steps, full.shape[1] - 1))] - 0.4)
        ).astype(np.float32)
        at = steps + 0.5
        zero = np.zeros((len(steps), len(steps)))
        boxes = np.stack(
            [at[None] - w / 2 + zero, at[:, None] - h / 2 + zero, at[None] + w / 2 + zero, at[:, None] + h / 2 + zero]
        )
        return score, boxes.astype(np.float32)

    def stack(self, templates: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(templates))

    def to_host(self, templates: np.ndarray) -> np.ndarray:
        return templates

    def from_host(self, embeddings: np.ndarray) -> np.ndarray:
        return embeddings


def pixel_tracker(changes: Mapping[str, Any] | None = None) -> SiamTracker:
    """A SiamTracker on the pixel engine; `changes` as for `tracker.settings.changed`."""
    config = changed(CALIBRATED, changes or {})
    full = Config(name="pixels", model=ModelConfig(template_size=TEMPLATE, search_size=SEARCH), tracking=config)
    model = SimpleNamespace(name="pixels", config=full, state={}, stride=STRIDE, has_boxes=True, path=None)
    return SiamTracker(model, PixelEngine(), config)  # type: ignore[arg-type]


def ground(width: int = 320, height: int = 240, seed: int = 0) -> np.ndarray:
    """A smooth random picture."""
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 4)


def thing(size: int = 28, seed: int = 1, cells: int = 7) -> np.ndarray:
    """A picture with a clear texture."""
    rng = np.random.default_rng(seed)
    return cv2.resize(
        rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8), (size, size), interpolation=cv2.INTER_NEAREST
    )


def put(image: np.ndarray, patch: np.ndarray, x: float, y: float) -> np.ndarray:
    """The picture with a patch on it, cut at the border."""
    out = image.copy()
    x, y = round(x), round(y)
    h, w = patch.shape[:2]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, image.shape[1]), min(y + h, image.shape[0])
    if right > left and bottom > top:
        out[top:bottom, left:right] = patch[top - y : bottom - y, left - x : right - x]
    return out
