"""Pascal VOC: an xml file per picture under Annotations/ (host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf,
section 5).

VOC counts pixels from 1 and takes xmax, ymax as the last pixel inside, so a box x, y, w, h from 0 is xmin = x + 1, xmax
= x + w.
"""

from __future__ import annotations

import xml.etree.ElementTree as xml
from collections.abc import Sequence
from pathlib import Path

from tracker.annotate.clip import AnnotationError, Clip
from tracker.annotate.formats.base import (
    ClipCollector,
    cannot_hold,
    frame_file,
    parse_frame_file,
    parse_xml,
    picture_frames,
    text_of,
    thinned,
    write_frames,
    xml_bytes,
)
from tracker.files import write_atomic

LOST = {
    "ids": "Pascal VOC has no tracks: which boxes belong to one target is lost.",
    "names": "Names of targets are left out; classes are kept.",
    "scores": "Scores are left out.",
    "keys": "Which boxes a person drew is left out.",
    "approved": "Approval is left out.",
    "rate": "The frame rate is left out.",
}


def write(clips: Sequence[Clip], path: Path, pictures: bool = False) -> list[str]:
    """Annotations/ (and JPEGImages/) in the folder `path`."""
    for clip in clips:
        shown = [(target, target.present) for target in clip.targets]
        frames = picture_frames(clip)
        for frame in frames:
            root = xml.Element("annotation")
            name = frame_file(clip, frame)
            for tag, text in (("folder", "JPEGImages"), ("filename", name)):
                xml.SubElement(root, tag).text = text
            size = xml.SubElement(root, "size")
            for tag, value in (("width", clip.width), ("height", clip.height), ("depth", 3)):
                xml.SubElement(size, tag).text = str(value)
            xml.SubElement(root, "segmented").text = "0"
            for target, present in shown:
                if not present[frame]:
                    continue
                thing = xml.SubElement(root, "object")
                x, y, w, h = (float(v) for v in target.boxes[frame])
                cut = x < 0 or y < 0 or x + w > clip.width or y + h > clip.height
                parts = {"name": target.label, "pose": "Unspecified", "truncated": int(cut), "difficult": 0}
                parts["occluded"] = int(target.occluded[frame])
                for tag, content in parts.items():
                    xml.SubElement(thing, tag).text = str(content)
                box = xml.SubElement(thing, "bndbox")
                for tag, edge in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + w), ("ymax", y + h)):
                    xml.SubElement(box, tag).text = f"{edge:.3f}".rstrip("0").rstrip(".")
            write_atomic(path / "Annotations" / f"{Path(name).stem}.xml", xml_bytes(root))
        if pictures:
            write_frames(clip, path / "JPEGImages", frames)
    return cannot_hold(clips, LOST) + thinned(clips)


def read(path: Path) -> list[Clip]:
    """A folder with Annotations/, or the folder of xml files itself. Each box is a target of its own.

    Raises:
        AnnotationError: There are none, or one isn't VOC.
    """
    folder = path / "Annotations" if (path / "Annotations").is_dir() else path
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise AnnotationError(
            f"Can't read {path} as Pascal VOC: there are no xml files in it; give the folder that holds Annotations/."
        )
    out, count = ClipCollector(), 0
    for file in files:
        try:
            root = parse_xml(file)
            clip, frame = parse_frame_file(text_of(root, "filename"))
            out.clip(clip, int(text_of(root, "size/width")), int(text_of(root, "size/height")), frame)
            for thing in root.iter("object"):
                x1, y1, x2, y2 = (float(text_of(thing, f"bndbox/{tag}")) for tag in ("xmin", "ymin", "xmax", "ymax"))
                count += 1
                hidden = (thing.findtext("occluded") or "0").strip() == "1"
                out.add(
                    clip,
                    f"b{count}",
                    frame,
                    (x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1),
                    text_of(thing, "name"),
                    occluded=hidden,
                )
        except ValueError as error:
            raise AnnotationError(f"Can't read {file} as Pascal VOC: {error}.") from None
    return out.finish()
