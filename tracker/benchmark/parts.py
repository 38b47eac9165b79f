"""Parts of `benchmark`: `targets`, the cost of several targets in one frame, on one core and on all; `motion`, whole
annotated sequences with fast, hidden and lost targets; and long runs, in which memory and speed must not change.

A calm clip says little about a tracker whose work depends on the target. In `motion` the trackers go through the same
frames by turns, some frames at a time, and the result is the processor time of all updates together.
"""

from __future__ import annotations

import gc
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.benchmark.measure import BenchmarkClip, Series, in_pairs
from tracker.config import Config
from tracker.datasets.base import SequenceData, has_area
from tracker.geometry import iou, is_valid
from tracker.metrics.success import success_curve
from tracker.tracking.multi import MultiTracker
from tracker.tracking.tracker import SiamTracker

TURN = 20
"""Frames that each tracker processes before the next one's turn: close enough in time to see the same machine, and
enough of them for a tracker to find its weights in the cache, as it does where it runs alone. By turns of one frame
each tracker evicts the others' weights: all take longer."""


def by_targets(
    tracker: SiamTracker, clip: BenchmarkClip, counts: Sequence[int], threads: int, frames: int = 60
) -> dict[str, dict[str, float]]:
    """ms of a frame with several targets, as the tracker is configured.

    Each target has a copy of the clip to itself, the copies side by side in one frame, so that n targets are n times
    the work of one and equally hard to track.

    Args:
        tracker: What to time.
        clip: Frames and box of one target.
        counts: Numbers of targets.
        threads: CPU threads that the targets are distributed over.
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
    }  # at first all use the full window


def windows(config: Config) -> str:
    """A description of the search windows: the cost of a target depends on them."""
    full, small = config.model.search_size, config.tracking.small_search
    sizes = [f"{small.size} px for targets that hardly move"] if 0 < small.size < full else []
    sizes += [f"{small.middle} px for those that move a little more"] if 0 < small.middle < full else []
    size = f"windows of {', '.join(sizes)}, else {full} px" if sizes else f"windows of {full} px"
    return (
        f"{size}; states {'on' if config.tracking.states.enabled and config.tracking.calibration.confidence else 'off'}"
    )


def in_motion(
    trackers: Mapping[str, Any],
    sequences: Iterable[SequenceData],
    clock: Callable[[], float] = time.process_time,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Processor time and accuracy of trackers over whole sequences, by turns of `TURN` frames.

    Args:
        trackers: Name -> anything with init and update; ours is the first.
        sequences: Sequences with ground truth; tracking begins at the first frame that shows the target.
        clock: Clock in seconds.
        tell: Called with a line after each sequence.

    Returns:
        "sequences": name -> tracker -> its numbers; "total": tracker -> the same over all. The numbers: frames updated,
        seconds, ms per frame, the time as a multiple of the first tracker's, AUC (in a total: the mean over the
        sequences), and, for trackers that report states: fraction of LOST frames, ms for those and for the others, and
        fraction of skipped frames (`Track.skipped`).
    """
    each: dict[str, dict[str, dict[str, float]]] = {}
    for sequence in sequences:
        each[sequence.name] = _one(trackers, sequence, clock)
        said = "; ".join(
            f"{name} {row['ms']:.2f} ms, AUC {row['auc']:.3f}" for name, row in each[sequence.name].items()
        )
        tell(f"{sequence.name}, {len(sequence)} frames: {said}")
    total = {}
    for name in trackers:
        rows = [row[name] for row in each.values()]
        summed = {
            key: sum(row[key] for row in rows)
            for key in ("frames", "seconds", "lost_frames", "lost_seconds", "skipped_frames")
        }
        total[name] = {**summed, "auc": float(np.mean([row["auc"] for row in rows])) if rows else float("nan")}
    first = next(iter(total.values()))["seconds"]
    for row in total.values():
        row |= _rates(row, first)
    return {"sequences": each, "total": total}


