"""Measurement of the search in videos: two clips side by side, and a gallery with their targets and absent
look-alikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.datasets.tracks import AnnotatedTrack
from tracker.errors import ConfigError
from tracker.files import suggest
from tracker.geometry import iou
from tracker.matching.gallery import Gallery
from tracker.matching.inputs import Region, open_picture
from tracker.matching.search import VideoSearch
from tracker.matching.search_views import view_for_search
from tracker.matching.track_pairs import read_clips
from tracker.types import Frame, Image

if TYPE_CHECKING:
    from tracker.matching.matcher import Matcher
    from tracker.matching.protocols import TestConfig
    from tracker.tracking.tracker import SiamTracker

OVERLAP = 0.3
"""Least intersection over union of a correct report."""


@dataclass(frozen=True)
class SceneResult:
    """The reports in one composed video.

    Attributes:
        present: For each present object, the fraction of frames in which it was reported at its position.
        first: For each of them, the first such frame; -1: never.
        absent: For each absent object, the fraction of frames in which it was reported anywhere.
        misplaced: For each present object, the fraction of frames in which it was reported elsewhere.
    """

    present: dict[str, float]
    first: dict[str, int]
    absent: dict[str, float]
    misplaced: dict[str, float]


def measure_search(matcher: Matcher, tracker: SiamTracker, test: TestConfig, root: Path) -> dict[str, float]:
    """Metrics over all `scenes` of a recipe.

    Args:
        matcher: The gallery's matcher.
        tracker: Searches and tracks.
        test: `path` and `more` of the clips, `scenes` (present: two clips, absent: the other objects of the gallery),
            `frames`, `skip`, `threshold` (0: what the calibration gives for `far`), `far`, `views`, `windows`.
        root: Folder that paths are relative to.

    Returns:
        found: mean fraction of frames in which a present object was reported at its position; never_found: number of
        present objects that never were; misplaced: mean fraction of reports elsewhere; absent: mean fraction of frames
        in which an absent object was reported; absent_worst: the maximum of these; over_2_percent: number of absent
        objects above 0.02; and the fraction for each scene and object.

    Raises:
        SourceError, ConfigError: No clips, or a scene that names another one.
    """
    layout = str(test.source.get("layout", "otb"))
    clips = {track.name: track for path in (test.path, *test.more) for track in read_clips(root / path, layout)}
    if not test.scenes:
        raise ConfigError(
            "The protocol search wants test.scenes, a list of {present: [clip, clip], absent: [clip, ...]}."
        )
    out: dict[str, float] = {}
    results = []
    for number, scene in enumerate(test.scenes):
        names = {part: [str(name) for name in scene.get(part, [])] for part in ("present", "absent")}
        for name in (*names["present"], *names["absent"]):
            if name not in clips:
                raise ConfigError(f"A scene names the clip {name!r}, which is not there.{suggest(name, clips)}")
        here, gone = ([clips[name] for name in part] for part in names.values())
        if len(here) != 2:
            raise ConfigError(f"Scene {number} has {len(here)} present clips; two are put side by side.")
        result = run_scene(matcher, tracker, here, gone, test)
        results.append(result)
        out.update({f"{number}/{name}": share for name, share in result.present.items()})
        out.update({f"{number}/absent {name}": share for name, share in result.absent.items()})
    present = [share for result in results for share in result.present.values()]
    absent = [share for result in results for share in result.absent.values()]
    return {
        "found": float(np.mean(present)),
        "never_found": float(sum(k < 0 for result in results for k in result.first.values())),
        "misplaced": float(np.mean([share for result in results for share in result.misplaced.values()])),
        "absent": float(np.mean(absent)) if absent else 0.0,
        "absent_worst": float(max(absent, default=0.0)),
        "over_2_percent": float(sum(share > 0.02 for share in absent)),
        "scenes": float(len(results)),
        "frames": float(test.frames),
        **out,
    }


def run_scene(
    matcher: Matcher,
    tracker: SiamTracker,
    present: Sequence[AnnotatedTrack],
    absent: Sequence[AnnotatedTrack],
    test: TestConfig,
) -> SceneResult:
    """Searches one composed video with a gallery of all its objects, each enrolled by boxes in the first frames of its
    clip."""
    gallery = Gallery(matcher)
    for clip in (*present, *absent):
        enrolled = np.array([k for k in clip.present if k < max(test.skip, 1)] or clip.present[:1])
        for k in enrolled[np.unique(np.linspace(0, len(enrolled) - 1, test.views).round().astype(int))]:
            image, box = open_picture(clip.frames[k]), tuple(float(v) for v in clip.boxes[k])
            gallery.add(clip.name, [Region(image, (box[0], box[1], box[2], box[3]))], [view_for_search(image, box)])
    finder = VideoSearch(gallery, tracker, far=test.far, threshold=test.threshold or None, windows=test.windows)
    right = {clip.name: np.zeros(test.frames, bool) for clip in present}
    wrong = {clip.name: np.zeros(test.frames, bool) for clip in (*present, *absent)}
    for k in range(test.frames):
        image, truth = side_by_side(present, test.skip + k)
        for found in finder.update(Frame(image, k)):
            true = truth.get(found.name)
            if true is not None and float(iou(found.track.box[None], true[None])[0]) >= OVERLAP:
                right[found.name][k] = True
            else:
                wrong[found.name][k] = True
    return SceneResult(
        {name: float(hits.mean()) for name, hits in right.items()},
        {name: int(hits.argmax()) if hits.any() else -1 for name, hits in right.items()},
        {clip.name: float(wrong[clip.name].mean()) for clip in absent},
        {clip.name: float(wrong[clip.name].mean()) for clip in present},
    )


def side_by_side(clips: Sequence[AnnotatedTrack], index: int) -> tuple[Image, dict[str, NDArray[np.float64]]]:
    """Frame `index` of two clips side by side (the last one if a clip is shorter), and the boxes of their targets."""
    numbers = [min(index, len(clip.frames) - 1) for clip in clips]
    images = [open_picture(clip.frames[k]) for clip, k in zip(clips, numbers, strict=True)]
    height = max(image.shape[0] for image in images)
    canvas = np.full((height, sum(image.shape[1] for image in images), 3), 127, np.uint8)
    truth, left = {}, 0
    for clip, k, image in zip(clips, numbers, images, strict=True):
        canvas[: image.shape[0], left : left + image.shape[1]] = image
        truth[clip.name] = np.asarray(clip.boxes[k], np.float64) + np.array([left, 0, 0, 0])
        left += image.shape[1]
    return canvas, truth
