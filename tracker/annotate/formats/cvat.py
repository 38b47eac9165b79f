"""CVAT for video 1.1: a track per target with keyframes, `outside` and `occluded` (docs.cvat.ai, "CVAT for video").

CVAT interpolates linearly between keyframes, so a track is written with as many keyframes as reproduce it within
`tolerance` pixels; the interpolated boxes are written too (keyframe="0").
"""

from __future__ import annotations

import xml.etree.ElementTree as xml
import zipfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from tracker.annotate.clip import AnnotationError, Clip, between_keyframes, keyframes, new_target
from tracker.annotate.formats.base import cannot_hold, closest, labels, parse_xml, text_of, xml_bytes
from tracker.files import write_atomic

LOST = {
    "scores": "CVAT has no scores for boxes; they are left out.",
    "approved": "Approval is left out.",
    "keys": "Key boxes of a person and keyframes that the track needs look alike in CVAT.",
    "rate": "The frame rate is left out.",
}


def write(clips: Sequence[Clip], path: Path, tolerance: float = 0.0) -> list[str]:
    """Writes an xml file for one clip; for several, a file per clip in the folder `path`.

    Args:
        clips: What to write.
        path: `annotations.xml`, or a folder.
        tolerance: Largest deviation in pixels of the interpolated boxes from the track; 0 reproduces it exactly.
    """
    if len(clips) == 1 and path.suffix == ".xml":
        write_atomic(path, xml_bytes(_document(clips[0], tolerance)))
    else:
        for clip in clips:
            write_atomic(path / clip.name / "annotations.xml", xml_bytes(_document(clip, tolerance)))
    moved = [f"Boxes may be off by up to {tolerance:g} px between keyframes, as asked for."] if tolerance else []
    return cannot_hold(clips, LOST) + moved


def _document(clip: Clip, tolerance: float) -> xml.Element:
    root = xml.Element("annotations")
    xml.SubElement(root, "version").text = "1.1"
    task = xml.SubElement(xml.SubElement(root, "meta"), "task")
    facts = {"name": clip.name, "size": clip.frame_count, "mode": "interpolation", "overlap": 0, "flipped": "False"}
    facts |= {"start_frame": 0, "stop_frame": max(clip.frame_count - 1, 0), "frame_filter": ""}
    for tag, value in facts.items():
        xml.SubElement(task, tag).text = str(value)
    listed = xml.SubElement(task, "labels")
    for name in labels([clip]):
        label = xml.SubElement(listed, "label")
        for tag, text in (
            ("name", name),
            ("color", next(t.colour for t in clip.targets if t.label == name)),
            ("type", "rectangle"),
        ):
            xml.SubElement(label, tag).text = text
        attribute = xml.SubElement(xml.SubElement(label, "attributes"), "attribute")
        for tag, text in (
            ("name", "name"),
            ("mutable", "False"),
            ("input_type", "text"),
            ("default_value", ""),
            ("values", ""),
        ):
            xml.SubElement(attribute, tag).text = text
    size = xml.SubElement(task, "original_size")
    for tag, value in (("width", clip.width), ("height", clip.height)):
        xml.SubElement(size, tag).text = str(value)
    xml.SubElement(task, "source").text = Path(clip.path).name or clip.name
    for target in clip.targets:
        boxes = closest(target.boxes)
        track = xml.SubElement(root, "track", {"id": str(target.id), "label": target.label, "source": "semi-auto"})
        keys = [k for k, box in target.keys.items() if box is not None]
        marks = dict(keyframes(boxes, target.occluded, keys, tolerance))
        filled, _ = between_keyframes(
            clip.frame_count,
            [(k, None if out else boxes[k], bool(target.occluded[k])) for k, out in sorted(marks.items())],
        )
        last = None
        for frame in range(clip.frame_count):
            outside = marks.get(frame, False)
            if outside:
                box = last
            elif np.isfinite(filled[frame]).all():
                box = last = filled[frame]
            else:
                continue
            assert box is not None
            x, y, w, h = (float(v) for v in box)
            attributes = {
                "frame": str(frame), "outside": str(int(outside)), "occluded": str(int(target.occluded[frame])),
                "keyframe": str(int(frame in marks)), "xtl": f"{x:.3f}", "ytl": f"{y:.3f}",
                "xbr": f"{x + w:.3f}", "ybr": f"{y + h:.3f}",
                "z_order": "0",
            }  # fmt: skip
            shape = xml.SubElement(track, "box", attributes)
            xml.SubElement(shape, "attribute", {"name": "name"}).text = target.name
    return root


def read(path: Path) -> list[Clip]:
    """Reads an annotations.xml, the zip that CVAT exports, or a folder of such files. Keyframes become a track.

    Raises:
        AnnotationError: It isn't CVAT for video 1.1.
    """
    if path.is_dir():
        return [clip for file in sorted(path.rglob("*.xml")) for clip in read(file)]
    if path.suffix == ".zip":
        return [_unzipped(path)]
    return [_clip(parse_xml(path), path)]


def _unzipped(path: Path) -> Clip:
    import tempfile

    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            inside = next((name for name in archive.namelist() if name.endswith("annotations.xml")), None)
            if inside is None:
                raise AnnotationError(f"{path} holds no annotations.xml; export it from CVAT as 'CVAT for video 1.1'.")
            file = Path(folder) / "annotations.xml"
            file.write_bytes(archive.read(inside))
            return _clip(parse_xml(file), path)
    except (OSError, zipfile.BadZipFile) as error:
        raise AnnotationError(f"Can't read {path}: {error}.") from None


def _clip(root: xml.Element, path: Path) -> Clip:
    try:
        if root.tag != "annotations" or (root.find(".//track") is None and root.find(".//image") is not None):
            raise ValueError("it has pictures, not tracks; export it from CVAT as 'CVAT for video 1.1'")
        meta = root.find(".//original_size")
        if meta is None:
            raise ValueError("<original_size> is missing")
        sizes = int(text_of(meta, "width")), int(text_of(meta, "height"))
        shapes = [int(box.get("frame", "0")) for box in root.iter("box")]
        size = root.findtext(".//task/size") or root.findtext(".//job/size")
        count = max(int(size or 0), max(shapes, default=-1) + 1)
        clip = Clip(root.findtext(".//task/name") or path.stem, *sizes, count, Fraction(0) or None)
        for track in root.iter("track"):
            number = len(clip.targets) + 1
            if (given := track.get("id", "")).isdigit() and int(given) > 0:
                number = int(given)
            name = next((a.text or "" for a in track.iter("attribute") if a.get("name") == "name"), "")
            target = new_target(number, count, name, track.get("label", "object"))
            marks = []
            for box in sorted(track.iter("box"), key=lambda b: int(b.get("frame", "0"))):
                if box.get("keyframe", "1") != "1" and box.get("outside") != "1":
                    continue
                x1, y1, x2, y2 = (float(box.get(edge, "nan")) for edge in ("xtl", "ytl", "xbr", "ybr"))
                gone = box.get("outside") == "1"
                corner = None if gone else np.array([x1, y1, x2 - x1, y2 - y1])
                marks.append((int(box.get("frame", "0")), corner, box.get("occluded") == "1"))
            target.boxes, target.occluded = between_keyframes(count, marks)
            target.boxes = closest(target.boxes)
            target.scores[:] = np.where(target.present, 1.0, np.nan)
            clip.targets.append(target)
        return clip
    except ValueError as error:
        raise AnnotationError(f"Can't read {path} as CVAT for video 1.1: {error}.") from None
