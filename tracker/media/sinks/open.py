"""The sink for a file name: its format, and whether it can store the tracks. Light to import."""

from __future__ import annotations

from pathlib import Path

from tracker.errors import OutputError
from tracker.media.sinks.base import Sink
from tracker.media.sinks.boxes import BoxSink

TEXT_FORMATS = ("got10k", "mot", "otb", "vot")
"""Formats of a .txt of boxes; the first is the default."""

BOX_FORMATS = ("csv", "jsonl", *TEXT_FORMATS)
WRITABLE_VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".gif")


def box_format(path: str | Path, format: str | None = None) -> str:  # noqa: A002
    """The format of a file of boxes: from its name, or as requested.

    Raises:
        OutputError: Unknown name or format, or the two contradict each other.
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
    """Opens a file of boxes: .csv, .jsonl, or .txt in one of the formats got10k (default), mot, otb, vot.

    The formats and what each writes for a lost target are described in `tracker.media.sinks.boxes`.

    Raises:
        OutputError: The path can't be written, or its format isn't known.
    """
    return BoxSink(path, box_format(path, format), overwrite, resume)


def check_video_name(path: str | Path) -> Path:
    """The path of a video to write, if the video sink supports its suffix.

    Raises:
        OutputError: It doesn't.
    """
    if Path(path).suffix.lower() not in WRITABLE_VIDEOS:
        raise OutputError(
            f"Can't write a video to {path}: its name must end in {', '.join(WRITABLE_VIDEOS[:-1])} or "
            f"{WRITABLE_VIDEOS[-1]}."
        )
    return Path(path).expanduser()
