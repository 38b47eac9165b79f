"""What every data set reader gives: sequences of frames with their truth; and the parts that all readers share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tracker.errors import BoxError, SourceError
from tracker.files import read_text
from tracker.media.boxgrammar import Line, numbers
from tracker.types import Image

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
CLIPS = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v"}


@dataclass(frozen=True)
class SequenceData:
    """One annotated sequence of N frames.

    Attributes:
        name: Its name in the data set and in result files.
        frames: Paths of the N images, or one path of a video clip.
        truth: (N, 4) float64 xywh; NaN where there is no annotation.
        valid: (N,) bool, the frames that count in this data set's protocol.
        init: (4,) float64 xywh, the box that initialises the tracker in frame 0.
        size: (width, height) in pixels where the annotation tells it, else (0, 0).
        attributes: name -> (N,) bool.
        object_class: Class of the target, "" where unknown.
        polygons: (N, 8) float64 corners (VOT), else None.
    """

    name: str
    frames: tuple[str, ...] = field(repr=False)
    truth: NDArray[np.float64] = field(repr=False)
    valid: NDArray[np.bool_] = field(repr=False)
    init: NDArray[np.float64]
    size: tuple[int, int] = (0, 0)
    attributes: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict, repr=False)
    object_class: str = ""
    polygons: NDArray[np.float64] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def is_clip(self) -> bool:
        """Whether the frames come out of one video file."""
        return len(self.frames) == 1 and Path(self.frames[0]).suffix.lower() in CLIPS

    def images(self) -> Iterator[Image]:
        """The N frames, BGR uint8 H x W x 3, decoded with OpenCV as the published trackers' inputs are.

        Raises:
            SourceError: A frame is missing or damaged.
        """
        import cv2

        if not self.is_clip:
            for path in self.frames:
                image = cv2.imread(path, cv2.IMREAD_COLOR)
                if image is None:
                    raise SourceError(f"The image {path} of sequence {self.name} can't be read; it is missing or damaged.")
                yield image  # type: ignore[misc]
            return
        capture = cv2.VideoCapture(self.frames[0])
        try:
            for k in range(len(self)):
                ok, image = capture.read()
                if not ok:
                    raise SourceError(f"The clip {self.frames[0]} ends after {k} frames, but its boxes are for {len(self)}.")
                yield image  # type: ignore[misc]
        finally:
            capture.release()

    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels, from the annotation or else from the first frame."""
        if self.size[0] > 0:
            return self.size
        image = next(iter(self.images()))
        return image.shape[1], image.shape[0]


@dataclass(frozen=True)
class Dataset:
    """A benchmark's sequences and its rules.

    Attributes:
        key: As given to --dataset.
        title: As shown, with the split and, where it isn't complete, how much of it there is.
        results_folder: Name of its folder in the got10k interchange layout ("GOT-10k", "OTB2015", ...).
        layout: Which files hold a tracker's results there: "got10k", "otb" or "vot".
        rules: Which metrics are the benchmark's own: "got10k", "otb", "lasot", "trackingnet" or "vot".
        sequences: In the benchmark's order.
        eao_range: (low, high) sequence lengths over which the expected overlap is averaged (VOT), else None.
        truth_withheld: True where only the first box is public (GOT-10k test, TrackingNet test).
    """

    key: str
    title: str
    results_folder: str
    layout: Literal["got10k", "otb", "vot"]
    rules: Literal["got10k", "otb", "lasot", "trackingnet", "vot"]
    sequences: tuple[SequenceData, ...] = field(repr=False)
    eao_range: tuple[int, int] | None = None
    truth_withheld: bool = False

    @property
    def names(self) -> list[str]:
        return [s.name for s in self.sequences]

    def select(self, pattern: str) -> Dataset:
        """The sequences whose names match a glob pattern, or several with commas between them.

        Raises:
            SourceError: None matches.
        """
        patterns = [p.strip() for p in pattern.split(",") if p.strip()]
        kept = tuple(s for s in self.sequences if any(fnmatchcase(s.name, p) for p in patterns))
        if not kept:
            some = ", ".join(self.names[:6])
            raise SourceError(f"No sequence of {self.title} matches {pattern!r}; there are {len(self.sequences)}: {some}, ...")
        title = self.title if len(kept) == len(self.sequences) else f"{self.title}, {len(kept)} of {len(self.sequences)} sequences"
        return replace(self, sequences=kept, title=title)


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sort key that puts frame_2 before frame_10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path.name)]