def _one(
    trackers: Mapping[str, Any], sequence: SequenceData, clock: Callable[[], float]
) -> dict[str, dict[str, float]]:
    start = int(np.argmax(has_area(sequence.truth)))
    boxes: dict[str, list[Any]] = {name: [] for name in trackers}
    took = {name: np.zeros(2) for name in trackers}  # seconds in frames that end LOST, and in the others
    lost, skipped = dict.fromkeys(trackers, 0), dict.fromkeys(trackers, 0)
    images = itertools.islice(sequence.images(), start, None)
    first_image = next(images)
    for tracker in trackers.values():
        tracker.init(first_image, sequence.init)
    while turn := list(itertools.islice(images, TURN)):
        for name, tracker in trackers.items():
            for image in turn:
                begun = clock()
                found = tracker.update(image)
                seconds = clock() - begun
                gone = getattr(getattr(found, "state", None), "value", "") == "lost"
                took[name][int(not gone)] += seconds
                lost[name] += gone
                skipped[name] += bool(getattr(found, "skipped", False))
                boxes[name].append(np.asarray(getattr(found, "box", found), dtype=np.float64))
    truth = sequence.truth[start + 1 :]
    counts = is_valid(truth)
    first = next(iter(took.values())).sum()
    out = {}
    for name in trackers:
        overlap = iou(np.array(boxes[name]).reshape(-1, 4), truth)[counts]
        row = {
            "frames": float(len(boxes[name])),
            "seconds": float(took[name].sum()),
            "lost_frames": float(lost[name]),
            "lost_seconds": float(took[name][0]),
            "skipped_frames": float(skipped[name]),
            "auc": float(success_curve(overlap).mean()),
        }
        out[name] = row | _rates(row, float(first))
    return out


def _rates(row: Mapping[str, float], first: float) -> dict[str, float]:
    """Ratios computed from the sums."""
    followed = row["frames"] - row["lost_frames"]
    return {
        "ms": 1e3 * row["seconds"] / max(row["frames"], 1),
        "to_first": row["seconds"] / first if first > 0 else float("nan"),
        "skipped_share": row["skipped_frames"] / max(row["frames"], 1),
        "lost_share": row["lost_frames"] / max(row["frames"], 1),
        "lost_ms": 1e3 * row["lost_seconds"] / max(row["lost_frames"], 1),
        "followed_ms": 1e3 * (row["seconds"] - row["lost_seconds"]) / max(followed, 1),
    }


def resident_bytes() -> int:
    """Resident memory of this process, or its peak where the system reports no more."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def soak(
    tracker: SiamTracker,
    clip: BenchmarkClip,
    count: int,
    tick: Callable[[int], None] = lambda k: None,
    fresh: SiamTracker | None = None,
) -> dict[str, Any]:
    """Long run (the clip forward, backward, forward, ...): does memory grow, does tracking slow down?

    The speed of a processor changes by more within a minute than the effect of interest, so over the last tenth the
    tracker is timed alternately with one that starts there.

    Args:
        tracker: Processes all frames.
        clip: The frames.
        count: Number of frames.
        tick: Called with the number of frames from time to time.
        fresh: Starts with the last tenth, on the box of the other.

    Returns:
        `rss_slope` in bytes per frame (least squares over the second half, when caches are full), `rss_start`,
        `rss_end`, the processor time of the first and the last tenth (at most 1,000 frames) in ms, that of the fresh
        tracker over the last tenth (None without one), and the samples of memory.
    """
    order = list(range(len(clip.images))) + list(range(len(clip.images) - 2, 0, -1))
    tracker.init(clip.images[0], clip.box)
    part = max(1, min(1000, count // 10))
    durations: NDArray[np.float64] = np.empty(count)
    young: NDArray[np.float64] = np.full(count, np.nan)
    samples: list[tuple[int, int]] = []
    gc.collect()
    for k in range(count):
        image = clip.images[order[(k + 1) % len(order)]]
        begun = time.process_time()
        track = tracker.update(image)
        durations[k] = np.nan if getattr(track, "skipped", False) else time.process_time() - begun
        if fresh is not None and k == count - part - 1:
            fresh.init(image, track.box)
        elif fresh is not None and k >= count - part:
            begun = time.process_time()
            found = fresh.update(image)
            young[k] = np.nan if getattr(found, "skipped", False) else time.process_time() - begun
        if k % max(1, count // 200) == 0:
            samples.append((k, resident_bytes()))
            tick(k)
    # Without the last tenth, in which the other tracker starts.
    half = np.array([s for s in samples[len(samples) // 2 :] if fresh is None or s[0] < count - part], dtype=np.float64)
    slope = float(np.polyfit(half[:, 0], half[:, 1], 1)[0]) if len(half) > 2 else 0.0
    first, last = np.nanmedian(durations[:part]), np.nanmedian(durations[-part:])
    return {
        "frames": count,
        "rss_start": samples[0][1],
        "rss_end": samples[-1][1],
        "rss_slope_bytes_per_frame": slope,
        "first_ms": float(first * 1e3),
        "last_ms": float(last * 1e3),
        "fresh_ms": float(np.nanmedian(young) * 1e3) if fresh is not None else None,
        "part": part,
        "samples": samples,
    }
