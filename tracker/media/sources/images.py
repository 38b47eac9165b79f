"""Numbered images as a video: folders, globs and printf patterns."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from tracker.errors import ImageError, SourceError
from tracker.media.addresses import PRINTF
from tracker.media.damage import is_animated
from tracker.media.images import IMAGE_SUFFIXES, read_image
from tracker.media.sources.base import Source
from tracker.types import Frame, VideoInfo

logger = logging.getLogger(__name__)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A sort key that puts frame_2 before frame_10 (digits are compared as numbers)."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", name) if part
    ]


HEIF = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
"""Brands of HEIF still images (ISO/IEC 23008-12), which consist of tiles: FFmpeg would show one of them as a video."""

PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
"""First bytes of JPEG, PNG and TIFF files."""

SEQUENCE = frozenset({".mjpg", ".mjpeg"})
"""Suffixes of files that contain concatenated JPEGs."""


def is_picture(path: Path) -> bool:
    """Whether a file is one still image, by its name or else by its first bytes; an animation is a video.

    Raises:
        SourceError: It can't be read, or is in an unsupported image format (HEIF).
    """
    if not path.is_file():  # a pipe or a device can't be read twice
        return False
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise SourceError(f"Can't open {path}: {error.strerror or error}.") from None
    if head[4:8] == b"ftyp" and head[8:12] in HEIF:
        raise SourceError(
            f"Can't open {path}: it is a HEIF picture, which isn't decoded here; convert it to JPEG or PNG."
        )
    if is_animated(head):
        if head.startswith(b"RIFF"):
            raise SourceError(
                f"Can't open {path}: it is an animated WebP, which isn't decoded here; convert it to MP4, PNG or GIF."
            )
        return False
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    if head.startswith(PICTURES[0]) and b"\xff\xd9\xff\xd8\xff" in path.read_bytes():  # concatenated JPEGs
        return False
    return path.suffix.lower() not in SEQUENCE and (
        head.startswith(PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    )


def list_folder(folder: Path) -> list[Path]:
    """The images in a folder, in natural order.

    Raises:
        SourceError: It can't be listed, is empty, or contains no images.
    """
    try:
        entries = [p for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"Can't open the folder {folder}: {error.strerror or error}.") from None
    images = [p for p in entries if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if images:
        return sorted(images, key=lambda p: natural_key(p.name))
    if not entries:
        raise SourceError(f"The folder {folder} is empty; give one that holds images.")
    inner = [
        p
        for p in sorted(entries)
        if p.is_dir() and any(glob.glob(f"{glob.escape(str(p))}/*{suffix}") for suffix in IMAGE_SUFFIXES)
    ]
    hint = f"; its subfolder has some, try {inner[0]}" if inner else f"; looked for {', '.join(sorted(IMAGE_SUFFIXES))}"
    raise SourceError(f"The folder {folder} holds no images{hint}.")


def list_tree(folder: Path) -> list[Path]:
    """The images in a folder and in its subfolders, sorted; none if it has none."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def list_glob(pattern: Path) -> list[Path]:
    """The images that match a glob such as dir/*.png, in natural order of their whole path.

    Raises:
        SourceError: Nothing matches, or no image does.
    """
    found = [Path(p) for p in glob.glob(str(pattern), recursive=True)]
    images = [p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if not images:
        what = f"only other files, for example {found[0].name}" if found else "nothing matches"
        raise SourceError(f"The pattern {pattern} names no images: {what}.")
    return sorted(images, key=lambda p: natural_key(str(p)))


def list_printf(pattern: Path) -> list[Path]:
    """The images that match a pattern such as dir/img_%04d.jpg, by number; gaps are skipped and logged.

    Raises:
        SourceError: No file has such a name.
    """
    mark = PRINTF.search(pattern.name)
    if mark is None:
        raise SourceError(f"The pattern {pattern} has no number in its file name; write it as img_%04d.jpg.")
    width = int(mark.group().strip("%d") or 0) if mark.group().startswith("%0") else 0
    digits = rf"(\d{{{width},}})" if width else r"(\d+)"
    rule = re.compile(re.escape(pattern.name[: mark.start()]) + digits + re.escape(pattern.name[mark.end() :]) + r"\Z")
    names = sorted(p.name for p in pattern.parent.iterdir()) if pattern.parent.is_dir() else []
    # A number with more digits than the pattern is fine (%04d gives 12345); one padded to more digits than the pattern
    # is a different file.
    matches = {
        int(m.group(1)): name
        for name in names
        if (m := rule.match(name)) and not (len(m[1]) > max(width, 1) and m[1][0] == "0")
    }
    if not matches:
        raise SourceError(
            f"The pattern {pattern} matches no file in "
            f"{pattern.parent}{'' if names else ', which is empty or missing'}."
        )
    numbers = sorted(matches)
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing:
        logger.warning(
            "%s: %d numbers between %d and %d have no file; they are left out.",
            pattern,
            missing,
            numbers[0],
            numbers[-1],
        )
    return [pattern.parent / matches[n] for n in numbers]


class ImagesSource(Source):
    """Image files as frames; each is read on demand.

    Args:
        paths: The files, in order.
        spec: The user's argument, for error messages.
        start: Index of the first file to deliver.

    Raises:
        SourceError: The first file can't be read, or there is no index `start`.
    """

    def __init__(self, paths: Sequence[Path], spec: str, start: int = 0) -> None:
        if start >= len(paths):
            raise SourceError(
                f"{spec} has {len(paths)} images: there is no frame {start}; the last is {len(paths) - 1}."
            )
        self._paths, self._next, self._first = list(paths), start, start
        try:
            self._held: Frame | None = self._read(start)
        except ImageError as error:
            raise SourceError(f"Can't open {spec}: {error}") from None
        height, width = self._held.image.shape[:2]
        self.info = VideoInfo(source=spec, width=width, height=height, frame_count=len(paths))

    def _read(self, index: int) -> Frame:
        return Frame(read_image(self._paths[index]), index, None, self._paths[index].name)

    def __next__(self) -> Frame:
        if self._next >= len(self._paths):
            raise StopIteration
        frame, self._held = self._held, None
        if frame is None:
            try:
                frame = self._read(self._next)
            except ImageError as error:
                done = self._next - self._first
                self._next = len(self._paths)
                raise SourceError(
                    f"{self.info.source} failed at frame {self._first + done}, after {done} were delivered. {error}"
                ) from None
        self._next += 1
        return frame

    def close(self) -> None:
        self._next, self._held = len(self._paths), None
