"""A tracker that nobody holds is freed at once: services make one after another, and the collector comes late."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np

from tracker import MultiTracker, SiamTracker


def test_a_tracker_goes_without_the_collector() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (120, 160, 3), np.uint8) for _ in range(3)]
    one = SiamTracker.from_pretrained("siamtrack-n", "cpu")
    several = MultiTracker(one)
    several.init(images[0], [(30.0, 30.0, 30.0, 24.0), (90.0, 50.0, 24.0, 30.0)])
    for image in images[1:]:
        assert len(several.update(image)) == 2
    held: dict[str, weakref.ref[Any]] = {
        "tracker": weakref.ref(one),
        "targets": weakref.ref(several),
        "engine": weakref.ref(one.observer.engine),
    }
    gc.disable()
    try:
        del one, several
        assert [name for name, thing in held.items() if thing() is not None] == []
    finally:
        gc.enable()
