"""The file of a project: an append-only log of JSON objects, one per line, synced to disk before a change is
confirmed."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracker.annotate.clip import AnnotationError

logger = logging.getLogger(__name__)

HEADER = {"project": "siamtrack annotate", "version": 1}
Record = dict[str, Any]


class Journal:
    """An append-only file of records, held by one process at a time.

    A line is written with one call and synced; if the machine stops during that, the line is the last one and is
    incomplete. It was never confirmed to anybody: it is removed when the file is opened again, and that is logged.

    Args:
        path: The file; created if it doesn't exist.

    Raises:
        AnnotationError: Not a project, damaged in the middle, of a later version, held by another process, or not
            writable.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise AnnotationError(
                f"Can't open the project {self.path}: {error.strerror}; choose a file in a folder that is writable."
            ) from None
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AnnotationError(
                    f"The project {self.path} is open in another program; close that one, or open its page in a "
                    "second browser instead."
                ) from None
            self.records = list(self._read())
            if not self.records:
                self.append(HEADER)
        except BaseException:
            os.close(self._file)
            self._file = -1
            raise

    def _read(self) -> Iterator[Record]:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].split(b"\n")[:-1]
        if lines and _parse(lines[-1]) is None:  # a newline written into the gap that a lost block left
            whole -= len(lines.pop()) + 1
        for number, line in enumerate(lines, 1):
            record = _parse(line)
            if record is None:
                raise AnnotationError(
                    f"The project {self.path} is damaged in line {number}, which isn't its last; mend or remove that "
                    "line in a text editor."
                )
            if number == 1:
                _check_header(self.path, record)
            yield record
        if whole < len(data):
            if not lines and not data.lstrip().startswith(b'{"project"'):
                raise AnnotationError(
                    f"{self.path} isn't a project of siamtrack annotate; give another file, it is left as it is."
                )
            logger.warning(
                "%s: its last line is incomplete (%d bytes) and is left out; all before it is whole.",
                self.path,
                len(data) - whole,
            )
            os.ftruncate(self._file, whole)
            os.fsync(self._file)

    def append(self, record: Record) -> None:
        """Appends a line; when this returns it is on disk.

        Raises:
            AnnotationError: The disk is full, or the file was closed.
        """
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"
        try:
            end = os.fstat(self._file).st_size
            written = os.write(self._file, line)
            if written < len(line):
                os.ftruncate(self._file, end)
                raise OSError(28, "the disk is full")
            os.fsync(self._file)
        except OSError as error:
            raise AnnotationError(
                f"Can't write to the project {self.path}: {error.strerror}; what was saved before is whole."
            ) from None

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _parse(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _check_header(path: Path, record: Record) -> None:
    if record.get("project") != HEADER["project"]:
        raise AnnotationError(
            f"{path} isn't a project of siamtrack annotate (its first line says something else); give another file."
        )
    if record.get("version") != HEADER["version"]:
        raise AnnotationError(
            f"The project {path} was written by a later version of siamtrack (format {record.get('version')}); "
            "update siamtrack to open it."
        )
