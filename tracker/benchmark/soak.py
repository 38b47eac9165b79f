"""Hours of tracking: memory and speed must not change."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.benchmark.measure import Clip
from tracker.tracking.tracker import SiamTracker


def resident_bytes() -> int:
    """Memory of this process that is in RAM, or its largest value so far where the system tells no more."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def soak(
    tracker: SiamTracker,
    clip: Clip,
    count: int,
    tick: Callable[[int], None] = lambda k: None,
    fresh: SiamTracker | None = None,
) -> dict[str, Any]:
    """Many frames (the clip forward, backward, forward, ...): does memory grow, does it slow down?

    A processor's own pace changes by more in a minute than what is looked for, so over the last tenth the tracker is
    timed in turns with one that begins there.

    Args:
        tracker: Goes through all frames.
        clip: The frames.
        count: How many.
        tick: Called with the number of frames now and then.
        fresh: Begins with the last tenth, on the box of the other.

    Returns:
        `rss_slope` in bytes a frame (least squares over the second half, when caches are full), `rss_start`, `rss_end`,
        the processor time of the first and the last tenth (at most 1,000 frames) in ms, that of the fresh tracker over
        the last tenth (None without one), and the samples of memory.
    """
    order = list(range(len(clip.images))) + list(range(len(clip.images) - 2, 0, -1))
    tracker.init(clip.images[0], clip.box)
    part = max(1, min(1000, count // 10))
    durations: NDArray[np.float64] = np.empty(count)
    young: list[float] = []
    samples: list[tuple[int, int]] = []
    gc.collect()
    for k in range(count):
        image = clip.images[order[(k + 1) % len(order)]]
        begun = time.process_time()
        track = tracker.update(image)
        durations[k] = time.process_time() - begun
        if fresh is not None and k == count - part - 1:
            fresh.init(image, track.box)
        elif fresh is not None and k >= count - part:
            begun = time.process_time()
            fresh.update(image)
            young.append(time.process_time() - begun)
        if k % max(1, count // 200) == 0:
            samples.append((k, resident_bytes()))
            tick(k)
    # Without the last tenth, in which another tracker begins.
    half = np.array([s for s in samples[len(samples) // 2 :] if fresh is None or s[0] < count - part], dtype=np.float64)
    slope = float(np.polyfit(half[:, 0], half[:, 1], 1)[0]) if len(half) > 2 else 0.0
    first, last = np.median(durations[:part]), np.median(durations[-part:])
    return {
        "frames": count,
        "rss_start": samples[0][1],
        "rss_end": samples[-1][1],
        "rss_slope_bytes_per_frame": slope,
        "first_ms": float(first * 1e3),
        "last_ms": float(last * 1e3),
        "fresh_ms": float(np.median(young) * 1e3) if young else None,
        "part": part,
        "samples": samples,
    }
