"""Shared by the formats: the report of what a format can't represent, file names, and frames as images."""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tracker.annotate.clip import AnnotatedTarget, AnnotationError, Clip, new_target
from tracker.annotate.frames import open_frames
from tracker.files import write_atomic
from tracker.geometry import Boxes, clip_box
from tracker.media.images import encode_image

FILE = "{clip}_{frame:06d}.jpg"
"""Pattern of a frame's file name, for formats with one image per frame."""


def safe(name: str) -> str:
    """A string made safe as a file name."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "clip"


def frame_file(clip: Clip, frame: int) -> str:
    """The file name of a frame."""
    return FILE.format(clip=safe(clip.name), frame=frame)


def parse_frame_file(name: str) -> tuple[str, int]:
    """Clip and frame number of a frame's file: the last number in its name; the text before it is the clip."""
    stem = Path(name).stem
    found = re.search(r"(\d+)(?!.*\d)", stem)
    if not found:
        return stem, 0
    return stem[: found.start()].rstrip("_-. ") or "clip", int(found.group())


def labels(clips: Sequence[Clip]) -> list[str]:
    """All classes, in order of appearance."""
    return list(dict.fromkeys(target.label for clip in clips for target in clip.targets))


def each_box(clip: Clip) -> Iterator[tuple[int, AnnotatedTarget]]:
    """(frame, target) for every box of a clip, by frame."""
    shown = [(target, target.present) for target in clip.targets]
    for frame in range(clip.frame_count):
        for target, present in shown:
            if present[frame]:
                yield frame, target


def annotated_frames(clip: Clip) -> list[int]:
    """Frames with information about a target: a box, or its absence."""
    known = np.zeros(clip.frame_count, bool)
    for target in clip.targets:
        known |= target.present | np.isfinite(target.scores)
    return [int(k) for k in np.flatnonzero(known)]


def picture_frames(clip: Clip) -> list[int]:
    """The frames for formats with a file per image: all with a box, and of those known to have none at most as many,
    evenly spaced; otherwise a target that is visible for seconds of an hour would be lost among empty images."""
    there = np.zeros(clip.frame_count, bool)
    for target in clip.targets:
        there |= target.present
    empty = [k for k in annotated_frames(clip) if not there[k]]
    most = int(there.sum())
    if len(empty) > most:
        empty = [empty[round(k)] for k in np.linspace(0, len(empty) - 1, most)]
    return sorted({*map(int, np.flatnonzero(there)), *empty})


def thinned(clips: Sequence[Clip]) -> list[str]:
    """A sentence about the frames that `picture_frames` omits."""
    known = sum(len(annotated_frames(clip)) for clip in clips)
    kept = sum(len(picture_frames(clip)) for clip in clips)
    left = f"{known - kept} of {known} frames are left out: without a target; as many of them as of others are kept."
    return [left] if kept < known else []


def cannot_hold(clips: Sequence[Clip], what: dict[str, str]) -> list[str]:
    """Sentences about what the clips contain and the format can't represent.

    Args:
        clips: The written clips.
        what: Kind of information (`keys`, `scores`, `names`, `ids`, `colours`, `occluded`, `approved`, `outside`,
            `rate`) -> what happens to it.
    """
    targets = [target for clip in clips for target in clip.targets]
    there = {
        "keys": any(t.keys for t in targets),
        "scores": any(bool(((t.scores < 1) & t.present).any()) for t in targets),
        "names": any(t.name for t in targets),
        "ids": bool(targets),
        "colours": bool(targets),
        "occluded": any(bool(t.occluded.any()) for t in targets),
        "approved": any(bool(t.approved.any()) for t in targets),
        "outside": any(not bool(t.present.all()) for t in targets),
        "rate": any(clip.rate is not None for clip in clips),
        "cut": any(
            bool((np.abs(clip_box(t.boxes, c.width, c.height) - t.boxes) > 1e-6).any())
            for c in clips
            for t in c.targets
        ),
    }
    return [sentence for kind, sentence in what.items() if there[kind]]