def list_images(folder: Path) -> list[str]:
    """Paths of the images in a folder, naturally sorted."""
    if not folder.is_dir():
        return []
    files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and not p.name.startswith(".")]
    return [str(p) for p in sorted(files, key=natural_key)]


def annotation_text(path: Path) -> str:
    """A text file of a data set: UTF-8, or UTF-16 with its byte order mark, as `tracker.files.read_text` reads it.

    Raises:
        SourceError: The file is missing or isn't text.
    """
    try:
        return read_text(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceError(f"The annotation {path} can't be read: {reason}.") from None


def read_table(path: Path, columns: tuple[int, ...] = (4,)) -> NDArray[np.float64]:
    """Rows of numbers between commas, tabs or spaces; NaN where a value says nan.

    Args:
        path: Text file.
        columns: Allowed numbers of columns.

    Returns:
        (N, C) float64.

    Raises:
        SourceError: The file is missing or empty, or a line isn't such a row (the message names the line).
    """
    text = annotation_text(path)
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = numbers(path, Line(number, line.strip()))
        except BoxError as error:
            raise SourceError(f"{path} line {number} isn't numbers between commas: {error}") from None
        if len(row) not in columns or (rows and len(row) != len(rows[0])):
            expected = " or ".join(str(c) for c in columns)
            raise SourceError(f"{path} line {number} has {len(row)} values; expected {expected} in every line, for example 10,20,64,48.")
        rows.append(row)
    if not rows:
        raise SourceError(f"The annotation {path} is empty; expected one line x,y,w,h per frame.")
    return np.asarray(rows, dtype=np.float64)


def read_flags(path: Path, count: int) -> NDArray[np.float64] | None:
    """One number per frame, on lines or between commas (labels and tags); padded with zeros to `count`; None if absent."""
    if not path.is_file():
        return None
    words = re.split(r"[,;\s]+", annotation_text(path).strip())
    try:
        values = np.asarray([float(w) for w in words if w], dtype=np.float64)
    except ValueError:
        raise SourceError(f"{path} holds something else than numbers; expected one number per frame.") from None
    return np.pad(values, (0, max(0, count - len(values))))[:count]


def annotated(truth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) True where all four values are finite."""
    return np.asarray(np.isfinite(truth).all(axis=1))


def has_area(truth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) True where the box is finite and has an area."""
    return annotated(truth) & (truth[:, 2] > 0) & (truth[:, 3] > 0)


def derived_attributes(truth: NDArray[np.float64], size: tuple[int, int] = (0, 0)) -> dict[str, NDArray[np.bool_]]:
    """Attributes that the truth alone tells, by the definitions of OTB (Wu, Lim, Yang, TPAMI 2015, table 2), per frame.

    Args:
        truth: (N, 4) xywh.
        size: (width, height) of the frames, or (0, 0) where unknown ("at the border" is left out then).

    Returns:
        Name -> (N,) bool: "scale variation" (area more than twice or less than half of the first frame's),
        "aspect change" (aspect ratio beyond a factor 2 of the first frame's, UAV123), "fast motion" (more than 20 px
        since the frame before), "low resolution" (fewer than 400 px in the box), "at the border" (box cut by the frame).
    """
    good = has_area(truth)
    with np.errstate(all="ignore"):
        area = truth[:, 2] * truth[:, 3]
        aspect = truth[:, 2] / truth[:, 3]
        centre = truth[:, :2] + truth[:, 2:] / 2
        step = np.linalg.norm(np.diff(centre, axis=0, prepend=centre[:1]), axis=1)
        step[1:][~good[:-1]] = 0
        table = {
            "scale variation": np.abs(np.log2(area / area[0])) > 1,
            "aspect change": np.abs(np.log2(aspect / aspect[0])) > 1,
            "fast motion": step > 20,
            "low resolution": area < 400,
        }
        if size[0] > 0:
            right, bottom = truth[:, 0] + truth[:, 2], truth[:, 1] + truth[:, 3]
            table["at the border"] = (truth[:, 0] <= 0) | (truth[:, 1] <= 0) | (right >= size[0]) | (bottom >= size[1])
    return {name: np.asarray(mask & good) for name, mask in table.items()}
