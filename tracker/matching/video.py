"""Classes from tracking data: crops of the same video track, boxes of the same category."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tracker.errors import SourceError
from tracker.files import read_text
from tracker.matching.inputs import ImageSample, Rect
from tracker.training.data import sources as recipe

if TYPE_CHECKING:
    from tracker.matching.sources import MatchSourceConfig


def read_track_classes(source: MatchSourceConfig, path: Path) -> dict[str, list[ImageSample]]:
    """Each track is a class, its crops are the images; evenly spaced over the clip.

    Args:
        source: `layout` of the clips (`tracker.training.data.sources`), `limit` of crops, `context` around the box.
        path: Folder of the clips.

    Raises:
        DataError, ConfigError: No data, or an unknown layout.
    """
    tracks = recipe.read_tracks(recipe.SourceConfig(kind=source.layout), path, Path("cache/frames"))
    found = {}
    for track in tracks:
        chosen = (
            track.present[np.unique(np.linspace(0, len(track.present) - 1, source.limit).round().astype(int))]
            if len(track.present)
            else []
        )
        samples = [ImageSample(Path(track.frames[k]), box=grown(track.boxes[k], source.context)) for k in chosen]
        if samples:
            found[f"{track.kind}/{track.name}" if track.kind else track.name] = samples
    return found


def read_coco_classes(source: MatchSourceConfig, path: Path) -> dict[str, list[ImageSample]]:
    """Each category of a COCO instances json is a class; its boxes, cut from `images/` beside the file, are the images.

    Raises:
        SourceError: The file is missing or has another format.
    """
    try:
        data = json.loads(read_text(path))
        names = {c["id"]: str(c["name"]) for c in data["categories"]}
        files = {i["id"]: str(i["file_name"]) for i in data["images"]}
        boxes = [
            (names[a["category_id"]], files[a["image_id"]], [float(v) for v in a["bbox"]]) for a in data["annotations"]
        ]
    except OSError as error:
        raise SourceError(f"The boxes {path} can't be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"The file {path} is no COCO instances json ({error!r}); it needs categories, images and annotations."
        ) from None
    found: dict[str, list[ImageSample]] = {}
    for name, file, box in boxes:
        if len(box) == 4 and box[2] >= 2 and box[3] >= 2:
            where = next((p for p in (path.parent / "images" / file, path.parent / file) if p.is_file()), None)
            if where is None:
                raise SourceError(f"{path}: the picture {file} is neither beside the file nor in images/ there.")
            found.setdefault(name, []).append(ImageSample(where, box=grown(box, source.context)))
    return found


def grown(box: object, context: float) -> Rect:
    """A box enlarged by a fraction of its sides."""
    x, y, w, h = (float(v) for v in np.asarray(box, np.float64))
    return (x - context * w, y - context * h, w * (1 + 2 * context), h * (1 + 2 * context))
