"""Reads boxes from the common text formats, detected from the content; each row is assigned to the frame that it names.

docs/boxes.md states the rules; `tracker.media.box_grammar` parses the lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracker.errors import BoxError
from tracker.files import read_text
from tracker.geometry import Boxes, is_valid
from tracker.media.addresses import nearest
from tracker.media.box_grammar import FORMATS, mot_ids, parse
from tracker.media.box_lines import BoxRow, lines_of
from tracker.types import Box

BOX_SUFFIXES = (".txt", ".csv", ".jsonl")
"""Suffixes of box files that are searched for beside a clip, in this order."""
MOST_ROWS = 20_000_000
"""Greatest number of frames times targets in memory; more can only result from a wrong frame number."""


@dataclass(frozen=True)
class TargetBoxes:
    """The rows of one target, in frame order.

    Attributes:
        frames: (N,) int64, the 0-based frame of each row.
        boxes: (N, 4) float64 xywh; NaN where the file says that there is no box.
    """

    frames: NDArray[np.int64]
    boxes: Boxes

    def at(self, frame: int) -> Box | None:
        """The box in a frame, or None if there is no row for it, or a row without a box."""
        place = int(np.searchsorted(self.frames, frame))
        if place == len(self.frames) or self.frames[place] != frame or not is_valid(self.boxes[place]):
            return None
        return np.asarray(self.boxes[place])

    def dense(self, count: int | None = None) -> Boxes:
        """(count, 4): row k is frame k, NaN if there is no row; up to the last row if no count is given."""
        out = np.full((int(self.frames[-1]) + 1 if count is None else count, 4), np.nan)
        kept = self.frames < len(out)
        out[self.frames[kept]] = self.boxes[kept]
        return out


@dataclass(frozen=True)
class BoxFile:
    """The content of a box file.

    Attributes:
        path: The file.
        format: boxes, polygon, mot, csv or jsonl.
        numbered: Whether its rows name their frames; if not, row k is frame `first` + k.
        targets: id -> rows, in order of appearance.
        base: Offset from an id of `targets` to the id in the file.
    """

    path: Path
    format: str
    numbered: bool
    targets: dict[int, TargetBoxes]
    base: int = 0

    @property
    def lines(self) -> int:
        """Number of rows of the longest target."""
        return max(len(rows.frames) for rows in self.targets.values())

    @property
    def span(self) -> tuple[int, int]:
        """First and last frame with a row."""
        rows = self.targets.values()
        return min(int(r.frames[0]) for r in rows), max(int(r.frames[-1]) for r in rows)


def read_box_file(path: str | Path, format: str = "auto", first: int = 0) -> BoxFile:  # noqa: A002
    """Reads every row of a box file, with its frame.

    Args:
        path: The file.
        format: "auto", or one of `FORMATS` if the lines fit several.
        first: Frame of the first row if the rows name no frames.

    Raises:
        BoxError: The file can't be read, has other content, or is ambiguous; the sentence names the line.
    """
    if format not in ("auto", *FORMATS):
        raise BoxError(f"The format {format!r} of box files is not known; it is auto or one of {', '.join(FORMATS)}.")
    file = Path(path)
    try:
        text = read_text(file)
    except OSError as error:
        hint = nearest(file) if isinstance(error, FileNotFoundError) else ""
        raise BoxError(f"Can't read boxes from {path}: {error.strerror or error}.{hint}") from None
    except ValueError as error:
        raise BoxError(f"Can't read boxes from {path}: {error}.") from None
    lines = lines_of(text)
    if not lines:
        raise BoxError(f"Can't read boxes from {path}: the file is empty; its first line should be x,y,w,h.")
    kind, rows = parse(path, lines, format)
    if not rows:
        raise BoxError(f"Can't read boxes from {path}: there is a header but no row.")
    base = 0
    if kind == "mot":
        base = mot_ids(path, rows)
        rows = [row._replace(target=row.target - base) for row in rows]
    numbered = _numbered(path, rows)
    found: dict[int, dict[int, BoxRow]] = {}
    for row in rows:
        mine = found.setdefault(row.target, {})
        frame = row.frame if row.frame is not None else first + len(mine)
        if frame in mine:
            raise BoxError(
                f"Lines {mine[frame].line} and {row.line} of {path} are both for frame {frame + (kind == 'mot')} of "
                f"target {row.target + base}; keep one, or give each target its own id."
            )
        mine[frame] = row
    if sum(max(mine) + 1 for mine in found.values()) > MOST_ROWS:
        raise BoxError(
            f"Can't read boxes from {path}: its frame numbers go up to {max(map(max, found.values()))} for "
            f"{len(found)} targets."
        )
    return BoxFile(file, kind, numbered, {target: _rows(mine) for target, mine in found.items()}, base)


def _numbered(path: str | Path, rows: Sequence[BoxRow]) -> bool:
    named = [row.frame is not None for row in rows]
    if any(named) and not all(named):
        raise BoxError(
            f"Line {rows[named.index(False)].line} of {path} names no frame, other lines do; give a frame in each."
        )
    return all(named)


def _rows(rows: dict[int, BoxRow]) -> TargetBoxes:
    frames = sorted(rows)
    return TargetBoxes(
        np.asarray(frames, dtype=np.int64), np.asarray([rows[k].box for k in frames], dtype=np.float64).reshape(-1, 4)
    )


def read_boxes(path: str | Path) -> Boxes:
    """The boxes of the only target in a file, row k for frame k.

    Accepted: four numbers per line separated by comma, tab, semicolon or space (GOT-10k, OTB, LaSOT, VOT rectangles);
    eight numbers (a VOT polygon, replaced by its upright bounding box); csv with a header that names x, y, w, h; jsonl
    with "box"; MOT with six to ten numbers starting frame,id (both counted from 1); the single-number codes of VOT
    results.

    Args:
        path: The file.

    Returns:
        (N, 4) float64 xywh; NaN where the file marks the box as absent, and in frames without a row if the rows name
        their frames. MOT pixels are moved from origin 1 to 0.

    Raises:
        BoxError: The file can't be read, has other content, or several targets; the sentence names the line.
    """
    boxes = read_all_boxes(path)
    if len(boxes) > 1:
        raise BoxError(
            f"{path} holds {len(boxes)} targets (ids {_some(boxes)}), where one is expected; keep the rows of one of "
            "them."
        )
    return next(iter(boxes.values()))


def read_all_boxes(path: str | Path) -> dict[int, Boxes]:
    """The boxes of every target in a file, by id (0 if the format has none), in order of appearance.

    Returns:
        id -> (N, 4) float64 xywh, row k for frame k as in `read_boxes`.

    Raises:
        BoxError: As for `read_boxes`, but for several targets.
    """
    return {target: rows.dense() for target, rows in read_box_file(path).targets.items()}


def init_boxes(
    path: str | Path,
    frame: int | None = None,
    *,
    format: str = "auto",  # noqa: A002
    first: int | None = None,
    ids: Sequence[int] = (),
) -> tuple[dict[int, Box], str]:
    """The boxes of all targets in the frame in which tracking starts.

    Args:
        path: The file.
        frame: That frame, 0-based; None: the first one with a row.
        format: As in `read_box_file`.
        first: Frame of the first row if the rows name none. None: 0, or `frame` if the file has a single row.
        ids: Track only these targets, ids as in the file (MOT: from 1); none: all.

    Returns:
        id as in the file -> (4,) float64 xywh, and a sentence about the targets that are left out ("" if none is).

    Raises:
        BoxError: There is no box for that frame, or it is unknown which frames the rows belong to.
    """
    file = read_box_file(path, format, first or 0)
    begin = file.span[0]
    if frame is None:
        frame = begin
    if not file.numbered and first is None and frame > 0:
        if file.lines > 1:
            raise BoxError(
                f"{path} has {file.lines} lines without frame numbers: is its first line for frame 0 or for frame "
                f"{frame}? Say it with --first-row-frame 0 or --first-row-frame {frame}, or give a csv with a "
                "column frame."
            )
        frame = 0
    known = {target + file.base: target for target in file.targets}
    unknown = [k for k in ids if k not in known]
    if unknown:
        raise BoxError(f"{path} has no target with the id {unknown[0]}; it has {_some(known)}.")
    wanted = [known[k] for k in ids] or list(file.targets)
    boxes = {t + file.base: box for t in wanted if (box := file.targets[t].at(frame)) is not None}
    if not boxes:
        if frame == begin and not file.numbered:
            raise BoxError(
                f"The first line of {path} has no box to start from (no numbers, or no area); give four, x,y,w,h."
            )
        seen = [k for t in wanted for k in file.targets[t].frames[is_valid(file.targets[t].boxes)].tolist()]
        if not seen:
            raise BoxError(f"{path} has no box to start from: no row has one with an area.")
        near = min((k for k in seen if k >= frame), default=min(seen))
        raise BoxError(
            f"{path} has no box to start from in frame {frame} (counted from 0); it has boxes for frames {min(seen)} "
            f"to {max(seen)}: try --start-frame {near}."
        )
    left = [k for k in (target + file.base for target in wanted) if k not in boxes]
    told = f"{path}: the targets {_some(left)} have no box in frame {frame} and are not followed." if left else ""
    return boxes, told


def _some(ids: Sequence[int] | dict[int, Boxes] | dict[int, Box] | dict[int, int]) -> str:
    shown = [str(k) for k in ids]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")
