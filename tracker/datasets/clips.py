"""The user's own clips: videos or image folders with a box file each; frames of videos are decoded once and stored as
PNG."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from tracker.datasets.track_readers import images_of
from tracker.datasets.tracks import AnnotatedTrack, BadFiles, DataError, gather
from tracker.errors import BoxError, OutputError, SourceError, reading
from tracker.media.box_files import BOX_SUFFIXES, read_box_file
from tracker.media.containers import VIDEO_SUFFIXES
from tracker.media.sources.open import open_source, video_length

logger = logging.getLogger(__name__)

NAMES_INSIDE = ("groundtruth_rect", "groundtruth", "boxes")
"""Names of the box file in a folder of images."""
DONE = "frames.json"


def read_folder(
    root: Path, names: Sequence[str], exclude: Sequence[str], bad: BadFiles, store: Path, every: int = 1, limit: int = 0
) -> list[AnnotatedTrack]:
    """Clips with a box file each: `a.mp4` + `a.txt`, a folder `b/` of pictures + `b.txt`, or `c/*.jpg` + `c/boxes.txt`.

    Box files: one line x,y,w,h for each frame, 0,0,0,0 or nan where the target is absent; or rows that name their
    frames, as `siamtrack track` writes them (.csv, .jsonl, MOT; several ids are several targets). See docs/boxes.md.

    Args:
        root: The folder, or one clip.
        names, exclude, bad: As in `gather`; names are those of the clips without suffix.
        store: Folder for the decoded frames.
        every: Use every n-th frame.
        limit: Use at most this many frames of a clip; 0: all.

    Raises:
        DataError: There are no clips with boxes.
    """
    if not root.exists():
        raise DataError(f"The folder {root} does not exist; check train.data.material.root and the path of the source.")
    paths = [root] if root.is_file() or find_boxes(root) else sorted(root.iterdir())
    clips = [
        (p, boxes) for p in paths if (p.is_dir() or p.suffix.lower() in VIDEO_SUFFIXES) and (boxes := find_boxes(p))
    ]
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES and not find_boxes(path):
            bad.report(
                DataError(
                    f"The clip {path} has no box file beside it ({path.with_suffix('.txt').name}, one line x,y,w,h a "
                    "frame)."
                )
            )
    if not clips:
        raise DataError(
            f"The folder {root} holds no clip with a box file beside it, such as a.mp4 and a.txt (one line x,y,w,h a "
            "frame)."
        )
    items = ((p.stem, partial(read_clip, p, boxes, store, every, limit)) for p, boxes in clips)
    return gather(items, root, names, exclude, bad)


def find_boxes(clip: Path) -> Path | None:
    """The box file of a clip, or None."""
    beside = [clip.with_suffix(s) if clip.is_file() else clip.with_name(clip.name + s) for s in BOX_SUFFIXES]
    inside = [clip / f"{n}{s}" for n in NAMES_INSIDE for s in BOX_SUFFIXES] if clip.is_dir() else []
    return next((f for f in [*inside, *beside] if f.is_file()), None)


def read_clip(
    clip: Path,
    boxes: Path,
    store: Path,
    every: int = 1,
    limit: int = 0,
    *,
    form: str = "auto",
    first: int | None = None,
) -> list[AnnotatedTrack]:
    """The tracks of one clip: one for each id in its box file; arguments as in `read_folder`.

    Args:
        form: Format of the box file, if its lines fit several (`tracker.media.box_files`).
        first: Frame of its first line, if its lines don't name frames and there isn't one per frame.

    Raises:
        DataError: The clip or its boxes can't be read, there are boxes for frames after its end, or the lines name no
            frame and their number differs from that of the frames.
    """
    try:
        file = read_box_file(boxes, form, first or 0)
    except BoxError as error:
        raise DataError(str(error)) from None
    last = file.span[1] + 1
    if not file.numbered and first is None:
        _check_rows(clip, boxes, last)
    wanted = min(last, limit * every) if limit else last
    frames = frames_of(clip, store, every, -(-wanted // every))
    if len(frames) < -(-wanted // every):
        raise DataError(
            f"The clip {clip} ends before its boxes: {boxes} has {file.lines} lines, up to frame {last - 1} (from 0)."
        )
    tracks = []
    for number, rows in file.targets.items():
        kept = np.nan_to_num(rows.dense(wanted)[::every], nan=0.0)
        name = clip.stem if len(file.targets) == 1 else f"{clip.stem}.{number}"
        tracks.append(AnnotatedTrack(name, frames[: len(kept)], kept, clip=clip.stem))
    return tracks


def _check_rows(clip: Path, boxes: Path, rows: int) -> None:
    option = (
        "Label every frame (0,0,0,0 where the target is absent), name the frames in a csv with the columns "
        "frame,x,y,w,h, or tell the frame of the first line: `siamtrack finetune --first-row-frame 0`."
    )
    try:
        total = len(frames_of(clip, Path())) if clip.is_dir() else video_length(clip, rows)
        if total > rows:  # too few frames are detected when the frames are read
            check_rows(boxes, rows, clip, total, option)
    except SourceError as error:
        raise DataError(str(error)) from None


def frames_of(clip: Path, store: Path, every: int = 1, limit: int = 0) -> tuple[Path, ...]:
    """The frames of a clip as files: the images of a folder unchanged, those of a video decoded once into `store`.

    Args:
        clip: A folder of pictures or a video.
        store: Folder for decoded frames; each clip has a subfolder named after its name, size and modification time.
        every: Use every n-th frame.
        limit: At most so many frames; 0: all.

    Raises:
        DataError: The clip can't be read.
        OutputError: The frames can't be written.
    """
    if clip.is_dir():
        return images_of(clip if not (clip / "img").is_dir() else clip / "img")[::every][: limit or None]
    try:
        facts = clip.stat()
    except OSError as error:
        raise DataError(f"The clip {clip} can't be read: {error.strerror}.") from None
    mark = hashlib.sha256(
        f"{clip.resolve()} {facts.st_size} {facts.st_mtime_ns} {every} {limit} png".encode()
    ).hexdigest()[:10]
    folder = store / f"{clip.stem}-{mark}"
    if not (folder / DONE).is_file():
        _decode(clip, folder, every, limit)
    with reading(
        lambda why: DataError(
            f"The decoded frames in {folder} are damaged ({why}); remove the folder, it is made again."
        )
    ):
        count = int(json.loads((folder / DONE).read_text())["frames"])
    return tuple(folder / f"{k:06d}.png" for k in range(count))


def _decode(clip: Path, folder: Path, every: int, limit: int) -> None:
    """Writes the frames into a temporary folder, which is renamed when they are complete."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    logger.info("decoding %s to %s", clip, folder)
    try:
        part.mkdir(parents=True, exist_ok=True)
        count = 0
        with open_source(clip) as source:
            for k, frame in enumerate(source):
                if limit and count >= limit:
                    break
                if k % every:
                    continue
                # PNG, not JPEG, so that training sees the same pixels as tracking.
                if not cv2.imwrite(str(part / f"{count:06d}.png"), frame.image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                    raise OutputError(f"The frames of {clip} can't be written to {part}; is the disk full?")
                count += 1
        (part / DONE).write_text(json.dumps({"clip": str(clip), "frames": count, "every": every}))
        if not (folder / DONE).is_file():  # another process may have finished first
            part.replace(folder)
    except SourceError as error:
        raise DataError(f"The clip {clip} can't be decoded: {error}") from None
    except OSError as error:
        if not (folder / DONE).is_file():
            raise OutputError(
                f"The frames of {clip} can't be written to {folder}: {error.strerror or error}."
            ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_unlabelled(
    root: Path, names: Sequence[str], exclude: Sequence[str], bad: BadFiles, store: Path, every: int, limit: int
) -> list[Path]:
    """The unlabelled clips of a folder: videos and folders of pictures; those that can't be decoded are bad files.

    Raises:
        DataError: There are none that can be used.
    """
    from fnmatch import fnmatch

    if not root.exists():
        raise DataError(f"The folder {root} does not exist; check train.data.material.root and the path of the source.")
    found = (
        [root]
        if root.is_file()
        else sorted(p for p in root.iterdir() if p.is_dir() or p.suffix.lower() in VIDEO_SUFFIXES)
    )
    found = [
        p for p in found if any(fnmatch(p.stem, n) for n in names) and not any(fnmatch(p.stem, n) for n in exclude)
    ]
    clips = []
    for path in found:
        try:
            frames_of(path, store, every, limit)
            clips.append(path)
        except DataError as error:
            bad.report(error)
    if not clips:
        raise DataError(
            f"The folder {root} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}) and no folder of pictures that "
            "can be used."
        )
    return clips


def check_rows(boxes: Path, rows: int, clip: Path, frames: int, option: str) -> None:
    """Refuses boxes without frame numbers if their number differs from that of the frames: it is unknown which are
    missing.

    Args:
        boxes: The box file.
        rows: Its rows.
        clip: The clip or folder.
        frames: Its frames.
        option: What the user can do about it, as half a sentence.

    Raises:
        SourceError: The numbers differ.
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
