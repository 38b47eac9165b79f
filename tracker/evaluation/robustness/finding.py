"""Known targets in other footage: how often one is found where it is present, and how often a look-alike is taken for
it.

The target of each clip is learnt from its first part. Then it is searched for in the last part of the same clip, where
it is present, and in the last parts of other clips, where it is not: one with a target of the same class, and one of
another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tracker.datasets.base import SequenceData, has_area
from tracker.errors import ConfigError
from tracker.geometry import iou
from tracker.metrics.bootstrap import Interval, mean_interval
from tracker.tracking.confidence import OVERLAP
from tracker.tracking.template_memory import KnownTarget, load_target
from tracker.tracking.tracker import SiamTracker

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel
    from tracker.runtime.base import Engine

GENUINE, SAME_CLASS, OTHER_CLASS = "the target itself", "another of its class", "another class"
LEARN_SHARE, SEARCH_SHARE = 1 / 3, 1 / 3
"""Fractions of a clip, from its start and from its end, used for learning and for searching."""
LEAST_FRAMES = 30
"""Least number of frames of a clip."""


@dataclass(frozen=True)
class Finding:
    """The search for one known target in one clip.

    Attributes:
        known, clip: Names of the clips.
        kind: One of `GENUINE`, `SAME_CLASS`, `OTHER_CLASS`.
        frames: Number of frames searched.
        reported: Frames with a box.
        right: Frames with a box on the target (IoU >= 0.3); 0 if it is absent.
    """

    known: str
    clip: str
    kind: str
    frames: int
    reported: int
    right: int


def pairs(
    clips: Sequence[SequenceData], classes: Mapping[str, str]
) -> Iterator[tuple[SequenceData, SequenceData, str]]:
    """(learnt from, searched, kind): each clip with itself, with the next of its class, with the next of another class.

    Args:
        clips: Only those with at least `LEAST_FRAMES` frames are used.
        classes: Name of a clip -> its target's class.

    Raises:
        ConfigError: A clip without a class, or fewer than two clips.
    """
    usable = [c for c in clips if len(c) >= LEAST_FRAMES and c.name in classes]
    if len(usable) < 2:
        raise ConfigError(
            f"{len(usable)} clips have {LEAST_FRAMES} frames and a class; two are needed. "
            "Name the clips' classes in --classes."
        )
    for k, clip in enumerate(usable):
        yield clip, clip, GENUINE
        following = usable[k + 1 :] + usable[:k]
        for kind, same in ((SAME_CLASS, True), (OTHER_CLASS, False)):
            other = next((c for c in following if (classes[c.name] == classes[clip.name]) is same), None)
            if other is not None:
                yield clip, other, kind


def learn(tracker: SiamTracker, clip: SequenceData) -> KnownTarget:
    """The target of a clip, learnt from its first part, as a saved target."""
    count = max(int(len(clip) * LEARN_SHARE), 2)
    for k, image in enumerate(islice(clip.images(), count)):
        if k == 0:
            tracker.init(image, clip.init)
        else:
            tracker.update(image, index=k)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "target.npz"
        tracker.save_target(file)
        return load_target(file)


def look(tracker: SiamTracker, known: KnownTarget, clip: SequenceData, most: int) -> tuple[int, int, int]:
    """(frames, frames with a box, frames with a box on the clip's own target) of the last part of a clip."""
    start = min(int(len(clip) * (1 - SEARCH_SHARE)), len(clip) - 1)
    truth = clip.truth
    seen = has_area(truth) & clip.valid
    frames = reported = right = 0
    for k, image in islice(enumerate(clip.images()), start, start + most):
        track = tracker.find(image, known, index=k) if frames == 0 else tracker.update(image, index=k)
        frames += 1
        reported += track.visible
        right += bool(track.visible and seen[k] and float(iou(track.box, truth[k])) >= OVERLAP)
    return frames, reported, right


def find_all(
    clips: Sequence[SequenceData],
    classes: Mapping[str, str],
    model: LoadedModel,
    engine: Engine,
    most: int = 45,
    progress: Callable[[Finding], None] | None = None,
) -> list[Finding]:
    """Learns each clip's target and searches for it in the clips of `pairs`.

    Args:
        clips, classes: As in `pairs`.
        model, engine: What tracks.
        most: Greatest number of frames per search.
        progress: Called after each search.
    """
    tracker = SiamTracker(model, engine)
    done: list[Finding] = []
    name, known = "", None
    for clip, other, kind in pairs(clips, classes):
        if known is None or name != clip.name:
            name, known = clip.name, learn(tracker, clip)
        frames, reported, right = look(tracker, known, other, most)
        done.append(Finding(clip.name, other.name, kind, frames, reported, right if kind == GENUINE else 0))
        if progress is not None:
            progress(done[-1])
    return done


def rate(rows: Sequence[Finding], kind: str, seed: int = 0) -> tuple[Interval, Interval]:
    """For one kind: the fraction of searches in which it was reported (where it is present: correctly), and of their
    frames."""
    mine = [r for r in rows if r.kind == kind]
    counts = [r.right if kind == GENUINE else r.reported for r in mine]
    shares = np.array([c / max(r.frames, 1) for c, r in zip(counts, mine, strict=True)])
    return mean_interval(np.array(counts) > 0, seed=seed), mean_interval(shares, seed=seed)


def markdown(rows: Sequence[Finding], seed: int = 0) -> str:
    """The table: a row for each kind."""
    lines = ["| looked for in footage of | searches | it was reported in | of the frames |", "|---|---|---|---|"]
    for kind in (GENUINE, SAME_CLASS, OTHER_CLASS):
        searches, frames = rate(rows, kind, seed)
        lines.append(f"| {kind} | {searches.count} | {searches.percent} | {frames.percent} |")
    return "\n".join(lines) + "\n"
