"""The part `targets` of `benchmark`: what several targets in one frame cost, on one core and on all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tracker.benchmark.measure import Clip, Series, in_pairs
from tracker.config import Config
from tracker.tracking.multi import MultiTracker
from tracker.tracking.tracker import SiamTracker


def by_targets(
    tracker: SiamTracker, clip: Clip, counts: Sequence[int], threads: int, frames: int = 60
) -> dict[str, dict[str, float]]:
    """ms of a frame with several targets, as the tracker is configured.

    Each target has a copy of the clip to itself, the copies side by side in one frame: so n targets are n times the
    work of one, and are followed as well as it is.

    Args:
        tracker: What to time.
        clip: Frames and box of one target.
        counts: Numbers of targets.
        threads: CPU threads that the targets are spread over.
        frames: How many to track.
    """
    height, width = clip.images[0].shape[:2]
    multi = {count: MultiTracker(tracker, threads) for count in counts}
    series = {count: Series() for count in counts}
    for k, image in enumerate(clip.images[: frames + 1]):
        for count in counts:
            columns = math.ceil(math.sqrt(count))
            picture = np.tile(image, (math.ceil(count / columns), columns, 1))
            if k == 0:
                corners = np.array([(width * (n % columns), height * (n // columns), 0, 0) for n in range(count)])
                multi[count].init(picture, clip.box + corners)
            else:
                series[count].run(multi[count].update, picture, turn=k)
    return {
        str(count): s for count, s in in_pairs(series, min(10, frames // 2)).items()
    }  # at first all take the full window


def windows(config: Config) -> str:
    """How targets are looked for, in words: what a target costs depends on it."""
    full, small = config.model.search_size, config.tracking.small_search.size
    size = (
        f"windows of {small} px for targets that hardly move, else {full} px"
        if 0 < small < full
        else f"windows of {full} px"
    )
    return (
        f"{size}; states {'on' if config.tracking.states.enabled and config.tracking.calibration.confidence else 'off'}"
    )
