"""Where tracks go: the protocol of a sink, the check of its path, and the choice by file name. Light to import."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from tracker.errors import OutputError
from tracker.types import Frame, Track

S = TypeVar("S")

TEXT_FORMATS = ("got10k", "mot", "otb", "vot")
"""What a .txt of boxes may hold; the first is the default."""

BOX_FORMATS = ("csv", "jsonl", *TEXT_FORMATS)
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")


@runtime_checkable
class Sink(Protocol):
    """Takes every frame with its tracks; what was written stays readable if the program is stopped, however hard."""

    @property
    def path(self) -> Path:
        """The output."""
        ...

    @property
    def where(self) -> Path:
        """The file that holds it now: the output, or, while an old one is there, one beside it."""
        ...

    def __enter__(self: S) -> S: ...

    def __exit__(self, *exc: object) -> None: ...

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Add one frame (its tracks may be none, one or several)."""
        ...

    def close(self, complete: bool = True) -> None:
        """Finish the file; safe to call twice. Where the work was broken off (not complete) a file of an earlier run stays."""
        ...


class SinkBase:
    """Context manager, for the sinks to inherit."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close(complete=not exc or exc[0] is None)

    def close(self, complete: bool = True) -> None:
        """Nothing to finish unless a subclass says so."""


def check_writable(path: str | Path, overwrite: bool = False, source: str | Path | None = None) -> Path:
    """Find out before any work whether a file can be written; nothing is created or changed.

    Args:
        path: The file to write.
        overwrite: Whether an existing file may be replaced.
        source: The input, which is never overwritten.

    Returns:
        The path.

    Raises:
        OutputError: It is a folder, exists, is the input, its folder is missing, or writing isn't allowed.
    """
    out = Path(path).expanduser()
    if not str(path).strip():
        raise OutputError("The output path is empty; give a file name.")
    if out.is_dir():
        raise OutputError(f"Can't write {out}: it is a folder; give a file name in it.")
    if not out.parent.is_dir():
        raise OutputError(f"Can't write {out}: the folder {out.parent} does not exist; create it first.")
    if out.exists():
        if source is not None and Path(source).exists() and out.samefile(source):
            raise OutputError(f"Can't write {out}: it is the input itself; give another name.")
        if not overwrite:
            raise OutputError(f"Can't write {out}: it exists already; give another name, or --overwrite to replace it.")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise OutputError(f"Can't write {out}: no permission to write there.")
    return out


def box_format(path: str | Path, format: str | None = None) -> str:  # noqa: A002
    """The format in which boxes are written to a file: by its name, or as asked for.

    Raises:
        OutputError: A name or format that isn't known, or the two disagree.
    """
    suffix = Path(path).suffix.lower()
    if format is not None and format not in BOX_FORMATS:
        raise OutputError(f"The box format {format!r} is not known; it is one of {', '.join(BOX_FORMATS)}.")
    if suffix in (".csv", ".jsonl"):
        if format not in (None, suffix[1:]):
            raise OutputError(
                f"{path} ends in {suffix} but the format asked for is {format}; give it a name ending in .txt."
            )
        return suffix[1:]
    if suffix != ".txt":
        raise OutputError(
            f"Can't tell the format of {path}: boxes go to .csv, .jsonl or .txt ({', '.join(TEXT_FORMATS)})."
        )
    if format in ("csv", "jsonl"):
        raise OutputError(
            f"{path} ends in .txt but the format asked for is {format}; give it a name ending in .{format}."
        )
    return format or TEXT_FORMATS[0]


def open_boxes_sink(path: str | Path, format: str | None = None, overwrite: bool = False, resume: bool = False) -> Sink:  # noqa: A002
    """A file of boxes: .csv, .jsonl, or .txt in one of the formats got10k (default), mot, otb, vot.

    The formats and what each writes for a lost target are described in `tracker.media.sinks.boxes`.

    Raises:
        OutputError: The path can't be written, or its format isn't known.
    """
    from tracker.media.sinks.boxes import BoxSink

    return BoxSink(path, box_format(path, format), overwrite, resume)


def check_video_name(path: str | Path) -> Path:
    """The path of a video to write, if its ending is one that the video sink knows.

    Raises:
        OutputError: Another ending.
    """
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise OutputError(
            f"Can't write a video to {path}: its name must end in {', '.join(VIDEO_SUFFIXES[:-1])} or {VIDEO_SUFFIXES[-1]}."
        )
    return Path(path).expanduser()
