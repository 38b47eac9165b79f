"""Interpretation of a source argument: a camera, a URL, or a path on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from tracker.errors import SourceError
from tracker.files import nearest_word

URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
FILE_URL = re.compile(r"^file:(?=/)", re.IGNORECASE)
CAMERA = re.compile(r"^(?:/dev/video)?([0-9]+)$")
PRINTF = re.compile(r"%0?\d*d")

Kind = Literal["camera", "url", "path"]


def parse(spec: object) -> tuple[Kind, str]:
    """Classifies the source argument.

    Args:
        spec: As for `open_source`.

    Returns:
        ("camera", its number), ("url", the address), or ("path", a file, folder, glob or printf pattern). A file name
        is taken literally, including blanks at its ends, if such a file exists. `file:` addresses become paths: %20 is
        a blank, localhost is this machine.

    Raises:
        SourceError: It is none of these.
    """
    if isinstance(spec, os.PathLike):
        return "path", os.fsdecode(os.fspath(spec))
    if isinstance(spec, int) and not isinstance(spec, bool):
        if spec < 0:
            raise SourceError(f"There is no camera {spec}; cameras are counted from 0.")
        return "camera", str(spec)
    if not isinstance(spec, str):
        raise SourceError(
            f"The source {spec!r} is a {type(spec).__name__}; give a path, a URL or the number of a camera."
        )
    text = spec.strip()
    if not text:
        raise SourceError("The source is empty; give a path, a URL or the number of a camera.")
    if camera := CAMERA.match(text):
        return "camera", camera.group(1)
    if FILE_URL.match(text):
        return "path", _path_of_url(text)
    if URL.match(text):
        return "url", text
    return "path", spec if exists(Path(spec)) else text


def _path_of_url(text: str) -> str:
    """The path in a `file:` address (RFC 8089), also if its special characters were not percent-encoded."""
    rest = text[len("file:") :]
    if rest.startswith("//"):
        rest = rest[2:]
        host, slash, path = rest.partition("/")
        if slash and host.lower() in ("localhost", "127.0.0.1"):
            rest = "/" + path
    quoted, plain = unquote(rest, errors="surrogateescape"), rest
    if os.name == "nt":
        quoted, plain = quoted.lstrip("/"), plain.lstrip("/")
    found = next((name for name in (quoted, plain) if exists(Path(name))), None)
    if found is None and rest and not rest.startswith("/"):
        host = rest.partition("/")[0]
        raise SourceError(
            f"Can't open {text}: it names a file of the machine {host!r}; file addresses of this one begin with "
            "file:///."
        )
    return found or quoted


def exists(path: Path) -> bool:
    """Whether a path exists; False for strings that can't be a path.

    Raises:
        SourceError: A folder on the way is not accessible.
    """
    try:
        return path.exists()
    except PermissionError as error:
        raise SourceError(f"Can't open {path}: {error.strerror}; check its owner and mode.") from None
    except (OSError, ValueError):  # a name that is too long, or that contains a null byte
        return False


def local(text: str) -> Path:
    """A path with ~ replaced by the home folder, unless a file has that name."""
    path = Path(text)
    if text.startswith("~") and not exists(path):
        try:
            return path.expanduser()
        except RuntimeError:  # no such user
            return path
    return path


def check_there(spec: object) -> None:
    """Checks that the file or folder of a source exists; cameras, URLs and patterns are not checked.

    Raises:
        SourceError: It doesn't; with the most similar existing name.
    """
    kind, text = parse(spec)
    if kind == "path":
        check_path(text)


def check_path(text: str) -> None:
    """Checks that a path exists or can be a pattern.

    Raises:
        SourceError: Neither; with the most similar existing name.
    """
    path = local(text)
    if is_pattern(text) or exists(path):
        return
    if exists(path.parent) and path.parent.is_dir():
        missing = f"there is no such file or folder (the folder {path.parent} has no {path.name})"
        raise SourceError(f"Can't open {text}: {missing}.{nearest(path)}")
    raise SourceError(f"Can't open {text}: there is no such file or folder (the folder {path.parent} does not exist).")


def is_pattern(text: str) -> bool:
    """Whether a text is a glob or a printf pattern."""
    return bool(PRINTF.search(text)) or any(mark in text for mark in "*?[")


def nearest(path: Path) -> str:
    """ " Did you mean PATH?" with the most similar name in the folder of a missing path; "" if none is similar."""
    if not path.parent.is_dir():
        return ""
    near = nearest_word(path.name, (p.name for p in path.parent.iterdir()), 0.7)
    return f" Did you mean {path.with_name(near)}?" if near else ""
