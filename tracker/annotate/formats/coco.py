"""COCO: for images (`coco`), or with videos and instances (`coco-video`).

The `bbox` of an annotation is x, y, w, h in pixels from 0 (cocodataset.org/#format-data). The video variant is that of
TAO, BDD100K and MMTracking ("CocoVID"): `videos`; in `images` `video_id` and `frame_id` (from 0); in `annotations`
`instance_id` (and `track_id`, the same).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from tracker.annotate.clip import AnnotationError, Clip
from tracker.annotate.formats.base import (
    ClipCollector,
    annotated_frames,
    cannot_hold,
    each_box,
    frame_file,
    labels,
    parse_frame_file,
)
from tracker.files import read_text, write_atomic

LOST_IMAGES = {
    "ids": "COCO has no tracks: which boxes belong to one target is lost (coco-video keeps it).",
    "names": "Names of targets are left out.",
    "keys": "Which boxes a person drew is left out.",
    "occluded": "What is hidden is left out.",
    "rate": "The frame rate is left out.",
}
LOST_VIDEO = {
    "keys": "Which boxes a person drew is left out.",
    "colours": "Colours are left out.",
    "approved": "Approval is left out.",
}


def write_images(clips: Sequence[Clip], path: Path) -> list[str]:
    """COCO for pictures, at `path` (.json)."""
    _write(clips, path, video=False)
    return cannot_hold(clips, LOST_IMAGES)


def write_video(clips: Sequence[Clip], path: Path) -> list[str]:
    """COCO with videos, at `path` (.json)."""
    _write(clips, path, video=True)
    return cannot_hold(clips, LOST_VIDEO)


def _write(clips: Sequence[Clip], path: Path, video: bool) -> None:
    names = labels(clips)
    out: dict[str, Any] = {"info": {"description": "written by siamtrack annotate", "version": "1.0"}, "licenses": []}
    out["categories"] = [{"id": k, "name": name, "supercategory": ""} for k, name in enumerate(names, 1)]
    images: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    videos: list[dict[str, Any]] = []
    for number, clip in enumerate(clips, 1):
        videos.append(
            {"id": number, "name": clip.name, "width": clip.width, "height": clip.height, "length": clip.frame_count,
             "fps": None if clip.rate is None else float(clip.rate)}
        )  # fmt: skip
        ids: dict[int, int] = {}
        for frame in range(clip.frame_count) if video else annotated_frames(clip):
            ids[frame] = len(images) + 1
            image = {"id": ids[frame], "file_name": frame_file(clip, frame), "width": clip.width, "height": clip.height}
            images.append(image | ({"video_id": number, "frame_id": frame} if video else {}))
        for frame, target in each_box(clip):
            x, y, w, h = (round(float(v), 3) for v in target.boxes[frame])
            note: dict[str, Any] = {
                "id": len(notes) + 1, "image_id": ids[frame], "category_id": names.index(target.label) + 1,
                "bbox": [x, y, w, h], "area": round(w * h, 3), "iscrowd": 0,
                "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
            }  # fmt: skip
            if video:
                note |= {"video_id": number, "instance_id": target.id, "track_id": target.id, "name": target.name}
                note["occluded"] = bool(target.occluded[frame])
            score = float(target.scores[frame])
            if score < 1:
                note["score"] = round(score, 3)
            notes.append(note)
    out |= {"images": images, "annotations": notes} | ({"videos": videos} if video else {})
    write_atomic(path, json.dumps(out, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> list[Clip]:
    """Reads either variant. Without instances each box is a target of its own.

    Raises:
        AnnotationError: It isn't COCO.
    """
    try:
        data = json.loads(read_text(path))
        names = {c["id"]: c["name"] for c in data["categories"]}
        videos = {v["id"]: v for v in data.get("videos", [])}
        out = ClipCollector()
        places: dict[int, tuple[str, int]] = {}
        for image in data["images"]:
            if "video_id" in image:
                video = videos[image["video_id"]]
                name, frame = video["name"], int(image.get("frame_id", image.get("frame_index", 0)))
                clip = out.clip(name, image["width"], image["height"], max(frame, int(video.get("length") or 0) - 1))
                clip.rate = Fraction(video["fps"]).limit_denominator(1001) if video.get("fps") else None
            else:
                name, frame = parse_frame_file(image["file_name"])
                out.clip(name, image["width"], image["height"], frame)
            places[image["id"]] = (name, frame)
        for note in data["annotations"]:
            name, frame = places[note["image_id"]]
            number = note.get("instance_id", note.get("track_id"))
            track = f"t{number}" if number is not None else f"a{note['id']}"
            out.add(
                name, track, frame, note["bbox"], names[note["category_id"]],
                str(note.get("name", "")), int(number or 0),
                float(note.get("score", 1.0)), bool(note.get("occluded", False)),
            )  # fmt: skip
        return out.finish()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(
            f"Can't read {path} as COCO: {error!r} is missing or wrong; give a file with images and annotations."
        ) from None
