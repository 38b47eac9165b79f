"""Writing files so that what was there stays until the new one is whole; and the nearest known word to a mistyped one."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tracker.errors import OutputError, SiamTrackError, shown

MODE = 0o666
"""Access rights of new files before the process's umask takes its part, as with `open`."""


@contextlib.contextmanager
def atomic(path: str | Path, *, sync: bool = False) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends without an exception; else `path` stays as it was.

    The new file is written beside the old one and renamed, so that a reader, or a kill at any moment, sees the old file or
    the new one and nothing between. Its access rights are those of the old file, or what `open` would give.

    Args:
        path: The file; missing folders above it are made.
        sync: Whether the bytes are on the disk before the rename (safe against a loss of power, slower).

    Raises:
        OutputError: It can't be written; with the path, the reason and the next step.
    """
    path = Path(path)
    part: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.chmod(part, _access(path))
        os.replace(part, path)
        part = None
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"Can't write {path}: {reason}. Choose a folder that is writable and not full.") from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)


def write_atomic(path: str | Path, data: bytes | str, *, sync: bool = False) -> None:
    """Writes bytes, or text as UTF-8, through `atomic`.

    Raises:
        OutputError: As `atomic`.
    """
    with atomic(path, sync=sync) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def _access(path: Path) -> int:
    """The access rights of the file that is replaced, or those of a new one."""
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    # The umask can only be read by setting it, which other threads would see; a file made by `open` tells it too.
    probe = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".mode-", delete=False)
    probe.close()
    os.unlink(probe.name)
    handle = os.open(probe.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE)
    try:
        return os.fstat(handle).st_mode & 0o777
    finally:
        os.close(handle)
        os.unlink(probe.name)


def suggest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """` Did you mean 'x'?` for the known word nearest to a mistyped one, or an empty text.

    Args:
        word: What was given.
        known: What there is.
        cutoff: Least likeness, 0 to 1 (`difflib.get_close_matches`).

    Example:
        >>> suggest("siamtrack-x", ["siamtrack-s", "siamfc-alexnet"])
        " Did you mean 'siamtrack-s'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""


SAMPLE = 4096
"""Bytes of a sample of a file."""


def content_of(files: Sequence[str | Path], more: bytes = b"") -> str:
    """A key of what files hold, cheap enough for every picture of a data set: another content gives another key.

    Of each file counts its name, size, time of change and some samples of its bytes, spread over it (a file on its own, such as a
    video, gives more of them). A missing one counts as missing.

    Args:
        files: In order.
        more: What else counts, such as boxes.
    """
    key = hashlib.sha256(more)
    samples = 3 if len(files) > 1 else 256
    for path in map(Path, files):
        try:
            facts = path.stat()
            key.update(f"\0{path.name}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode(errors="surrogateescape"))
            with open(path, "rb") as file:
                for k in range(samples):
                    file.seek((facts.st_size - SAMPLE) * k // max(samples - 1, 1) if facts.st_size > samples * SAMPLE else k * SAMPLE)
                    key.update(file.read(SAMPLE))
        except OSError:
            key.update(f"\0{path.name}\0missing".encode(errors="surrogateescape"))
    return key.hexdigest()[:16]


def as_path(path: Any, error: type[SiamTrackError], what: str) -> Path:
    """A text or path as a Path.

    Args:
        path: What a user gave.
        error: What is raised where it is neither.
        what: What it should name, for the sentence.
    """
    if not isinstance(path, str | os.PathLike):
        raise error(f"The {what} {shown(path)} is no path of a file; give a text or a pathlib.Path.")
    return Path(path)


def is_file(path: str | Path) -> bool:
    """Whether a file is there; False too for what can be no file's name (too long, with a zero byte)."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False
