"""Label Studio's video rectangles: a list of tasks (labelstud.io/tags/videorectangle).

Coordinates are per cent of the image, frames are counted from 1, and an item with `enabled: false` ends the interval
after its own frame. Label Studio interpolates linearly between items, so tracks are written with keyframes as for
CVAT.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tracker.annotate.clip import AnnotatedTarget, AnnotationError, Clip, keyframes, new_target, runs
from tracker.annotate.formats.base import cannot_hold
from tracker.files import read_text, write_atomic

LOST = {
    "scores": "Label Studio keeps one score for a whole track: the mean.",
    "occluded": "What is hidden is left out.",
    "approved": "Approval is left out.",
    "colours": "Colours belong to the labelling set-up, not to the task; they are left out.",
}
DEFAULT_RATE = 25


def write(clips: Sequence[Clip], path: Path, tolerance: float = 0.0) -> list[str]:
    """Tasks with annotations, at `path` (.json), for "Import" in Label Studio."""
    tasks: list[dict[str, Any]] = []
    for clip in clips:
        data = {
            "video": Path(clip.path).name or clip.name,
            "name": clip.name,
            "width": clip.width,
            "height": clip.height,
        }
        data |= {"frames": clip.frame_count, "rate": None if clip.rate is None else str(clip.rate)}
        result = [region(clip, target, tolerance) for target in clip.targets]
        tasks.append({"data": data, "annotations": [{"result": result}]})
    write_atomic(path, json.dumps(tasks, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    moved = [f"Boxes may be off by up to {tolerance:g} px between keyframes, as asked for."] if tolerance else []
    rate = (
        ["The clip has no frame rate; 25 is taken for the times of items."]
        if any(c.rate is None for c in clips)
        else []
    )
    return cannot_hold(clips, LOST) + moved + rate


def region(
    clip: Clip, target: AnnotatedTarget, tolerance: float = 0.0, from_name: str = "box", to_name: str = "video"
) -> dict[str, Any]:
    """One target as a result of the tag VideoRectangle; also used in the answer of the ML backend."""
    rate = float(clip.rate or DEFAULT_RATE)
    present = target.present
    last_of_run = {end - 1 for _, end in runs(present)}
    sequence = []
    marks = [k for k, outside in keyframes(target.boxes, np.zeros_like(present), target.keys, tolerance) if not outside]
    for k in marks:
        x, y, w, h = (float(v) for v in target.boxes[k])
        sequence.append(
            {
                "frame": k + 1, "enabled": not (k in last_of_run and k + 1 < clip.frame_count), "rotation": 0,
                "x": 100 * x / clip.width, "y": 100 * y / clip.height,
                "width": 100 * w / clip.width, "height": 100 * h / clip.height,
                "time": round((k + 1) / rate, 6),
            }
        )  # fmt: skip
    known = target.scores[present & np.isfinite(target.scores)]
    return {
        "id": f"target{target.id}", "type": "videorectangle", "from_name": from_name, "to_name": to_name,
        "origin": "manual",
        "meta": {"text": [target.name], "keys": sorted(target.keys)},
        "score": round(float(known.mean()), 4) if len(known) else None,
        "value": {
            "framesCount": clip.frame_count, "duration": round(clip.frame_count / rate, 6), "sequence": sequence,
            "labels": [target.label],
        },
    }  # fmt: skip


def boxes_of(sequence: Sequence[dict[str, Any]], frames: int, width: int, height: int) -> Any:
    """(frames, 4) boxes from a sequence of Label Studio."""
    items = sorted(sequence, key=lambda item: int(item["frame"]))
    boxes = np.full((frames, 4), np.nan)
    for n, item in enumerate(items):
        k = int(item["frame"]) - 1
        box = corner(item, width, height)
        following = items[n + 1] if n + 1 < len(items) else None
        if not 0 <= k < frames:
            continue
        if not item.get("enabled", True):
            boxes[k] = box
        elif following is None:
            boxes[k:] = box
        else:
            end = min(int(following["frame"]) - 1, frames - 1)
            share = np.linspace(0, 1, max(int(following["frame"]) - 1 - k, 1) + 1)[: end - k + 1, None]
            boxes[k : end + 1] = (1 - share) * box + share * corner(following, width, height)
    return boxes


def corner(item: dict[str, Any], width: int, height: int) -> Any:
    """(4,) xywh in pixels of one item; rotation is not supported."""
    x, y, w, h = (float(item[key]) / 100 for key in ("x", "y", "width", "height"))
    return np.array([x * width, y * height, w * width, h * height])


def read(path: Path) -> list[Clip]:
    """Tasks of a Label Studio export (JSON). The size of the video must be in the task's data or in `original_width` of
    a result.

    Raises:
        AnnotationError: It has another format, or a box is rotated, which is not supported.
    """
    try:
        tasks = json.loads(read_text(path))
        out = []
        for task in tasks:
            data = task["data"]
            results = [
                r
                for a in task.get("annotations", task.get("predictions", []))
                for r in a["result"]
                if r["type"] == "videorectangle"
            ]
            width = int(data.get("width") or next(r["original_width"] for r in results))
            height = int(data.get("height") or next(r["original_height"] for r in results))
            frames = int(data.get("frames") or max(r["value"]["framesCount"] for r in results))
            name = data.get("name") or Path(str(data.get("video", "clip"))).stem
            clip = Clip(name, width, height, frames, Fraction(data["rate"]) if data.get("rate") else None)
            for number, result in enumerate(results, 1):
                value, meta = result["value"], result.get("meta", {})
                if any(item.get("rotation") for item in value["sequence"]):
                    raise AnnotationError(
                        f"{path} has a turned box in {name}; boxes here are upright: turn it back in Label Studio "
                        "first."
                    )
                given = str(result.get("id", ""))
                plain = given.removeprefix("target")
                target = new_target(
                    int(plain) if given.startswith("target") and plain.isdigit() else number, frames,
                    (meta.get("text") or [""])[0], (value.get("labels") or ["object"])[0],
                )  # fmt: skip
                target.boxes = boxes_of(value["sequence"], frames, width, height)
                shown = target.present
                target.scores[:] = np.where(shown, 1.0 if result.get("score") is None else result["score"], np.nan)
                keys = meta.get("keys", [])
                target.keys = {
                    int(k): target.boxes[k].copy() if shown[k] else None for k in keys if 0 <= int(k) < frames
                }
                clip.targets.append(target)
            out.append(clip)
        return out
    except AnnotationError:
        raise
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise AnnotationError(f"Can't read {path} as Label Studio tasks: {error!r} is missing or wrong.") from None
