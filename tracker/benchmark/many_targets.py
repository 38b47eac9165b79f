"""A synthetic video full of targets, for speed measurements with hundreds of them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.tracking.multi import MultiTracker
from tracker.tracking.online_filter import OnlineFilter
from tracker.tracking.target import Target
from tracker.tracking.tracker import SiamTracker
from tracker.types import Image

WIDTH, HEIGHT, CELL, SIDE = 1920, 1080, 71, 20
"""Sizes of the frame, of the cell reserved for a target, and of a target, in pixels: there is room for 405 targets."""
PERIOD, RADIUS = 24, 3
"""Frames per revolution, and radius in pixels, of the circle that each target moves on: slow motion."""
KINDS = 8
"""Number of different targets: an online filter is fitted to each, and the others get a copy of that of their kind."""


def crowd() -> tuple[list[Image], NDArray[np.float64]]:
    """`PERIOD` frames that can be repeated cyclically, full of small targets of `KINDS` kinds; and (N, 4) their boxes
    in the first, xywh."""
    rng = np.random.default_rng(0)
    ground: Image = cv2.GaussianBlur(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), (0, 0), 3)  # type: ignore[assignment]
    things = [rng.integers(0, 256, (5, 5, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1) for _ in range(KINDS)]
    columns, rows = WIDTH // CELL, HEIGHT // CELL
    corners = np.array([(CELL * x, CELL * y) for y in range(rows) for x in range(columns)]) + (CELL - SIDE) // 2
    images = []
    for turn in np.arange(PERIOD) * (2 * math.pi / PERIOD):
        image = ground.copy()
        dx, dy = round(RADIUS * math.cos(turn)), round(RADIUS * math.sin(turn))
        for k, (x, y) in enumerate(corners.tolist()):
            image[y + dy : y + dy + SIDE, x + dx : x + dx + SIDE] = things[k % KINDS]
        images.append(image)
    first = corners + np.array([RADIUS, 0])
    return images, np.concatenate([first, np.full_like(first, SIDE)], axis=1).astype(np.float64)


def follow(tracker: SiamTracker, image: Image, boxes: NDArray[np.float64], kinds: int = KINDS) -> MultiTracker:
    """Starts tracking many targets, every `kinds`-th of which is the same, on one thread; fitting hundreds of filters
    would take longer than the measurement."""
    several = MultiTracker(tracker, 1)
    several.init(image, boxes[:kinds])
    fitted = [several.targets[k] for k in range(min(kinds, len(boxes)))]
    for k, box in enumerate(boxes[kinds:], kinds):
        view, centre, size, fill = several.observer.first_view(image, box)
        target = Target(centre, size, size.copy(), fill, several.observer.bank([view]))
        like, online = fitted[k % kinds].filter, tracker.config.online
        if like is not None:
            target.filter = OnlineFilter.from_arrays(like.to_arrays(), online.rate, online.gap)
        several.targets[k] = target
    return several
