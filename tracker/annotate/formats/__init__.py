"""Annotation formats, import and export: `write("coco-video", clips, path)`, `read("cvat", path)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracker.annotate.boxes_csv import write_boxes
from tracker.annotate.clip import AnnotationError, Clip
from tracker.annotate.formats import coco, cvat, label_studio, mot, sequences, voc, yolo
from tracker.errors import OutputError
from tracker.files import suggest


@dataclass(frozen=True)
class Format:
    """A format by its name.

    Attributes:
        name: As given on the command line.
        text: Description, for the help.
        suffix: Suffix of its file; "" for a folder.
        write: (clips, path, ...) -> what it can't represent, as sentences.
        read: path -> clips, or None.
        options: Which of `pictures` and `tolerance` the writer accepts.
    """

    name: str
    text: str
    suffix: str
    write: Callable[..., list[str]]
    read: Callable[[Path], list[Clip]] | None
    options: tuple[str, ...] = ()


FORMATS = {
    one.name: one
    for one in (
        Format("coco", "COCO for pictures", ".json", coco.write_images, coco.read),
        Format("coco-video", "COCO with videos and instances (CocoVID)", ".json", coco.write_video, coco.read),
        Format("yolo", "YOLO, Ultralytics' layout", "", yolo.write, yolo.read, ("pictures",)),
        Format("voc", "Pascal VOC", "", voc.write, voc.read, ("pictures",)),
        Format("cvat", "CVAT for video 1.1", ".xml", cvat.write, cvat.read, ("tolerance",)),
        Format("mot", "MOT 1.1 (CVAT, MOTChallenge, TrackEval)", "", mot.write, mot.read),
        Format(
            "label-studio", "Label Studio video tasks", ".json", label_studio.write, label_studio.read, ("tolerance",)
        ),
        Format("lasot", "LaSOT", "", sequences.write_lasot, sequences.read),
        Format("got10k", "GOT-10k", "", sequences.write_got10k, sequences.read),
        Format("otb", "OTB", "", sequences.write_otb, sequences.read),
        Format("csv", "all boxes as a table", ".csv", write_boxes, None),
    )
}


def format_of(name: str) -> Format:
    """A format by its name.

    Raises:
        AnnotationError: There is none; with the most similar name.
    """
    if name not in FORMATS:
        raise AnnotationError(
            f"There is no format {name!r}; it is one of {', '.join(FORMATS)}.{suggest(name, FORMATS)}"
        )
    return FORMATS[name]


def check_target(name: str, path: str | Path, overwrite: bool = False) -> None:
    """Checks before any work whether an export can be written.

    Raises:
        AnnotationError, OutputError: No such format, a wrong suffix, or the path exists.
    """
    kind, out = format_of(name), Path(path).expanduser()
    if kind.suffix and out.suffix.lower() != kind.suffix and not (kind.name == "cvat" and not out.suffix):
        raise AnnotationError(f"{kind.text} is written to a file that ends in {kind.suffix}, and {out} doesn't.")
    if not kind.suffix and out.is_file():
        raise OutputError(f"{kind.text} is written to a folder, and {out} is a file; give another name.")
    if out.exists() and not overwrite and (out.is_file() or any(out.iterdir())):
        raise OutputError(f"Can't write {out}: it exists already; give another name, or --overwrite to replace it.")


def write(
    name: str, clips: Sequence[Clip], path: str | Path, *, pictures: bool = False, tolerance: float = 0.0
) -> list[str]:
    """Writes clips in a format.

    Args:
        name: Key of `FORMATS`.
        clips: What to write.
        path: File or folder, depending on the format.
        pictures: Write the frames too, for formats with images (yolo, voc).
        tolerance: Pixels, for formats with keyframes (cvat, label-studio): see `tracker.annotate.clip.keyframes`.

    Returns:
        Sentences about what the format can't represent.

    Raises:
        AnnotationError, OutputError: No such format, or it can't be written.
    """
    kind = format_of(name)
    options = {key: value for key, value in (("pictures", pictures), ("tolerance", tolerance)) if key in kind.options}
    return kind.write(list(clips), Path(path).expanduser(), **options)


def read(name: str, path: str | Path) -> list[Clip]:
    """Reads clips from a format.

    Raises:
        AnnotationError: No such format, or the file has another format.
    """
    kind, file = format_of(name), Path(path).expanduser()
    if kind.read is None:
        raise AnnotationError(f"{kind.text} is for looking at; key boxes are read with --headless FILE.csv.")
    if not file.exists():
        raise AnnotationError(f"Can't read {file}: there is no such file or folder.")
    return kind.read(file)
