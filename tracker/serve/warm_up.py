"""Warm-up of a worker before its first stream: every call of the network that tracking may make, so that no frame waits
for a graph to be built, and memory is allocated at the start."""

from __future__ import annotations

import numpy as np

from tracker.serve.batching import observe_many
from tracker.serve.targets import StreamTargets
from tracker.tracking.observer import Observer
from tracker.types import Image

TARGETS = 4
"""Number of targets tracked in noise."""
FRAMES = 6
"""Number of frames until a target at rest uses the small window too."""


def warm_up(observer: Observer, targets: StreamTargets, restored: StreamTargets, call: int) -> None:
    """Tracks noise for some frames, restores a saved target, and makes the largest calls.

    Args:
        observer: The observer of the targets.
        targets, restored: Empty groups; discarded afterwards.
        call: Greatest number of windows per network call.
    """
    image = np.random.default_rng(0).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    names = [str(k) for k in range(TARGETS)]
    for k, name in enumerate(names):
        targets.start(name, image, [40.0 + 120 * k, 150.0, 48.0, 48.0])
    for number in range(FRAMES):
        targets.follow(image, observe_many(observer, [(targets.predict(image), image)], call)[0], number, None)
    restored.restore(names[0], *targets.save(names[0]))
    largest_calls(observer, image)


def largest_calls(observer: Observer, image: Image) -> None:
    """Makes the largest calls that only a LOST target needs: with all its views, and in several windows.

    ONNX Runtime allocates memory when a call is larger than all before, or of a new shape for the second time (it then
    has a plan for that shape), and keeps it: without this a worker would grow by 16 MB at a time, hours after its
    start, when a target with more views than any before is lost.
    """
    config, engine = observer.config, observer.engine
    view = observer.first_view(image, [40.0, 150.0, 48.0, 48.0])[0]
    calls: list[tuple[int, int, int]] = []
    if config.states.enabled and observer.model.has_boxes:
        sides = [observer.sizes[1], *(side for _, side in observer.windows)]
        calls += [(views, 1, side) for side in sides for views in range(config.template_memory.size + 1, 0, -1)]
    if config.redetection.enabled:
        calls += [(1, windows, observer.window) for windows in range(max(config.redetection.tiles, 1), 0, -1)]
    for views, windows, side in calls:
        templates = observer.bank([view] * views).templates
        for _ in range(2):
            engine.match(templates, [np.zeros((side, side, 3), np.uint8)] * windows)
