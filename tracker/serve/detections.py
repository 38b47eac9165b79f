"""Boxes of a detector: from a file by frame number, or from an HTTP endpoint that is queried periodically."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracker.errors import BoxError
from tracker.files import read_text
from tracker.geometry import iou
from tracker.media.images import encode_image
from tracker.serve.config import DetectionsConfig
from tracker.types import Frame, Image

Found = tuple[Image, list[list[float]]]
"""The picture that the boxes belong to, and boxes x, y, w, h."""
LONGEST_ANSWER = 1 << 20


def read_detections(path: str | Path, least_score: float) -> dict[int, list[list[float]]]:
    """Frame index (from 0) -> boxes (x, y, w, h) of a detections file.

    Args:
        path: JSON lines with `frame` (from 0), `box` and optionally `score`; or MOTChallenge text, whose frames and
            pixels are counted from 1.
        least_score: Boxes with a lower score are dropped; a line without a score is kept.

    Raises:
        BoxError: The file can't be read; the sentence names the line.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise BoxError(f"Can't read detections from {path}: {getattr(error, 'strerror', None) or error}.") from None
    out: dict[int, list[list[float]]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if line.lstrip().startswith("{"):
                item = json.loads(line)
                frame, box, score = int(item["frame"]), item["box"], item.get("score")
            else:
                values = [float(v) for v in line.replace(",", " ").split()]
                frame, box = int(values[0]) - 1, [values[2] - 1, values[3] - 1, values[4], values[5]]
                score = values[6] if len(values) > 6 and values[6] >= 0 else None
            if box is None:
                continue
            good = usable(box)
        except (ValueError, KeyError, TypeError, IndexError):
            raise BoxError(
                f"Can't read a detection from line {number} of {path} ({line[:60]!r}): it should be "
                '{"frame": 0, "box": [x, y, w, h]} or frame,id,x,y,w,h,score (MOT, counted from 1).'
            ) from None
        if good is not None and (score is None or float(score) >= least_score):
            out.setdefault(frame, []).append(good)
    return out


def usable(box: Any) -> list[float] | None:
    """Four finite numbers with an area, or None; anything else raises ValueError or TypeError."""
    x, y, w, h = (float(v) for v in box[:4])
    return [x, y, w, h] if np.isfinite([x, y, w, h]).all() and w > 0 and h > 0 else None


def fresh(
    found: Sequence[Sequence[float]], taken: Sequence[Sequence[float]], overlap: float, most: int
) -> list[list[float]]:
    """The detections that no target (and no earlier detection) covers, up to a maximum."""
    out: list[list[float]] = []
    for box in found:
        others = [*taken, *out]
        if len(others) >= most:
            break
        if not others or float(np.max(iou(np.asarray(box), np.asarray(others)))) < overlap:
            out.append(list(box))
    return out


class FileDetections:
    """Detections of a file, by frame index."""

    def __init__(self, config: DetectionsConfig) -> None:
        assert config.file is not None
        self._boxes = read_detections(config.file, config.least_score)
        self.problem = ""

    def look(self, frame: Frame) -> Found | None:
        """The boxes of this frame."""
        boxes = self._boxes.get(frame.index)
        return (frame.image, boxes) if boxes else None

    def close(self) -> None:
        """Does nothing."""


class EndpointDetections:
    """Queries an HTTP endpoint periodically, in a thread: a slow detector never slows tracking.

    Attributes:
        problem: Why the last request had no answer, or "".
    """

    def __init__(self, config: DetectionsConfig) -> None:
        self._config, self.problem = config, ""
        self._asked, self._picture = 0.0, None
        self._answer: Found | None = None
        self._thread: threading.Thread | None = None

    def look(self, frame: Frame) -> Found | None:
        """The answer to an earlier request, if there is one, with its picture; sends a new request when it is due."""
        answer, self._answer = self._answer, None
        now = time.monotonic()
        if (self._thread is None or not self._thread.is_alive()) and now - self._asked >= self._config.every:
            self._asked = now
            self._thread = threading.Thread(target=self._ask, args=(frame.image,), name="siamtrack-detect", daemon=True)
            self._thread.start()
        return answer

    def _ask(self, image: Image) -> None:
        config = self._config
        assert config.url is not None
        try:
            data = encode_image(image)
            request = urllib.request.Request(config.url, data, {"Content-Type": "image/jpeg"}, method="POST")
            with urllib.request.urlopen(request, timeout=config.timeout) as answer:
                given = json.loads(answer.read(LONGEST_ANSWER))["boxes"]
            boxes = [
                good for box in given if (len(box) < 5 or float(box[4]) >= config.least_score) and (good := usable(box))
            ]
        except (OSError, ValueError, KeyError, TypeError, urllib.error.URLError) as error:
            self.problem = f"detections: {config.url} gave no boxes ({str(error)[:120] or type(error).__name__})"
            return
        self.problem, self._answer = "", (image, boxes)

    def close(self) -> None:
        """Lets the thread end at its time-out."""


def open_detections(config: DetectionsConfig | None) -> FileDetections | EndpointDetections | None:
    """The detections of a stream's configuration.

    Raises:
        BoxError: The file can't be read.
    """
    if config is None:
        return None
    return FileDetections(config) if config.file is not None else EndpointDetections(config)
