"""LaSOT, GOT-10k and OTB: a folder per target with one box per frame.

| format | boxes                    | origin | a frame without the target                                   |
| ------ | ------------------------ | ------ | ------------------------------------------------------------ |
| lasot  | groundtruth.txt, x,y,w,h | 0      | box 0,0,0,0; out_of_view.txt 1; hidden: full_occlusion.txt 1 |
| got10k | groundtruth.txt, x,y,w,h | 0      | box 0,0,0,0; absence.label 1; hidden: cover.label 0, else 8  |
| otb    | groundtruth_rect.txt     | 1      | box 0,0,0,0                                                  |
"""

from __future__ import annotations

import configparser
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from tracker.annotate.clip import AnnotatedTarget, AnnotationError, Clip, new_target
from tracker.annotate.formats.base import cannot_hold, safe
from tracker.files import read_text, write_atomic
from tracker.geometry import Boxes
from tracker.media.box_files import read_boxes

LOST = {
    "names": "Targets lie in folders that are called as they are.",
    "scores": "Scores are left out.",
    "keys": "Which boxes a person drew is left out.",
    "colours": "Colours are left out.",
    "approved": "Approval is left out.",
}


def write_lasot(clips: Sequence[Clip], path: Path) -> list[str]:
    """LaSOT's layout: CLASS/CLASS-N/ with groundtruth.txt, full_occlusion.txt, out_of_view.txt, nlp.txt."""
    counts: dict[str, int] = {}
    for _, target in _each(clips):
        label = safe(target.label)
        counts[label] = counts.get(label, 0) + 1
        folder = path / label / f"{label}-{counts[label]}"
        write_atomic(folder / "groundtruth.txt", _rows(target.boxes, 0))
        write_atomic(folder / "full_occlusion.txt", ",".join(str(int(v)) for v in target.occluded) + "\n")
        write_atomic(folder / "out_of_view.txt", ",".join(str(int(not v)) for v in target.present) + "\n")
        write_atomic(folder / "nlp.txt", target.name + "\n")
    return [*cannot_hold(clips, LOST | {"names": ""})[1:], *_size_lost(clips)]


def write_got10k(clips: Sequence[Clip], path: Path) -> list[str]:
    """GOT-10k's layout: CLIP-TARGET/ with groundtruth.txt, absence.label, cover.label, cut_by_image.label,
    meta_info.ini, and list.txt."""
    names: list[str] = []
    for clip, target in _each(clips):
        name = _folder(clip, target)
        names.append(name)
        folder, present = path / name, target.present
        cut = present & ((target.boxes[:, 0] < 0) | (target.boxes[:, 1] < 0))
        cut |= present & (
            (target.boxes[:, 0] + target.boxes[:, 2] > clip.width)
            | (target.boxes[:, 1] + target.boxes[:, 3] > clip.height)
        )
        write_atomic(folder / "groundtruth.txt", _rows(target.boxes, 0, "{:.4f}"))
        write_atomic(folder / "absence.label", _column(~present))
        write_atomic(
            folder / "cover.label",
            "".join(f"{0 if hid or not here else 8}\n" for hid, here in zip(target.occluded, present, strict=True)),
        )
        write_atomic(folder / "cut_by_image.label", _column(cut))
        about = f"url: {clip.name}\nmajor_class: {_line(target.name)}\nroot_class: {_line(target.label)}\n"
        about += (
            f"resolution: ({clip.width}, {clip.height})\nanno_fps: {clip.rate or ''}\nvideo_length: "
            f"{clip.frame_count}\n"
        )
        write_atomic(folder / "meta_info.ini", "[METAINFO]\n" + about)
    write_atomic(path / "list.txt", "".join(name + "\n" for name in names))
    return cannot_hold(clips, LOST)[1:]


def write_otb(clips: Sequence[Clip], path: Path) -> list[str]:
    """OTB's layout: CLIP-TARGET/groundtruth_rect.txt, pixels from 1."""
    for clip, target in _each(clips):
        write_atomic(path / _folder(clip, target) / "groundtruth_rect.txt", _rows(target.boxes, 1))
    lost = LOST | {"occluded": "What is hidden is left out.", "rate": "The frame rate is left out."}
    return [*cannot_hold(clips, lost), "Classes are left out.", *_size_lost(clips)]


def _size_lost(clips: Sequence[Clip]) -> list[str]:
    return ["The size of the picture is in the pictures alone."] if clips else []


def _folder(clip: Clip, target: AnnotatedTarget) -> str:
    return f"{safe(clip.name)}-{target.id}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _column(values: Sequence[bool] | np.ndarray) -> str:
    return "".join(f"{int(v)}\n" for v in values)


def _rows(boxes: Boxes, origin: int, form: str = "{:.3f}") -> str:
    lines = []
    for box in boxes:
        if np.isfinite(box).all():
            lines.append(",".join(form.format(v) for v in (box[0] + origin, box[1] + origin, box[2], box[3])))
        else:
            lines.append(",".join(form.format(0) for _ in range(4)))
    return "\n".join(lines) + "\n"


def _each(clips: Sequence[Clip]) -> list[tuple[Clip, AnnotatedTarget]]:
    return [(clip, target) for clip in clips for target in clip.targets]


def read(path: Path) -> list[Clip]:
    """Reads folders of any of the three, recognised by their files. Each is a clip with one target.

    Raises:
        AnnotationError: There is none.
    """
    files = sorted([*path.rglob("groundtruth.txt"), *path.rglob("groundtruth_rect.txt")]) if path.is_dir() else [path]
    if not files:
        raise AnnotationError(f"Can't read {path}: there is no groundtruth.txt or groundtruth_rect.txt in it.")
    return [_one(file) for file in files]


def _one(file: Path) -> Clip:
    folder = file.parent
    boxes = read_boxes(file).copy()
    if file.name == "groundtruth_rect.txt":
        boxes[:, :2] -= 1
    boxes[~((boxes[:, 2] > 0) & (boxes[:, 3] > 0))] = np.nan
    clip = Clip(folder.name, 0, 0, len(boxes))
    name, label = folder.name, "object"
    hidden = np.zeros(len(boxes), bool)
    if (folder / "meta_info.ini").exists():
        info = configparser.ConfigParser(interpolation=None)
        info.read_string(read_text(folder / "meta_info.ini"))
        about = dict(info["METAINFO"])
        name, label = about.get("major_class", name), about.get("root_class", label)
        clip.width, clip.height = (int(v) for v in about.get("resolution", "(0, 0)").strip("()").split(","))
        clip.rate = Fraction(about["anno_fps"].lower().replace("hz", "").strip()) if about.get("anno_fps") else None
        cover = folder / "cover.label"
        hidden = np.array(read_text(cover).split(), int) == 0 if cover.exists() else hidden
        hidden &= np.isfinite(boxes).all(axis=1)
    elif (folder / "full_occlusion.txt").exists():
        label = folder.parent.name
        hidden = np.array(read_text(folder / "full_occlusion.txt").replace(",", " ").split(), int) == 1
        name = read_text(folder / "nlp.txt").strip() if (folder / "nlp.txt").exists() else name
    target = new_target(1, len(boxes), name, label)
    target.boxes, target.occluded = boxes, hidden
    target.scores[:] = np.where(target.present, 1.0, np.nan)
    clip.targets.append(target)
    return clip