def write_frames(clip: Clip, folder: Path, frames: Sequence[int], quality: int = 92) -> None:
    """Writes some frames as JPEG, named by `frame_file`; existing files are kept.

    Raises:
        SourceError: The clip's frames can't be read.
    """
    if not clip.path:
        raise AnnotationError(f"The pictures of {clip.name} can't be written: it isn't known where its frames are.")
    wanted = [k for k in frames if not (folder / frame_file(clip, k)).exists()]
    if not wanted:
        return
    opened = open_frames(clip.path)
    try:
        for k in wanted:
            write_atomic(folder / frame_file(clip, k), encode_image(opened[k], quality=quality))
    finally:
        opened.close()


class ClipCollector:
    """Assembles clips from boxes in any order.

    Attributes:
        clips: By name.
    """

    def __init__(self) -> None:
        self.clips: dict[str, Clip] = {}
        self._boxes: dict[tuple[str, str], dict[int, tuple[tuple[float, ...], float, bool]]] = {}
        self._meta: dict[tuple[str, str], tuple[str, str, int]] = {}
        self._last: dict[str, int] = {}

    def clip(self, name: str, width: int, height: int, last: int = -1) -> Clip:
        """A clip; its number of frames grows with the boxes added."""
        if name not in self.clips:
            self.clips[name] = Clip(name, int(width), int(height), 0)
        self._last[name] = max(self._last.get(name, -1), last)
        return self.clips[name]

    def add(
        self, clip: str, track: str, frame: int, box: Sequence[float], label: str, name: str = "", number: int = 0,
        score: float = 1.0, occluded: bool = False,
    ) -> None:  # fmt: skip
        """Adds a box of a track."""
        key = (clip, track)
        self._meta.setdefault(key, (name, label, number))
        self._boxes.setdefault(key, {})[frame] = (tuple(float(v) for v in box), score, occluded)
        self._last[clip] = max(self._last.get(clip, -1), frame)

    def finish(self) -> list[Clip]:
        """The clips, complete."""
        for name, clip in self.clips.items():
            clip.frame_count = self._last[name] + 1
        numbers: dict[str, set[int]] = {}
        for (name, track), boxes in self._boxes.items():
            clip, (title, label, number) = self.clips[name], self._meta[name, track]
            taken = numbers.setdefault(name, set())
            if number <= 0 or number in taken:
                number = max(taken, default=0) + 1
            taken.add(number)
            target = new_target(number, clip.frame_count, title, label)
            for frame, (box, score, occluded) in boxes.items():
                target.boxes[frame], target.scores[frame], target.occluded[frame] = box, score, occluded
            clip.targets.append(target)
        return list(self.clips.values())


def closest(boxes: Boxes) -> Boxes:
    """Boxes rounded to thousandths of a pixel, as in all text formats."""
    return np.asarray(np.round(boxes, 3))


def parse_xml(path: Path) -> xml.Element:
    """The root of a file.

    Raises:
        AnnotationError: It can't be read, isn't xml, or declares entities.
    """
    try:
        data = path.read_bytes()
        if b"<!ENTITY" in data or b"<!DOCTYPE" in data:
            raise AnnotationError(
                f"{path} declares a document type or entities, which no annotation needs; it is not read."
            )
        return xml.fromstring(data)
    except OSError as error:
        raise AnnotationError(f"Can't read {path}: {error.strerror}.") from None
    except xml.ParseError as error:
        raise AnnotationError(f"Can't read {path}: it is not well-formed xml ({error}).") from None


def text_of(element: xml.Element, path: str) -> str:
    """The text of an element.

    Raises:
        ValueError: There is none.
    """
    text = element.findtext(path)
    if text is None or not text.strip():
        raise ValueError(f"<{path}> is missing in <{element.tag}>")
    return text.strip()


def xml_bytes(root: xml.Element) -> bytes:
    """Indented xml with its declaration; characters that xml doesn't allow (control characters) are replaced."""
    for element in root.iter():
        element.text = _clean(element.text)
        for key, value in element.attrib.items():
            element.attrib[key] = _clean(value) or ""
    xml.indent(root)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _clean(text: str | None) -> str | None:
    if text is None:
        return None
    return "".join(
        c if c in "\t\n" or 0x20 <= ord(c) < 0xD800 or 0xE000 <= ord(c) < 0xFFFE or ord(c) > 0xFFFF else "\ufffd"
        for c in text
    )
