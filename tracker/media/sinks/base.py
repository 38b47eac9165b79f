"""The sink interface, and the check of an output path. Light to import."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from tracker.errors import OutputError
from tracker.files import Growing
from tracker.types import Frame, Track

S = TypeVar("S", bound="Sink")


class Sink(ABC):
    """Takes every frame with its tracks; what was written stays readable even if the process is killed.

    Attributes:
        path: The output.
    """

    path: Path

    _growing: Growing

    @property
    def where(self) -> Path:
        """The file being written: the output, or the temporary one beside it while an old output exists."""
        return self._growing.where

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close(complete=not exc or exc[0] is None)

    @abstractmethod
    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Adds one frame (it may have no track, one or several)."""

    @abstractmethod
    def close(self, complete: bool = True) -> None:
        """Finishes the file; safe to call twice.

        If the run was interrupted (not `complete`), an existing file of an earlier run stays.
        """


def whole(frames: int, where: Path) -> str:
    """The end of an error message: how many complete frames are in which file."""
    if not frames:
        return "nothing was written"
    return f"{frames} frame{'s are' if frames > 1 else ' is'} whole in {where}"


def check_writable(path: str | Path, overwrite: bool = False, source: str | Path | None = None) -> Path:
    """Checks before any work whether a file can be written; nothing is created or changed.

    Args:
        path: The file to write.
        overwrite: Whether an existing file may be replaced.
        source: The input, which is never overwritten.

    Returns:
        The path.

    Raises:
        OutputError: It is a folder, exists, is the input, its folder is missing, or there is no write permission.
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
        if not overwrite and not (out.is_fifo() or out.is_char_device()):  # pipes and devices have no content to lose
            raise OutputError(f"Can't write {out}: it exists already; give another name, or --overwrite to replace it.")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise OutputError(f"Can't write {out}: no permission to write there.")
    return out
