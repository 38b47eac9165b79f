"""Boxes as text, one frame after the other, valid at any moment.

| format | a frame                                              | origin | a lost target                                          |
|--------|------------------------------------------------------|--------|--------------------------------------------------------|
| csv    | frame,timestamp,id,x,y,w,h,score,state (with header) | 0      | x, y, w, h empty, state "lost"                         |
| jsonl  | one object per target, keys as in csv, box a list    | 0      | box null, state "lost"                                 |
| got10k | x,y,w,h                                              | as is  | 0.000,0.000,0.000,0.000                                |
| otb    | x,y,w,h                                              | as is  | 0,0,0,0                                                |
| vot    | 1 (the first frame), then x,y,w,h                    | as is  | 0                                                      |
| mot    | frame,id,x,y,w,h,conf,-1,-1,-1                       | 1      | no line (the convention of MOTChallenge)               |

GOT-10k, OTB and VOT demand a line for every frame and have no word for "absent". A box without area says it: it overlaps
nothing, so a lost target is never counted as found, and the file stays numbers only (NaN would poison the toolkit's means).
The first line of the VOT format is its code for "initialised here"; 0 is its code for a frame without a region.
Frames, ids and pixels are counted from 1 in MOT as MOTChallenge defines it; the others keep the numbers of the tracker, as
the got10k toolkit does, so that a result compares with the annotation it was started from.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from tracker.errors import OutputError
from tracker.media.sinks import SinkBase, check_writable
from tracker.types import Frame, Track

CSV_HEADER = "frame,timestamp,id,x,y,w,h,score,state"
SYNC_SECONDS = 2.0
"""How often the file is forced to the disk, so that a power cut loses no more than that."""


class BoxSink(SinkBase):
    """A text file of boxes; every frame is handed to the system as whole lines as soon as it is written.

    Args:
        path: The file.
        format: "csv", "jsonl", "got10k", "otb", "vot" or "mot".
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputError: The path can't be written; from `write`: the disk is full, or several targets in a one-target format.
    """

    def __init__(self, path: str | Path, format: str = "csv", overwrite: bool = False) -> None:  # noqa: A002
        self.path, self.format, self.frames = check_writable(path, overwrite), format, 0
        self._lines = {"csv": csv_lines, "jsonl": jsonl_lines, "mot": mot_lines}.get(format, self._one_target)
        try:
            # Append mode: each frame is one write at the end, whatever else happens. "x": it must not have come to exist since.
            if overwrite and self.path.exists():
                self.path.write_bytes(b"")
            self._file = open(self.path, "ab" if overwrite else "xb")
            if format == "csv":
                self._file.write(CSV_HEADER.encode() + b"\n")
                self._file.flush()
        except OSError as error:
            raise OutputError(f"Can't write {self.path}: {error.strerror or error}.") from None
        self._synced = time.monotonic()

    def _one_target(self, frame: Frame, tracks: Sequence[Track]) -> list[str]:
        if len(tracks) > 1:
            raise OutputError(
                f"{self.path}: the format {self.format} holds one target, not {len(tracks)}; use a .csv, a .jsonl, or the format mot."
            )
        box = tracks[0].box if tracks and tracks[0].visible else None
        if self.format == "vot":
            return ["1"] if self.frames == 0 else ["0" if box is None else ",".join(f"{v:.4f}" for v in box)]
        digits = 3 if self.format == "got10k" else 2
        return [",".join(f"{v:.{digits}f}" for v in box) if box is not None else ",".join([f"{0:.{digits}f}"] * 4)]

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        text = "".join(line + "\n" for line in self._lines(frame, tracks))
        try:
            self._file.write(text.encode())
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self._sync()
        except (OSError, ValueError) as error:
            raise OutputError(
                f"Writing {self.path} failed after {self.frames} frames: {getattr(error, 'strerror', None) or error}."
            ) from None
        self.frames += 1

    def _sync(self) -> None:
        self._synced = time.monotonic()
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):  # pipes and devices can't be synced
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._sync()
                self._file.close()
            except OSError as error:
                raise OutputError(f"Writing {self.path} failed after {self.frames} frames: {error.strerror or error}.") from None


def csv_lines(frame: Frame, tracks: Sequence[Track]) -> list[str]:
    """A row per target: frame,timestamp,id,x,y,w,h,score,state."""
    stamp = "" if frame.timestamp is None else f"{frame.timestamp:.6f}"
    return [
        f"{frame.index},{stamp},{t.target_id},{','.join(f'{v:.3f}' for v in t.box) if t.visible else ',,,'},{t.score:.4f},{t.state.value}"
        for t in tracks
    ]


def jsonl_lines(frame: Frame, tracks: Sequence[Track]) -> list[str]:
    """A JSON object per target."""
    return [
        json.dumps(
            {
                "frame": frame.index,
                "timestamp": None if frame.timestamp is None else round(frame.timestamp, 6),
                "id": t.target_id,
                "box": [round(float(v), 3) for v in t.box] if t.visible else None,
                "score": round(float(t.score), 4),
                "state": t.state.value,
            },
            allow_nan=False,
        )
        for t in tracks
    ]


def mot_lines(frame: Frame, tracks: Sequence[Track]) -> list[str]:
    """A MOTChallenge row per visible target; frame, id and pixels from 1."""
    return [
        f"{frame.index + 1},{t.target_id + 1},{t.box[0] + 1:.3f},{t.box[1] + 1:.3f},{t.box[2]:.3f},{t.box[3]:.3f},{t.score:.4f},-1,-1,-1"
        for t in tracks
        if t.visible
    ]
