"""MOT 1.1, as CVAT and MOTChallenge write it: gt/gt.txt and gt/labels.txt, and seqinfo.ini for TrackEval.

A row is frame, id, x, y, w, h, considered, class, visibility; frame, id, class and pixels from 1 (arXiv 1603.00831,
table 3).
"""

from __future__ import annotations

import configparser
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from tracker.annotate.clip import AnnotationError, Clip
from tracker.annotate.formats.base import ClipCollector, cannot_hold, each_box, labels, safe
from tracker.files import read_text, write_atomic

LOST = {
    "names": "Names of targets are left out; ids and classes are kept.",
    "scores": "Scores are left out.",
    "keys": "Which boxes a person drew is left out.",
    "colours": "Colours are left out.",
    "approved": "Approval is left out.",
}


def write(clips: Sequence[Clip], path: Path) -> list[str]:
    """A folder per clip in `path`, with gt/gt.txt, gt/labels.txt and seqinfo.ini."""
    names = labels(clips)
    for clip in clips:
        rows = []
        for frame, target in each_box(clip):
            x, y, w, h = (float(v) for v in target.boxes[frame])
            visible = 0 if target.occluded[frame] else 1
            rows.append(
                f"{frame + 1},{target.id},{x + 1:.3f},{y + 1:.3f},{w:.3f},{h:.3f},1,"
                f"{names.index(target.label) + 1},{visible}\n"
            )
        folder = path / safe(clip.name)
        write_atomic(folder / "gt" / "gt.txt", "".join(rows))
        write_atomic(folder / "gt" / "labels.txt", "".join(name.replace("\n", " ") + "\n" for name in names))
        info = configparser.ConfigParser(interpolation=None)
        info.optionxform = str  # type: ignore[assignment,method-assign]
        info["Sequence"] = {
            "name": safe(clip.name), "imDir": "img1", "frameRate": str(clip.rate or ""),
            "seqLength": str(clip.frame_count),
            "imWidth": str(clip.width), "imHeight": str(clip.height), "imExt": ".jpg",
        }  # fmt: skip
        text = io.StringIO()
        info.write(text, space_around_delimiters=False)
        write_atomic(folder / "seqinfo.ini", text.getvalue())
    return cannot_hold(clips, LOST)


def read(path: Path) -> list[Clip]:
    """A folder with gt/gt.txt, or one that holds such folders.

    Raises:
        AnnotationError: There is none, or a row is wrong.
    """
    files = sorted(path.rglob("gt.txt")) if path.is_dir() else [path]
    if not files:
        raise AnnotationError(f"Can't read {path} as MOT: there is no gt/gt.txt in it.")
    return [clip for file in files for clip in _read_one(file)]


def _read_one(file: Path) -> list[Clip]:
    folder = file.parent.parent if file.parent.name == "gt" else file.parent
    info = configparser.ConfigParser(interpolation=None)
    try:
        if (folder / "seqinfo.ini").exists():
            info.read_string(read_text(folder / "seqinfo.ini"))
        about = dict(info["Sequence"]) if info.has_section("Sequence") else {}
        listed = file.parent / "labels.txt"
        names = read_text(listed).splitlines() if listed.exists() else []
        out = ClipCollector()
        name = folder.name
        clip = out.clip(
            name, int(about.get("imwidth", 0)), int(about.get("imheight", 0)), int(about.get("seqlength", 0)) - 1
        )
        clip.rate = Fraction(about["framerate"]) if about.get("framerate") else None
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if not line.strip():
                continue
            try:
                values = [float(v) for v in line.split(",")]
                frame, target, x, y, w, h = values[:6]
            except ValueError:
                raise AnnotationError(
                    f"Can't read line {number} of {file}: {line[:60]!r} is not frame,id,x,y,w,h,..."
                ) from None
            kind = int(values[7]) if len(values) > 7 else 1
            label = names[kind - 1] if 0 < kind <= len(names) else f"class {kind}" if kind > 0 else "object"
            hidden = len(values) > 8 and values[8] == 0
            out.add(
                name, f"t{target:g}", int(frame) - 1, (x - 1, y - 1, w, h), label, number=int(target), occluded=hidden
            )
        return out.finish()
    except (OSError, configparser.Error, ValueError) as error:
        raise AnnotationError(f"Can't read {file} as MOT: {error}.") from None
