"""`annotate`: key boxes in, boxes of all frames out, without the browser page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.annotate.boxes_csv import KeyBox
from tracker.annotate.clip import AnnotatedTarget, AnnotationError, Clip
from tracker.annotate.frames import ClipFrames, open_frames
from tracker.annotate.project import Project
from tracker.annotate.retrack import Follower
from tracker.annotate.stretches import stretches
from tracker.annotate.worker import RetrackProgress, RetrackWorker
from tracker.files import suggest
from tracker.geometry import Boxes
from tracker.tracking.tracker import SiamTracker


def annotate(
    source: str | Path,
    keys: Mapping[str, Mapping[int, ArrayLike | None]] | Mapping[int, ArrayLike | None],
    *,
    project: str | Path | None = None,
    tracker: Follower | None = None,
    model: str | Path = "siamtrack-s",
    device: str = "auto",
    engine: str = "auto",
    on_step: Callable[[RetrackProgress], None] | None = None,
) -> Clip:
    """Boxes of all frames from a few that a person drew: tracked forward and backward between them, and joined.

    Args:
        source: A video file, a folder of images, a glob or a pattern.
        keys: frame -> xywh box (or None: absent from there to the next key box) of one target, or name -> such a
            mapping for several. A name `car:vehicle` gives the class after the colon.
        project: A project file to write, which the page can continue; without it nothing is written.
        tracker: A tracker to use; without it one is built from the next three arguments.
        model, device, engine: As for `SiamTracker.from_pretrained`.
        on_step: Called after each frame.

    Returns:
        The clip with its targets; see `AnnotatedTarget.boxes`, and `tracker.annotate.formats.write` to export it.

    Raises:
        SourceError, BoxError, AnnotationError: With the value, the reason and the next step.

    Examples:
        >>> clip = annotate("clip.mp4", {0: (100, 80, 40, 30), 250: (320, 90, 44, 30)})  # doctest: +SKIP
        >>> clip.targets[0].boxes.shape  # doctest: +SKIP
        (300, 4)
    """
    one = not keys or any(isinstance(key, int) for key in keys)
    named: dict[str, Any] = {"object": keys} if one else {str(name): boxes for name, boxes in keys.items()}
    frames = open_frames(source)
    with tempfile.TemporaryDirectory() as folder, Project(project or Path(folder) / "project.jsonl") as opened:
        clip = add_source(opened, source, frames)
        for name, boxes in named.items():
            if not isinstance(boxes, Mapping):
                raise AnnotationError(
                    f"The keys of {name!r} are {boxes!r}; give a mapping of frame to box, such as {{0: (10, 20, 64, "
                    "48)}."
                )
            plain, _, label = str(name).partition(":")
            target = opened.add_target(clip, plain, label or "object")
            for frame, box in boxes.items():
                opened.set_key(target, int(frame), box)
        RetrackWorker(opened, lambda: tracker or build(model, device, engine), lambda _: frames).run(on_step)
        frames.close()
        return clip


def build(model: str | Path, device: str, engine: str) -> Follower:
    """The tracker of the page and of `annotate`."""
    return SiamTracker.from_pretrained(model, device, engine=engine)


def add_source(project: Project, source: str | Path, frames: ClipFrames) -> Clip:
    """Adds the clip of a source to a project; its path is stored as an absolute path."""
    path = Path(source).expanduser()
    shown = str(path.resolve()) if path.exists() else str(source)
    return project.add_clip(
        shown, frames.width, frames.height, len(frames), frames.rate, path.stem if path.is_file() else path.name
    )


def add_keys(project: Project, rows: list[KeyBox]) -> list[AnnotatedTarget]:
    """Adds the key boxes of a file to the clips and targets of a project; targets that don't exist are created.

    Targets are identified by clip and id of the file.

    Raises:
        AnnotationError: A row names a clip that doesn't exist.
    """
    known: dict[tuple[str, str], AnnotatedTarget] = {}
    names = [clip.name for clip in project.clips]
    for row in rows:
        wanted = Path(row.clip).stem if row.clip else ""
        if not wanted and len(project.clips) > 1:
            raise AnnotationError(
                f"There are {len(names)} clips, and the key boxes don't say whose they are; add a column clip."
            )
        clip = next((c for c in project.clips if not wanted or wanted in (c.name, Path(c.path).stem)), None)
        if clip is None:
            raise AnnotationError(
                f"The key boxes name a clip {row.clip!r}, which isn't among {', '.join(names)}.{suggest(wanted, names)}"
            )
        mark = (clip.name, row.id)
        if mark not in known:
            title = row.name or f"{row.label or 'object'} {row.id}"
            same = [t for t in clip.targets if t.name == title and t.label == (row.label or "object")]
            known[mark] = same[0] if same else project.add_target(clip, title, row.label or "object")
        target = known[mark]
        before = target.keys.get(row.frame)
        unchanged = row.frame in target.keys and (
            before is row.box or (before is not None and row.box is not None and max(abs(before - row.box)) < 1e-3)
        )
        if not unchanged:
            project.set_key(target, row.frame, row.box)
    return list(known.values())


def add_clip_of(project: Project, clip: Clip, source: Clip) -> list[AnnotatedTarget]:
    """Adds the targets of an imported clip to a project.

    Key boxes become key boxes, the other boxes a track; nothing is marked as approved.

    Args:
        project: The project.
        clip: The project's clip.
        source: The imported clip; its frame numbers are those of the clip.

    Raises:
        AnnotationError: It has boxes beyond the end of the clip.
    """
    out = []
    for read in source.targets:
        last = max([*np.flatnonzero(read.present).tolist()[-1:], *read.keys], default=0)
        if last >= clip.frame_count:
            raise AnnotationError(
                f"{read.name} has a box in frame {last}, but {clip.name} ends with frame {clip.frame_count - 1}; is "
                "it another video?"
            )
        made = project.add_target(clip, read.name, read.label, read.colour)
        for frame, box in sorted(read.keys.items()):
            project.set_key(made, frame, box)
        if not read.keys and read.present.any():
            first = int(np.flatnonzero(read.present)[0])
            project.set_key(made, first, read.boxes[first])
        for stretch in stretches(made.keys, clip.frame_count):
            part = slice(stretch.first, min(stretch.last + 1, len(read.boxes)))
            project.write_track(made, stretch, stretch.first, *_padded(read, part, stretch.length))
        out.append(made)
    return out


def _padded(read: AnnotatedTarget, part: slice, length: int) -> tuple[Boxes, NDArray[np.float64], NDArray[np.bool_]]:
    boxes, scores, hidden = np.full((length, 4), np.nan), np.ones(length), np.zeros(length, bool)
    n = max(part.stop - part.start, 0)
    boxes[:n], hidden[:n] = read.boxes[part], read.occluded[part]
    scores[:n] = np.where(np.isnan(read.scores[part]), 1.0, read.scores[part])
    return boxes, scores, hidden
