"""Files of boxes, written frame by frame, valid at any moment.

| format | a frame                                              | origin | a lost target                            |
| ------ | ---------------------------------------------------- | ------ | ---------------------------------------- |
| csv    | frame,timestamp,id,x,y,w,h,score,state (with header) | 0      | x, y, w, h empty, state "lost"           |
| jsonl  | one object per target, keys as in csv, box a list    | 0      | box null, state "lost"                   |
| got10k | x,y,w,h                                              | as is  | 0.000,0.000,0.000,0.000                  |
| otb    | x,y,w,h                                              | as is  | 0,0,0,0                                  |
| vot    | 1 (the first frame), then x,y,w,h                    | as is  | 0                                        |
| mot    | frame,id,x,y,w,h,conf,-1,-1,-1                       | 1      | no line (the convention of MOTChallenge) |

GOT-10k, OTB and VOT demand a line for every frame and have no word for "absent". A box without area says it: it
overlaps nothing, so a lost target is never counted as found, and the file stays numbers only (NaN would poison the
toolkit's means). The first line of the VOT format is its code for "initialised here"; 0 is its code for a frame without
a region. Frames, ids and pixels are counted from 1 in MOT as MOTChallenge defines it; the others keep the numbers of
the tracker, as the got10k toolkit does, so that a result compares with the annotation it was started from.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from tracker.errors import OutputError
from tracker.files import Growing
from tracker.media.sinks.base import Sink, check_writable, whole
from tracker.types import Frame, Track

CSV_HEADER = "frame,timestamp,id,x,y,w,h,score,state"
SYNC_SECONDS = 2.0
"""Interval at which the file is forced to disk: a power failure loses no more than that."""


class BoxSink(Sink):
    """A text file of boxes; the complete lines of a frame are passed to the operating system as soon as it is written.

    The file is created with the first frame. An existing file stays until the new one is complete; see
    `tracker.files.Growing`.

    Args:
        path: The file.
        format: "csv", "jsonl", "got10k", "otb", "vot" or "mot".
        overwrite: Whether an existing file may be replaced.
        resume: Continue the file of an interrupted run: its frames must be written again, are compared, and further
            ones are appended.

    Attributes:
        frames: Number of frames in the file.
        where: The file being written.

    Raises:
        OutputError: The path can't be written; from `write`: the disk is full, several targets in a one-target format,
            or a resumed file holds other rows.
    """

    def __init__(self, path: str | Path, format: str = "csv", overwrite: bool = False, resume: bool = False) -> None:  # noqa: A002
        self.path, self.format, self.frames = check_writable(path, overwrite or resume), format, 0
        self._lines = {"csv": csv_lines, "jsonl": jsonl_lines, "mot": mot_lines}.get(format, self._one_target)
        self._resume, self._handle = resume, -1
        self._old, self._length, self._synced = b"", 0, time.monotonic()
        self._broken = False
        self._growing = Growing(self.path, resume=resume)

    def _open(self) -> None:
        place, beside = self._growing.now, self.where != self.path
        flags = (
            os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            if self._resume
            else os.O_WRONLY | getattr(os, "O_BINARY", 0)
        )
        if not self._resume and not self._growing.special:
            # Without O_TRUNC on the output itself: it must not have been created meanwhile.
            flags |= os.O_CREAT | (os.O_TRUNC if beside else os.O_EXCL)
        self._handle = os.open(place, flags, 0o666)
        if self._resume and not self._growing.special:
            with open(place, "rb") as file:
                old = file.read()
            self._old = old[: old.rfind(b"\n") + 1]  # the last row may be incomplete
        if self.format == "csv":
            self._add((CSV_HEADER + "\n").encode())

    def _add(self, text: bytes) -> None:
        """Writes complete lines or none, or compares them with the file that is resumed."""
        there = self._old[self._length : self._length + len(text)]
        if there == text and there:
            self._length += len(text)
            return
        if self._old and there and not text.startswith(there):
            line = self._old[: self._length].count(b"\n") + 1
            raise OutputError(
                f"{self.where} can't be resumed: its line {line} differs from what is tracked now. Give the same "
                "source, box, model and settings as in the run that was broken off, or --overwrite to begin again."
            )
        if self._resume and not self._growing.special:
            os.ftruncate(self._handle, self._length)
            os.lseek(self._handle, self._length, os.SEEK_SET)
            self._old = b""
        done = 0
        try:
            while done < len(text):
                done += os.write(self._handle, text[done:])
        except OSError:
            if not self._growing.special:  # a partial row is worse than none
                os.ftruncate(self._handle, self._length)
            raise
        self._length += len(text)

    def _one_target(self, frame: Frame, tracks: Sequence[Track]) -> list[str]:
        if len(tracks) > 1:
            raise OutputError(
                f"{self.path}: the format {self.format} holds one target, not {len(tracks)}; use a .csv, a .jsonl, "
                "or the format mot."
            )
        box = tracks[0].box if tracks and tracks[0].visible else None
        if self.format == "vot":
            return ["1"] if self.frames == 0 else ["0" if box is None else ",".join(f"{v:.4f}" for v in box)]
        digits = 3 if self.format == "got10k" else 2
        return [",".join(f"{v:.{digits}f}" for v in box) if box is not None else ",".join([f"{0:.{digits}f}"] * 4)]

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        if self._broken:  # a row after a missing one would belong to another frame
            raise OutputError(f"Writing {self.path} failed before: no frame can be added.")
        text = "".join(line + "\n" for line in self._lines(frame, tracks)).encode()
        try:
            if self._handle < 0:
                self._open()
            if text:
                self._add(text)
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self._sync()
        except FileExistsError:
            raise OutputError(
                f"Can't write {self.path}: it has come to exist since; give another name, or --overwrite."
            ) from None
        except (OSError, ValueError) as error:
            raise self._failed(error) from None
        self.frames += 1

    def _failed(self, error: Exception) -> OutputError:
        """The error, saying what is complete in the file; a file without any frame is removed."""
        self._broken = True
        if self._handle >= 0 and not self.frames and not self._resume:
            self._growing.discard()
        reason = getattr(error, "strerror", None) or error
        return OutputError(f"Writing {self.path} failed: {reason}; {whole(self.frames, self.where)}.")

    def _sync(self) -> None:
        self._synced = time.monotonic()
        if not self._growing.special:  # pipes and devices can't be synced
            os.fsync(self._handle)

    def close(self, complete: bool = True) -> None:
        handle, self._handle = self._handle, -1
        if handle < 0:
            return
        try:
            if not self._growing.special:
                os.fsync(handle)
            os.close(handle)
            self._growing.finish(complete)
        except OSError as error:
            raise self._failed(error) from None


def csv_lines(frame: Frame, tracks: Sequence[Track]) -> list[str]:
    """A row per target: frame,timestamp,id,x,y,w,h,score,state."""
    stamp = "" if frame.timestamp is None else f"{frame.timestamp:.6f}"
    return [
        f"{frame.index},{stamp},{t.target_id},{','.join(f'{v:.3f}' for v in t.box) if t.visible else ',,,'},"
        f"{t.score:.4f},{t.state.value}"
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
        f"{frame.index + 1},{t.target_id + 1},{t.box[0] + 1:.3f},{t.box[1] + 1:.3f},{t.box[2]:.3f},{t.box[3]:.3f},"
        f"{t.score:.4f},-1,-1,-1"
        for t in tracks
        if t.visible
    ]
