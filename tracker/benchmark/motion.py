"""The part `motion` of `benchmark`: annotated sequences as they are, whole, with fast, hidden and lost targets.

A calm clip says little of a tracker whose work depends on what the target does. Here the trackers go through the same
frames by turns, and what counts is the processor time of all updates together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tracker.datasets.base import SequenceData, has_area
from tracker.geometry import iou, is_valid
from tracker.metrics.success import success_curve


def in_motion(
    trackers: Mapping[str, Any],
    sequences: Iterable[SequenceData],
    clock: Callable[[], float] = time.process_time,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Processor time and accuracy of trackers over whole sequences, frame by frame in turns.

    Args:
        trackers: Name -> anything with init and update; ours is the first.
        sequences: With truth; tracking begins at the first frame that shows the target.
        clock: Seconds.
        tell: Called with a line after each sequence.

    Returns:
        "sequences": name -> tracker -> its numbers; "total": tracker -> the same of all. The numbers: frames updated,
        seconds, ms for a frame, the time as a multiple of the first tracker's, AUC (of a total: the mean over the
        sequences), and, where a tracker says what it thinks: share of LOST frames, ms for those and for the others.
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
        summed = {key: sum(row[key] for row in rows) for key in ("frames", "seconds", "lost_frames", "lost_seconds")}
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
    took = {name: np.zeros(2) for name in trackers}  # seconds in frames that end LOST, in the others
    lost = dict.fromkeys(trackers, 0)
    for k, image in enumerate(sequence.images()):
        for name, tracker in trackers.items() if k >= start else ():
            if k == start:
                tracker.init(image, sequence.init)
                continue
            begun = clock()
            found = tracker.update(image)
            seconds = clock() - begun
            gone = getattr(getattr(found, "state", None), "value", "") == "lost"
            took[name][int(not gone)] += seconds
            lost[name] += gone
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
            "auc": float(success_curve(overlap).mean()),
        }
        out[name] = row | _rates(row, float(first))
    return out


def _rates(row: Mapping[str, float], first: float) -> dict[str, float]:
    """What follows from the sums."""
    followed = row["frames"] - row["lost_frames"]
    return {
        "ms": 1e3 * row["seconds"] / max(row["frames"], 1),
        "to_first": row["seconds"] / first if first > 0 else float("nan"),
        "lost_share": row["lost_frames"] / max(row["frames"], 1),
        "lost_ms": 1e3 * row["lost_seconds"] / max(row["lost_frames"], 1),
        "followed_ms": 1e3 * (row["seconds"] - row["lost_seconds"]) / max(followed, 1),
    }
