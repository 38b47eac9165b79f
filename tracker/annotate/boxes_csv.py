"""Key boxes from a csv file, and all boxes to one: `--headless boxes.csv` and its output."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracker.annotate.clip import AnnotationError, Clip
from tracker.files import read_text, suggest, write_atomic
from tracker.types import Box

COLUMNS = ("clip", "frame", "id", "name", "class", "x", "y", "w", "h")
NEEDED = ("frame", "x", "y", "w", "h")


@dataclass(frozen=True)
class KeyBox:
    """A row: a box given by a person, or None where the target becomes absent."""

    clip: str
    frame: int
    id: str
    name: str
    label: str
    box: Box | None


def read_keys(path: str | Path) -> list[KeyBox]:
    """Reads key boxes from a csv with a header.

    Columns: frame, x, y, w, h, and optionally id (identifies targets; default 1), name, class, clip (file name;
    default: the only clip). A row with empty x, y, w, h means that the target is absent from that frame on.

    Raises:
        AnnotationError: With the line and the mistake.
    """
    try:
        text = read_text(Path(path).expanduser())
    except (OSError, ValueError) as error:
        raise AnnotationError(
            f"Can't read key boxes from {path}: {getattr(error, 'strerror', None) or error}."
        ) from None
    reader = csv.DictReader(io.StringIO(text, newline=None))
    names = [(name or "").strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = names
    for name in NEEDED:
        if name not in names:
            raise AnnotationError(
                f"{path} has no column {name!r}; its first line must name at least frame,x,y,w,h (and id, name, "
                "class, clip where wanted)." + suggest(name, names)
            )
    out = []
    for row in reader:
        values = {
            key: (value or "").strip()
            for key, value in row.items()
            if isinstance(key, str) and not isinstance(value, list)
        }
        where = f"line {reader.line_num} of {path}"
        try:
            frame = int(values["frame"])
        except ValueError:
            raise AnnotationError(
                f"The frame {values['frame']!r} in {where} is not a whole number; frames are counted from 0."
            ) from None
        cells = [values[key] for key in "xywh"]
        box: Box | None = None
        if any(cells):
            try:
                box = np.array([float(cell) for cell in cells])
            except ValueError:
                raise AnnotationError(
                    f"The box {','.join(cells)} in {where} is not four numbers x,y,w,h in pixels."
                ) from None
        number = values.get("id") or "1"
        out.append(KeyBox(values.get("clip", ""), frame, number, values.get("name", ""), values.get("class", ""), box))
    if not out:
        raise AnnotationError(f"{path} has a header and no row; add a line such as 0,100,80,40,30 for frame,x,y,w,h.")
    return out


def write_boxes(clips: list[Clip], path: str | Path) -> list[str]:
    """Writes all boxes of all clips as csv, a row per target and frame with a box.

    Returns:
        What the file can't represent: nothing.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, "score", "key", "occluded", "approved"])
    for clip in clips:
        for target in clip.targets:
            shown = target.present
            for frame in sorted({*np.flatnonzero(shown).tolist(), *target.keys}):
                box = [f"{v:.3f}" for v in target.boxes[frame]] if shown[frame] else [""] * 4
                score = target.scores[frame]
                marks = [int(frame in target.keys), int(target.occluded[frame]), int(target.approved[frame])]
                row = [clip.name, frame, target.id, target.name, target.label, *box]
                writer.writerow([*row, "" if np.isnan(score) else f"{score:.3f}", *marks])
    write_atomic(path, out.getvalue())
    return []
