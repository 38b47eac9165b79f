"""`Track` as `supervision.Detections` and back, for its zones, counts, heat maps and annotators (extra
`supervision`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracker.errors import BoxError
from tracker.geometry import xywh_to_xyxy, xyxy_to_xywh
from tracker.types import Track, TrackState


def to_detections(tracks: Sequence[Track], class_id: int = 0) -> Any:
    """The tracks of one frame as `supervision.Detections`; a target that is lost has no box and is left out.

    Args:
        tracks: The tracks of one frame.
        class_id: Class of all of them.

    Returns:
        Detections with `xyxy`, `confidence`, `class_id`, `tracker_id`, and `data["state"]`, `data["frame"]`.

    Raises:
        ModuleNotFoundError: supervision is not installed (`pip install supervision`).

    Examples:
        >>> for frame, tracks in ...:  # doctest: +SKIP
        ...     zone.trigger(to_detections(tracks))
    """
    import supervision

    seen = [track for track in tracks if track.visible]
    if not seen:
        empty = supervision.Detections.empty()
        empty.tracker_id = np.empty(0, int)
        return empty
    return supervision.Detections(
        xyxy=xywh_to_xyxy(np.array([track.box for track in seen])),
        confidence=np.array([track.score for track in seen], dtype=np.float32),
        class_id=np.full(len(seen), class_id),
        tracker_id=np.array([track.target_id for track in seen]),
        data={
            "state": np.array([track.state.value for track in seen]),
            "frame": np.array([track.index for track in seen]),
        },
    )


def from_detections(detections: Any, index: int = 0, timestamp: float | None = None) -> list[Track]:
    """`supervision.Detections` of one frame as tracks.

    Args:
        detections: Anything with `xyxy`, and optionally `confidence`, `tracker_id`, `data["state"]`.
        index, timestamp: Of the frame; `data["frame"]` takes precedence.

    Raises:
        BoxError: A box without area.
    """
    boxes = xyxy_to_xywh(np.asarray(detections.xyxy, dtype=np.float64).reshape(-1, 4))
    if len(boxes) and not (boxes[:, 2:] > 0).all():
        raise BoxError("A detection has no area; its right must be above its left, its bottom below its top.")
    data = getattr(detections, "data", None) or {}
    states, frames = data.get("state"), data.get("frame")
    return [
        Track(
            box=box,
            score=1.0 if detections.confidence is None else float(detections.confidence[k]),
            state=TrackState.TRACKING if states is None else TrackState(str(states[k])),
            index=index if frames is None else int(frames[k]),
            timestamp=timestamp,
            target_id=k if detections.tracker_id is None else int(detections.tracker_id[k]),
        )
        for k, box in enumerate(boxes)
    ]
