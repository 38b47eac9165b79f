"""The part `overhead` of `benchmark`: cost per target without the network and the cutting of windows."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.benchmark.many_targets import follow
from tracker.crops import Colour, Crop
from tracker.runtime.base import Engine, Response
from tracker.tracking.tracker import SiamTracker
from tracker.types import Image

TILE, SIDE = 96, 32
"""Sides of a target's cell in the frame, and of its box, pixels."""
WARM_UPS = 8


class ReadyEngine(Engine):
    """Returns precomputed maps for every window: those that another engine computed for the first window of that size.

    All targets look the same in a static frame, so the maps are right for all of them.

    Args:
        engine: The other engine; maps that it leaves on its device are kept there.
    """

    cuts_windows = True

    def __init__(self, engine: Engine) -> None:
        self.engine, self.name, self.device = engine, engine.name, engine.device
        self.keeps_maps = engine.keeps_maps
        self._ready: dict[tuple[int, int, bool], Response] = {}

    def embed_template(self, crops: Sequence[Image], targets: NDArray[np.float32]) -> Any:
        return self.engine.embed_template(crops, targets)

    def match(self, templates: Any, crops: Sequence[Image]) -> Response:
        return self._maps(templates, crops[0], len(crops), False)

    def match_on_device(self, templates: Any, crops: Sequence[Image]) -> Response:
        return self._maps(templates, crops[0], len(crops), True)

    def match_windows(self, templates: Any, image: Image, crops: Sequence[Crop], fills: Sequence[Colour]) -> Response:
        return self._cut(templates, image, crops, fills, False)

    def match_windows_on_device(
        self, templates: Any, image: Image, crops: Sequence[Crop], fills: Sequence[Colour]
    ) -> Response:
        return self._cut(templates, image, crops, fills, True)

    def stack(self, templates: Sequence[Any]) -> Any:
        return templates[0]

    def to_host(self, templates: Any) -> NDArray[np.float32]:
        return self.engine.to_host(templates)

    def from_host(self, embeddings: NDArray[np.float32]) -> Any:
        return self.engine.from_host(embeddings)

    def _cut(
        self, templates: Any, image: Image, crops: Sequence[Crop], fills: Sequence[Colour], kept: bool
    ) -> Response:
        key = (crops[0].size, len(crops), kept)
        return (
            self._ready[key] if key in self._ready else self._maps(templates, crops[0].cut(image, fills[0]), *key[1:])
        )

    def _maps(self, templates: Any, window: Image, count: int, kept: bool) -> Response:
        key = (window.shape[0], count, kept)
        if key not in self._ready:
            if count == 1:
                match = self.engine.match_on_device if kept else self.engine.match
                self._ready[key] = match(templates, [window])
            else:
                one = self._maps(templates, window, 1, kept)
                parts = (one.score, one.boxes, one.embedding)
                self._ready[key] = Response(*(None if p is None else _repeated(p, count) for p in parts))
        return self._ready[key]


def _repeated(part: Any, count: int) -> Any:
    """(1, ...) -> (count, ...), each with memory of its own."""
    return np.repeat(part, count, axis=0) if isinstance(part, np.ndarray) else part.repeat_interleave(count, dim=0)


def overhead(tracker: SiamTracker, counts: Sequence[int], frames: int = 40) -> dict[str, dict[str, float]]:
    """ms per frame without cutting and network, on one thread, by number of targets.

    Args:
        tracker: Provides the engine's maps and the settings.
        counts: Numbers of targets.
        frames: Number of timed frames; the filters learn in every `tracking.online.gap`-th of them.

    Returns:
        For each number mean, median, 10th and 95th percentile of a frame, ms; and the mean of a target, microseconds.
    """
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (TILE // 8, TILE // 8, 3), dtype=np.uint8)
    tile = cells.repeat(8, axis=0).repeat(8, axis=1)
    out = {}
    for count in counts:
        columns = math.ceil(math.sqrt(count))
        picture = np.tile(tile, (math.ceil(count / columns), columns, 1))
        corner = (TILE - SIDE) / 2
        boxes = [(TILE * (n % columns) + corner, TILE * (n // columns) + corner, SIDE, SIDE) for n in range(count)]
        ready = SiamTracker(tracker.model, ReadyEngine(tracker.engine), tracker.config)
        several = follow(ready, picture, np.array(boxes, dtype=np.float64), kinds=1)
        took = []
        for _ in range(WARM_UPS + frames):
            begun = time.perf_counter()
            timing = several.update(picture)[0].timing
            took.append(time.perf_counter() - begun - count * (timing.crop + timing.network))
        ms = np.array(took[WARM_UPS:]) * 1e3
        out[str(count)] = {
            "mean_ms": float(ms.mean()),
            "median_ms": float(np.median(ms)),
            "p10_ms": float(np.percentile(ms, 10)),
            "p95_ms": float(np.percentile(ms, 95)),
            "target_us": float(ms.mean() / count * 1e3),
        }
    return out
