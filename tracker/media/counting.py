"""How many frames a clip has, and whether boxes without frame numbers fit them."""

from __future__ import annotations

from pathlib import Path

from tracker.errors import SourceError


def count_frames(clip: Path, expected: int | None = None) -> int:
    """The frames of a video: its packets, quickly, where they are as many as expected; else counted by decoding.

    Args:
        clip: A video file.
        expected: The number that would surprise nobody.

    Raises:
        SourceError: It can't be decoded.
    """
    import av

    from tracker.media.sources.open import open_source

    try:
        with av.open(str(clip)) as container:
            packets = sum(1 for p in container.demux(container.streams.video[0]) if p.size and not p.is_discard)
    except (av.FFmpegError, OSError, IndexError):
        packets = -1  # the source below says what is wrong
    if packets == expected:
        return packets
    with open_source(str(clip)) as source:
        return sum(1 for _ in source)


def check_rows(boxes: Path, rows: int, clip: Path, frames: int, option: str) -> None:
    """Refuses boxes without frame numbers that are not as many as the frames: nobody can tell which are missing.

    Args:
        boxes: The box file.
        rows: Its rows.
        clip: The clip or folder.
        frames: Its frames.
        option: What the user can do to tell, as half a sentence.

    Raises:
        SourceError: They are not as many.
    """
    if rows == frames:
        return
    if rows > frames:
        raise SourceError(
            f"{clip} ends after {frames} frames, but its boxes are for {rows}: {boxes} must have a line for each frame."
        )
    raise SourceError(
        f"{boxes} has {rows} lines for {frames} frames of {clip}; they must be as many, as its lines name no frame. "
        f"{option}"
    )
