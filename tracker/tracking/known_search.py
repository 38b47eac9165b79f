"""The search for a known target that was not seen in this video yet: candidates are proposed, tracked, and verified.

The network finds objects of the target's class, and scores a look-alike as high as the target. So a candidate is
tracked for some frames without being reported, and the mean likeness of its descriptors to the target's
(`tracker.tracking.individual`) decides: a look-alike may be similar enough in one frame, but seldom in several.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.individual import describe_places
from tracker.tracking.observation import Observation
from tracker.tracking.redetection import search_windows
from tracker.tracking.redetection_search import APART, CLEAR, Redetection, log_odds, weigh_windows, within_frame
from tracker.tracking.scene import Scene
from tracker.tracking.state_machine import found
from tracker.tracking.target import Target, Vector

PLACES = 3
"""Greatest number of positions of a frame that are described."""
LEAST_SCORE = 0.05
"""Least score of a candidate in a window, in [0, 1]."""
VANISHED = 0.03
"""Score of a tracked candidate below which it is dropped."""
HOPELESS = 0.2
"""A candidate is dropped if the mean over at least two frames is this far below the least likeness, and passes its
first check up to this far below it."""
SCORE_WEIGHT = 0.02
"""Weight of a logit of the window score relative to the likeness, in the choice of the candidate to track."""
PASSED_FOR = 14
"""Number of frames in which the position of a dropped candidate isn't proposed again."""


def find_known(scene: Scene, target: Target, near: Observation, wider: bool) -> Observation:
    """One frame of the search for a known target; it is TRACKING once a candidate was accepted.

    Args:
        scene: The frame.
        target: With descriptors; changed in place.
        near: The observation at the position of the tracked candidate.
        wider: Whether windows may be searched now.

    Returns:
        The observation that the track's score comes from.
    """
    observer, extent = scene.observer, scene.extent
    redetection = target.redetection = target.redetection or Redetection(unseen=True)
    redetection.frames += 1
    target.fit(observer.config, extent)
    if redetection.pending is not None:
        return _follow(scene, target, redetection, near)
    if wider and observer.config.redetection.enabled:
        redetection.pending = _propose(scene, target, redetection, near)
    return replace(near, score=0.0)


def _follow(scene: Scene, target: Target, redetection: Redetection, near: Observation) -> Observation:
    """Verifies the tracked candidate: it is accepted, dropped, or verified again in the next frame."""
    assert target.individual is not None
    observer, extent, judged = scene.observer, scene.extent, target.individual
    config = observer.config.known
    place = centre, size = within_frame(*near.place, extent, observer.config)
    judged.likenesses.append(float(judged.likeness(describe_places(scene, [place], target.fill))[0]))
    mean, count = float(np.mean(judged.likenesses)), len(judged.likenesses)
    if count >= config.frames and mean >= config.likeness:
        judged.likenesses, judged.passed = [], []
        target.lock(centre, size, found(target.belief), observer.config, extent)
        return near
    hopeless = count >= 2 and mean < config.likeness - HOPELESS
    if hopeless or count >= config.most_frames or near.score < VANISHED:
        judged.passed.append((target.age, centre, size))
        judged.likenesses, redetection.pending = [], None
    else:
        redetection.pending = centre, size
    return replace(near, score=min(near.score, observer.config.states.lost_score))


def _propose(scene: Scene, target: Target, redetection: Redetection, near: Observation) -> tuple[Vector, Vector] | None:
    """Centre and size of the position in the windows of this frame that is most similar to the target; None: no
    candidate."""
    observer, judged = scene.observer, target.individual
    assert judged is not None
    judged.passed = [one for one in judged.passed if target.age - one[0] < PASSED_FOR]
    windows, response = search_windows(scene, target, redetection, near)
    value, centres, sizes = weigh_windows(
        response.score, response.boxes, windows, target.sure_size, observer.stride, observer.config
    )
    for _, centre, size in judged.passed:
        _clear(value, centres, centre, APART * size)
    places, scores = [], []
    for _ in range(PLACES if observer.config.redetection.work <= 0 else 1):
        best = int(np.argmax(value))
        if value[best] < LEAST_SCORE:
            break
        places.append(within_frame(centres[best], sizes[best], scene.extent, observer.config))
        scores.append(log_odds(float(value[best])))
        _clear(value, centres, centres[best], CLEAR * sizes[best])
    if not places:
        return None
    alike = judged.likeness(describe_places(scene, places, target.fill))
    chosen = int(np.argmax(alike + SCORE_WEIGHT * np.array(scores)))
    return places[chosen] if alike[chosen] >= observer.config.known.likeness - HOPELESS else None


def _clear(value: NDArray[np.float64], centres: NDArray[np.float64], place: Vector, reach: Vector) -> None:
    """Sets scores (N,) to 0 closer to a position (2,) than sqrt(w h) of `reach`, in place."""
    value[np.linalg.norm(centres - place, axis=1) < float(np.sqrt(np.prod(reach)))] = 0.0
