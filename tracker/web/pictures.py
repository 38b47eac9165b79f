"""The message to a browser for one frame: a small header, the JPEG, and the network's views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tracker.media.draw import COLOURS, NetworkViewsLike
from tracker.media.images import encode_image
from tracker.types import Frame, Image, Track
from tracker.web.commands import rounded
from tracker.web.framing import join_parts

LONGEST_SIDE = 1280
"""In pixels; larger frames are scaled down. Boxes stay in pixels of the frame."""
QUALITY = 80
VIEW_SIDE = 192
MOST_CELLS = 64
"""Greatest number of rows and columns of the response that are sent."""


@dataclass(frozen=True)
class SeenViews:
    """Template and search crop as JPEG, and the response as bytes, for one target."""

    target_id: int
    template: bytes
    search: bytes
    response: bytes
    shape: tuple[int, int]


@dataclass(frozen=True)
class Snapshot:
    """One frame, tracked and encoded.

    Attributes:
        seq: Number of the frame in the order in which the worker processed it.
        index, time: Of the frame.
        size: Width and height of the frame in pixels.
        arrived: Time at which the frame came from the source, seconds of `time.monotonic`.
        tracks: Tracks of all targets.
        picture: The frame as JPEG, without anything drawn on it.
        views: Views of the network for one target, or None.
        figures: fps, tracker_ms, dropped, damaged: numbers for display.
    """

    seq: int
    index: int
    time: float | None
    size: tuple[int, int]
    arrived: float
    tracks: tuple[Track, ...]
    picture: bytes
    views: SeenViews | None
    figures: dict[str, float]


def jpeg(image: Image, longest: int, quality: int = QUALITY) -> bytes:
    """A picture as JPEG, scaled down so that no side is longer than `longest` pixels."""
    height, width = image.shape[:2]
    factor = longest / max(width, height)
    if factor < 1:
        image = np.asarray(
            cv2.resize(
                image, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA
            )
        )
    return encode_image(image, quality=quality)


def encode_views(target_id: int, views: NetworkViewsLike) -> SeenViews:
    """Crops and response of a target, small enough for every frame."""
    values = np.asarray(np.nan_to_num(np.clip(views.response, 0, 1)) * 255, dtype=np.uint8)
    factor = MOST_CELLS / max(values.shape)
    if factor < 1:
        size = max(1, int(values.shape[1] * factor)), max(1, int(values.shape[0] * factor))
        values = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return SeenViews(
        target_id,
        jpeg(views.template, VIEW_SIDE),
        jpeg(views.search, VIEW_SIDE),
        values.tobytes(),
        (values.shape[0], values.shape[1]),
    )


def track_entry(track: Track) -> dict[str, Any]:
    """A track as JSON; a lost target has no box."""
    return {
        "id": track.target_id,
        "box": rounded(track.box) if track.visible else None,
        "score": round(float(track.score), 4),
        "state": track.state.value,
    }


def pack(snapshot: Snapshot, extra: dict[str, Any], with_views: bool = True) -> bytes:
    """Serialises a snapshot as one binary message (`tracker.web.framing`).

    Args:
        snapshot: The frame.
        extra: Further header entries, for one browser.
        with_views: Whether to send crops and response.
    """
    parts = [("picture", snapshot.picture)]
    views = snapshot.views if with_views else None
    header: dict[str, Any] = {
        "type": "frame",
        "seq": snapshot.seq,
        "index": snapshot.index,
        "time": snapshot.time,
        "size": snapshot.size,
        "tracks": [track_entry(track) for track in snapshot.tracks],
        **snapshot.figures,
        **extra,
    }
    if views is not None:
        parts += [("template", views.template), ("search", views.search), ("response", views.response)]
        header["views"] = {"id": views.target_id, "rows": views.shape[0], "columns": views.shape[1]}
    return join_parts(header, parts)


def palette() -> list[str]:
    """The 256 colours of the heat map as #rrggbb, as in annotated videos."""
    ramp = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0]
    return [hex_colour(tuple(int(v) for v in bgr)) for bgr in ramp]


def target_colours() -> list[str]:
    """Colours of the targets by id, as #rrggbb."""
    return [hex_colour(bgr) for bgr in COLOURS]


def hex_colour(bgr: Sequence[int]) -> str:
    """A BGR colour in CSS notation."""
    return f"#{bgr[2]:02x}{bgr[1]:02x}{bgr[0]:02x}"


def frame_size(frame: Frame) -> tuple[int, int]:
    """Width and height in pixels."""
    return frame.image.shape[1], frame.image.shape[0]
