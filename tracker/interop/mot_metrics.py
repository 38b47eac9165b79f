"""MOT metrics (HOTA, MOTA, IDF1) of several targets by TrackEval, the code of the MOT challenges (extra `mot`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracker.errors import SourceError
from tracker.geometry import iou
from tracker.types import Track


def mot_metrics(truth: Sequence[Track], tracks: Sequence[Track]) -> dict[str, float]:
    """HOTA and its parts, MOTA, MOTP, IDF1 and the number of identity switches of one sequence.

    Args:
        truth: The ground truth: a `Track` per target and frame.
        tracks: The tracking result; `Track.index` identifies frames, `target_id` targets. Lost targets have no box.

    Returns:
        hota, deta, assa (means over the localisation thresholds, Luiten et al. 2021), mota, motp, idf1 in [0, 1];
        switches.

    Raises:
        SourceError: There is no ground-truth box.
        ModuleNotFoundError: TrackEval is not installed (`pip install trackeval`).
    """
    import trackeval

    data = sequence_data(truth, tracks)
    if not data["num_gt_dets"]:
        raise SourceError("There is no true box to measure by; give tracks whose state isn't lost.")
    hota = trackeval.metrics.HOTA().eval_sequence(data)
    clear = trackeval.metrics.CLEAR({"THRESHOLD": 0.5, "PRINT_CONFIG": False}).eval_sequence(data)
    identity = trackeval.metrics.Identity({"THRESHOLD": 0.5, "PRINT_CONFIG": False}).eval_sequence(data)
    return {
        "hota": float(np.mean(hota["HOTA"])),
        "deta": float(np.mean(hota["DetA"])),
        "assa": float(np.mean(hota["AssA"])),
        "mota": float(clear["MOTA"]),
        "motp": float(clear["MOTP"]),
        "idf1": float(identity["IDF1"]),
        "switches": float(clear["IDSW"]),
    }


def sequence_data(truth: Sequence[Track], tracks: Sequence[Track]) -> dict[str, Any]:
    """The input of TrackEval's metrics: ids from 0 and overlaps, frame by frame."""
    sides = [[t for t in side if t.visible and np.isfinite(t.box).all()] for side in (truth, tracks)]
    frames = sorted({t.index for side in sides for t in side})
    numbers = [{number: k for k, number in enumerate(sorted({t.target_id for t in side}))} for side in sides]
    ids: list[list[Any]] = [[], []]
    overlaps = []
    at = [{}, {}]  # type: list[dict[int, list[Track]]]
    for k in (0, 1):
        for track in sides[k]:
            at[k].setdefault(track.index, []).append(track)
    for frame in frames:
        rows = [at[k].get(frame, []) for k in (0, 1)]
        for k in (0, 1):
            ids[k].append(np.array([numbers[k][t.target_id] for t in rows[k]], dtype=int))
        a, b = (np.array([t.box for t in side]).reshape(-1, 4) for side in rows)
        overlaps.append(iou(a[:, None], b[None]) if len(a) and len(b) else np.zeros((len(a), len(b))))
    return {
        "num_timesteps": len(frames), "num_gt_dets": len(sides[0]), "num_tracker_dets": len(sides[1]),
        "num_gt_ids": len(numbers[0]), "num_tracker_ids": len(numbers[1]),
        "gt_ids": ids[0], "tracker_ids": ids[1], "similarity_scores": overlaps,
    }  # fmt: skip
