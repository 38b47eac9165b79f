"""Atomic writing of files (the old file stays until the new one is complete), content keys, and "did you mean"
suggestions."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tracker.errors import OutputError, SiamTrackError, shown

MODE = 0o666
"""Access rights of new files before the process's umask is applied, as for `open`."""


@contextlib.contextmanager
def atomic_path(path: str | Path, *, sync: bool = False) -> Iterator[Path]:
    """Context manager: a temporary path whose file replaces `path` if the block ends without an exception; for writers
    that need a path.

    The new file is written beside the old one and renamed, so that a reader, or a crash at any moment, sees either the
    old file or the new one. The temporary name has the same suffix; access rights are those of the old file, or what
    `open` would give. A symbolic link keeps pointing at its file, whose content is replaced; a device or pipe is
    written to once all data is there.

    Args:
        path: The file; missing parent folders are created.
        sync: Whether the bytes are on the disk before the rename (safe against a loss of power, slower).

    Raises:
        OutputError: It can't be written; with the path, the reason and the next step.
    """
    file = Path(path)
    part: Path | None = None
    try:
        real = Path(os.path.realpath(file))
        special = real.exists() and not real.is_file()
        if real.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        folder = Path(tempfile.gettempdir()) if special else real.parent
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{real.stem[:100]}.", suffix=f".part{real.suffix[:100]}")
        os.close(handle)
        part = Path(name)
        yield part
        if special:
            with open(part, "rb") as source, open(real, "wb") as target:
                shutil.copyfileobj(source, target)
            return
        if sync:
            _sync(part)
        os.chmod(part, _access(real))
        os.replace(part, real)
        part = None
        if sync and os.name == "posix":
            _sync(real.parent)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"Can't write {path}: {reason}. Choose a folder that is writable and not full.") from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink()


@contextlib.contextmanager
def atomic(path: str | Path, *, sync: bool = False) -> Iterator[IO[bytes]]:
    """Context manager: a binary file that replaces `path` if the block ends without an exception; otherwise `path`
    stays unchanged.

    Args:
        path, sync: As in `atomic_path`.

    Raises:
        OutputError: As `atomic_path`.
    """
    with atomic_path(path, sync=sync) as part, open(part, "wb") as file:
        yield file


def write_atomic(path: str | Path, data: bytes | str, *, sync: bool = False) -> None:
    """Writes bytes, or text as UTF-8, through `atomic`.

    Raises:
        OutputError: As `atomic`.
    """
    with atomic(path, sync=sync) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def _sync(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Growing:
    """The path of an output that is written incrementally, row by row or frame by frame, and is usable before it is
    complete.

    A new file is written in place. An existing file stays until the new one is complete; the new one is written beside
    it as NAME.part.SUFFIX, and remains there if the run is interrupted.

    Args:
        path: The output. Links are followed; devices and pipes are written as they are.
        resume: Continue what an interrupted run left, under either name.

    Attributes:
        now: The file to write to now.
    """

    def __init__(self, path: str | Path, *, resume: bool = False) -> None:
        self._path, self._real = Path(path), Path(os.path.realpath(path))
        part = self._real.with_name(f"{self._real.stem}.part{self._real.suffix}")
        beside = self._real.is_file() and not (resume and not part.is_file())
        self.special = self._real.exists() and not self._real.is_file()
        self.now = part if beside or (resume and part.is_file()) else self._real

    @property
    def where(self) -> Path:
        """`now`, spelled as the user spelled it if it is the requested file."""
        return self._path if self.now == self._real else self.now

    def finish(self, complete: bool) -> None:
        """Replaces the old file by the new one if it is complete; an incomplete one stays where it is.

        Raises:
            OSError: It can't be renamed.
        """
        if complete and self.now != self._real and self.now.is_file():
            os.chmod(self.now, _access(self._real))
            os.replace(self.now, self._real)
            self.now = self._real

    def discard(self) -> None:
        """Removes a new file that is empty; a device or pipe stays."""
        if not self.special:
            with contextlib.suppress(OSError):
                self.now.unlink()


def _access(path: Path) -> int:
    """The access rights of the file that is replaced, or those of a new one."""
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    # Reading the umask requires setting it, which other threads would see; the mode of a file made by `open` reveals it
    # as well.
    probe = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".mode-", delete=False)
    probe.close()
    os.unlink(probe.name)
    handle = os.open(probe.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE)
    try:
        return os.fstat(handle).st_mode & 0o777
    finally:
        os.close(handle)
        os.unlink(probe.name)


def nearest_word(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word most similar to a mistyped one; "" if none has the least similarity `cutoff` (0 to 1)."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), "")


def suggest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """` Did you mean 'x'?` with the known word most similar to a mistyped one, or an empty string.

    Args:
        word: What was given.
        known: The valid words.
        cutoff: As in `nearest_word`.

    Examples:
        >>> suggest("siamtrack-x", ["siamtrack-s", "siamfc-alexnet"])
        " Did you mean 'siamtrack-s'?"
    """
    near = nearest_word(word, known, cutoff)
    return f" Did you mean {near!r}?" if near else ""


SAMPLE = 4096
"""Bytes per sample of a file."""


def content_of(files: Sequence[str | Path], more: bytes = b"") -> str:
    """A key for the content of files, cheap enough to compute for every picture of a data set: when the content
    changes, so does the key.

    It covers the name, size, modification time and some byte samples of each file, spread over it (more of them for a
    single file such as a video). A missing file counts as missing.

    Args:
        files: In order.
        more: Further values that the key covers, such as boxes.
    """
    key = hashlib.sha256(more)
    samples = 3 if len(files) > 1 else 256
    for path in map(Path, files):
        try:
            facts = path.stat()
            key.update(f"\0{path.name}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode(errors="surrogateescape"))
            with open(path, "rb") as file:
                for k in range(samples):
                    file.seek(
                        (facts.st_size - SAMPLE) * k // max(samples - 1, 1)
                        if facts.st_size > samples * SAMPLE
                        else k * SAMPLE
                    )
                    key.update(file.read(SAMPLE))
        except OSError:
            key.update(f"\0{path.name}\0missing".encode(errors="surrogateescape"))
    return key.hexdigest()[:16]


def as_path(path: Any, error: type[SiamTrackError], what: str) -> Path:
    """A text or path as a Path.

    Args:
        path: What a user gave.
        error: The exception class to raise for anything else.
        what: What the path should name, for the message.
    """
    if not isinstance(path, str | os.PathLike):
        raise error(f"The {what} {shown(path)} is not a path of a file; give a text or a pathlib.Path.")
    return Path(path)


def is_file(path: str | Path) -> bool:
    """Whether a file exists; False also for strings that can't be a file name (too long, or with a null byte)."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def read_text(path: str | Path) -> str:
    """Reads a text file as common programs write them: UTF-8 with or without byte order mark, or UTF-16 with one.

    Raises:
        OSError: It can't be read.
        ValueError: It is in neither encoding; with the reason and the next step.
    """
    data = Path(path).read_bytes()
    if data[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise ValueError("it is UTF-32; save it as UTF-8")
    coding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"it is not a text file in UTF-8 or UTF-16 (line {line}); save it as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(
            f"it is not a text file, or UTF-16 without its byte order mark (line {line}); save it as UTF-8"
        )
    return text
