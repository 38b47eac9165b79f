"""Text files of annotations: tables of boxes, flags, names, and attributes derived from them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracker.errors import BoxError, SourceError, reading
from tracker.files import read_text
from tracker.media.box_lines import Line
from tracker.media.box_numbers import numbers
from tracker.media.images import IMAGE_SUFFIXES
from tracker.media.sources.images import natural_key


def read_names(path: Path) -> list[str]:
    """The names in a list.txt, separated by blanks or line ends.

    Raises:
        SourceError: It can't be read as text, or is empty.
    """
    with reading(lambda why: SourceError(f"The list {path} can't be read: {why}.")):
        names = annotation_text(path).split()
    if not names:
        raise SourceError(f"{path} is empty; expected one sequence name per line.")
    return names


def list_images(folder: Path) -> list[str]:
    """Paths of the images in a folder, naturally sorted."""
    if not folder.is_dir():
        return []
    files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    return [str(p) for p in sorted(files, key=lambda p: natural_key(p.name))]


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
    """Reads rows of numbers separated by commas, tabs or spaces; the word nan gives NaN.

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
            raise SourceError(
                f"{path} line {number} has {len(row)} values; expected {expected} in every line, for example "
                "10,20,64,48."
            )
        rows.append(row)
    if not rows:
        raise SourceError(f"The annotation {path} is empty; expected one line x,y,w,h per frame.")
    return np.asarray(rows, dtype=np.float64)


def read_flags(path: Path, count: int) -> NDArray[np.float64] | None:
    """One number per frame, separated by line ends or commas (labels and tags); padded with zeros to `count`; None if
    the file is absent."""
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
    """Attributes that follow from the ground truth alone, by the definitions of OTB (Wu, Lim, Yang, TPAMI 2015, table
    2), per frame.

    Args:
        truth: (N, 4) xywh.
        size: (width, height) of the frames, or (0, 0) where unknown ("at the border" is left out then).

    Returns:
        Name -> (N,) bool: "scale variation" (area more than twice or less than half of the first frame's),
        "aspect change" (aspect ratio beyond a factor 2 of the first frame's, UAV123), "fast motion" (more than 20 px
        since the frame before), "low resolution" (fewer than 400 px in the box), "at the border" (box cut by the
        frame).
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
