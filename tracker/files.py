"""Writing files so that what was there stays until the new one is whole; and the nearest known word to a mistyped
one."""

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
"""Access rights of new files before the process's umask takes its part, as with `open`."""


@contextlib.contextmanager
def atomic_path(path: str | Path, *, sync: bool = False) -> Iterator[Path]:
    """The path of a new file that takes the place of `path` when the block ends without an exception; for writers that
    want a path.

    The new file is written beside the old one and renamed, so that a reader, or a kill at any moment, sees the old file
    or the new one and nothing between. It ends in the same suffix; its access rights are those of the old file, or what
    `open` would give. A link keeps pointing at its file, whose content is replaced; a device or pipe is written to when
    all is there.

    Args:
        path: The file; missing folders above it are made.
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
    """A binary file that takes the place of `path` when the block ends without an exception; else `path` stays as it
    was.

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
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Growing:
    """Where an output is written that grows row by row or frame by frame, and is of use before it is complete.

    A new file is written in its own place. Where there is a file already, it stays until the new one is complete; that
    one grows beside it as NAME.part.SUFFIX, which is left there if the work is broken off.

    Args:
        path: The output. Links are followed; devices and pipes are written as they are.
        resume: Go on with what a broken-off run left, under either name.

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
        """`now`, by the name that the user gave where it is that file."""
        return self._path if self.now == self._real else self.now

    def finish(self, complete: bool) -> None:
        """Puts a complete file in the place of the old one; one that isn't stays where it is.

        Raises:
            OSError: It can't be renamed.
        """
        if complete and self.now != self._real and self.now.is_file():
            os.chmod(self.now, _access(self._real))
            os.replace(self.now, self._real)
            self.now = self._real

    def discard(self) -> None:
        """Removes a new file that holds nothing; a device or pipe stays."""
        if not self.special:
            with contextlib.suppress(OSError):
                self.now.unlink()


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

    Examples:
        >>> suggest("siamtrack-x", ["siamtrack-s", "siamfc-alexnet"])
        " Did you mean 'siamtrack-s'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""


SAMPLE = 4096
"""Bytes of a sample of a file."""


def content_of(files: Sequence[str | Path], more: bytes = b"") -> str:
    """A key of what files hold, cheap enough for every picture of a data set: another content gives another key.

    Of each file counts its name, size, time of change and some samples of its bytes, spread over it (a file on its own,
    such as a video, gives more of them). A missing one counts as missing.

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


def read_text(path: str | Path) -> str:
    """A text file as people's programs write them: UTF-8 with or without byte order mark, or UTF-16 with one.

    Raises:
        OSError: It can't be read.
        ValueError: It is no such text; with the reason and the next step.
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
