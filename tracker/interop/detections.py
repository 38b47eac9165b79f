"""Targets from a detector: boxes of the first frame from a csv, a COCO file or a function."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tracker.errors import BoxError
from tracker.files import read_text
from tracker.geometry import is_valid
from tracker.types import Box, Image

Detector = Callable[[Image], ArrayLike]
"""A picture (BGR uint8 H x W x 3) -> (n, 4) xywh boxes, or (n, 5) with a score."""


def read_detections(path: str | Path, frame: int = 0, least: float = 0.0) -> list[Box]:
    """The boxes that a detector found in one frame.

    Formats: csv (a header that names x, y, w, h, or x1, y1, x2, y2, and optionally frame and score) and COCO (.json: a
    list of results with bbox, or a file with images and annotations; the image is the one with this `frame_id`, or the
    `frame`-th).

    Args:
        path: The file.
        frame: 0-based.
        least: Boxes with a lower score are dropped.

    Raises:
        BoxError: It can't be read, or has no box in that frame.
    """
    path = Path(path)
    try:
        rows = _coco(path, frame) if path.suffix.lower() == ".json" else _csv(path, frame)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        if isinstance(error, BoxError):
            raise
        wrong = f"{error} is missing or wrong" if isinstance(error, LookupError | AttributeError) else str(error)
        reason = getattr(error, "strerror", None) or wrong
        raise BoxError(
            f"Can't read detections from {path}: {reason}; give a csv with x,y,w,h or a COCO .json."
        ) from None
    boxes = [box for box, score in rows if score >= least and bool(is_valid(box))]
    if not boxes:
        raise BoxError(
            f"{path} has no box in frame {frame} with a score of at least {least:g}, so there is nothing to follow."
        )
    return boxes


def _csv(path: Path, frame: int) -> list[tuple[Box, float]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=None))
    names = [name.strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = names
    corners = {"x1", "y1", "x2", "y2"} <= set(names)
    if not corners and not {"x", "y", "w", "h"} <= set(names):
        raise BoxError(f"Can't read detections from {path}: its first line must name x,y,w,h or x1,y1,x2,y2.")
    out = []
    for row in reader:
        if int(row.get("frame") or 0) != frame and "frame" in names:
            continue
        values = np.array([float(row[key]) for key in (("x1", "y1", "x2", "y2") if corners else "xywh")])
        if corners:
            values[2:] -= values[:2]
        out.append((values, float(row.get("score") or row.get("confidence") or 1.0)))
    return out


def _coco(path: Path, frame: int) -> list[tuple[Box, float]]:
    data: Any = json.loads(read_text(path))
    if isinstance(data, list):
        images = sorted({note["image_id"] for note in data}, key=lambda v: (not isinstance(v, int), v))
        notes = data
        wanted = images[frame] if frame < len(images) else None
    else:
        pictures = data["images"]
        numbered = [p["id"] for p in pictures if p.get("frame_id") == frame]
        wanted = numbered[0] if numbered else sorted(pictures, key=lambda p: p["file_name"])[frame]["id"]
        notes = data["annotations"]
    return [
        (np.array(n["bbox"], dtype=np.float64), float(n.get("score", 1.0))) for n in notes if n["image_id"] == wanted
    ]


def detect(detector: Detector, image: Image, least: float = 0.0) -> list[Box]:
    """Runs a detector on an image and returns boxes for `tracker.track(source, boxes)`.

    Args:
        detector: See `Detector`.
        image: BGR uint8 H x W x 3.
        least: Boxes with a lower score are dropped.

    Raises:
        BoxError: It returned something else, or found nothing.
    """
    found = np.asarray(detector(image), dtype=np.float64)
    if found.size == 0:
        raise BoxError(
            "The detector found nothing in the frame, so there is nothing to follow; give another frame or a lower "
            "threshold."
        )
    if found.ndim != 2 or found.shape[1] not in (4, 5):
        raise BoxError(
            f"The detector gave an array of the shape {found.shape}; it must be (n, 4) xywh boxes, or (n, 5) with "
            "scores."
        )
    boxes: Sequence[Box] = [row[:4] for row in found if found.shape[1] == 4 or row[4] >= least]
    return [box for box in boxes if bool(is_valid(box))]
