"""Brings clips that were read from an annotation format into a project."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracker.annotate.clip import AnnotationError, Clip, Target
from tracker.annotate.machine import stretches
from tracker.annotate.project import Project
from tracker.geometry import Boxes


def add_clip_of(project: Project, clip: Clip, source: Clip) -> list[Target]:
    """Bring the targets of a clip that was read from some format into a project.

    Key boxes become key boxes, the other boxes a track; nothing is approved by that.

    Args:
        project: Where to.
        clip: The project's clip.
        source: What was read; its frames are counted as the clip's.

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


def _padded(read: Target, part: slice, length: int) -> tuple[Boxes, NDArray[np.float64], NDArray[np.bool_]]:
    boxes, scores, hidden = np.full((length, 4), np.nan), np.ones(length), np.zeros(length, bool)
    n = max(part.stop - part.start, 0)
    boxes[:n], hidden[:n] = read.boxes[part], read.occluded[part]
    scores[:n] = np.where(np.isnan(read.scores[part]), 1.0, read.scores[part])
    return boxes, scores, hidden
