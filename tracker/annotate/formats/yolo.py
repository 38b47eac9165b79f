"""YOLO: a text file per image with `class cx cy w h` relative to the image size, and a data.yaml that names the
classes.

The layout is Ultralytics': `images/train`, `labels/train`, `data.yaml` (docs.ultralytics.com/datasets/detect). With
`pictures`, the frames are written beside the labels and the folder is ready for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from tracker.annotate.clip import AnnotationError, Clip
from tracker.annotate.formats.base import (
    ClipCollector,
    cannot_hold,
    frame_file,
    labels,
    parse_frame_file,
    picture_frames,
    thinned,
    write_frames,
)
from tracker.files import read_text, write_atomic
from tracker.geometry import clip_box
from tracker.media.images import IMAGE_SUFFIXES, read_image

LOST = {
    "ids": "YOLO has no tracks: which boxes belong to one target is lost.",
    "names": "Names of targets are left out; classes are kept.",
    "scores": "Scores are left out.",
    "keys": "Which boxes a person drew is left out.",
    "occluded": "What is hidden is left out.",
    "approved": "Approval is left out.",
    "rate": "The frame rate is left out.",
    "cut": "Boxes are cut at the border of the picture, as YOLO wants them.",
}


def write(clips: Sequence[Clip], path: Path, pictures: bool = False) -> list[str]:
    """Writes labels (and images) into the folder `path`; some frames without any target get an empty file, which YOLO
    treats as background."""
    names = labels(clips)
    for clip in clips:
        shown = [(target, target.present) for target in clip.targets]
        frames = picture_frames(clip)
        for frame in frames:
            lines = []
            for target, present in shown:
                if present[frame]:
                    x, y, w, h = clip_box(target.boxes[frame], clip.width, clip.height)
                    values = ((x + w / 2) / clip.width, (y + h / 2) / clip.height, w / clip.width, h / clip.height)
                    if w > 0 and h > 0:
                        lines.append(f"{names.index(target.label)} " + " ".join(f"{v:.8f}" for v in values))
            write_atomic(
                path / "labels" / "train" / f"{Path(frame_file(clip, frame)).stem}.txt",
                "".join(line + "\n" for line in lines),
            )
        if pictures:
            write_frames(clip, path / "images" / "train", frames)
    sizes = {clip.name: [clip.width, clip.height] for clip in clips}
    data = {
        "path": ".",
        "train": "images/train",
        "val": "images/train",
        "names": dict(enumerate(names)),
        "sizes": sizes,
    }
    write_atomic(path / "data.yaml", yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    return cannot_hold(clips, LOST) + thinned(clips)


def read(path: Path) -> list[Clip]:
    """Reads a folder with data.yaml; the image size is read from the images, or from what `write` stored. Each box is a
    target of its own.

    Raises:
        AnnotationError: It isn't such a folder, or the image size is unknown.
    """
    folder = path if path.is_dir() else path.parent
    try:
        data = yaml.safe_load(read_text(folder / "data.yaml"))
        named = data["names"]
        names = dict(enumerate(named)) if isinstance(named, list) else {int(k): v for k, v in named.items()}
        out = ClipCollector()
        count = 0
        for file in sorted((folder / "labels").rglob("*.txt")):
            clip, frame = parse_frame_file(file.name)
            width, height = _size(folder, file, clip, data.get("sizes", {}))
            out.clip(clip, width, height, frame)
            for line in read_text(file).splitlines():
                if line.strip():
                    kind, cx, cy, w, h = (float(v) for v in line.split()[:5])
                    count += 1
                    box = ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)
                    out.add(clip, f"b{count}", frame, box, names[int(kind)])
        return out.finish()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(
            f"Can't read {path} as YOLO: {error!r}; give the folder that holds data.yaml and labels/."
        ) from None


def _size(folder: Path, file: Path, clip: str, sizes: dict[str, list[int]]) -> tuple[int, int]:
    if clip in sizes:
        return sizes[clip][0], sizes[clip][1]
    beside = folder / "images" / file.relative_to(folder / "labels").with_suffix("")
    for suffix in IMAGE_SUFFIXES:
        if (picture := beside.with_suffix(suffix)).exists():
            height, width = read_image(picture).shape[:2]
            sizes[clip] = [width, height]
            return width, height
    raise ValueError(f"no picture {beside}.jpg says how large the frames are")
