"""The search for a known target that was not seen in this video yet: places are proposed, followed, and judged.

The network finds things of the target's class, and is as sure of a look-alike as of the target. So what it proposes is
followed for some frames without being reported, and the mean likeness of its descriptors to the target's
(`tracker.tracking.individual`) decides: one frame of a look-alike may be alike enough, several in a row seldom are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.individual import describe_places
from tracker.tracking.observation import Observation
from tracker.tracking.observer import Scene
from tracker.tracking.redetection import search_windows
from tracker.tracking.redetection_search import APART, CLEAR, Redetection, log_odds, weigh_windows, within_frame
from tracker.tracking.state_machine import found
from tracker.tracking.target import Target, Vector

PLACES = 3
"""Places of a frame that are described at most."""
LEAST_SCORE = 0.05
"""Score of a place in a window, in [0, 1], below which it is not described."""
VANISHED = 0.03
"""Score of what is followed below which it is given up."""
HOPELESS = 0.2
"""How far below the least likeness the mean of two frames or more gives a place up, and the first look at it passes."""
SCORE_WEIGHT = 0.02
"""What a logit of its score in the window counts beside its likeness, where the place to follow is chosen."""
PASSED_FOR = 14
"""Frames in which a place that was given up isn't proposed again."""


def find_known(scene: Scene, target: Target, near: Observation, wider: bool) -> Observation:
    """One frame of the search for a known target; it is TRACKING once a place was accepted.

    Args:
        scene: The frame.
        target: With descriptors to be judged by; changed in place.
        near: What was read at the place that is followed now.
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
    """Judges the place that is followed: it is the target, or given up, or looked at again in the next frame."""
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
    """Centre and size of the place in the windows of this frame that is most like the target; None: none may be it."""
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
    """Sets scores (N,) to 0 nearer to a place (2,) than sqrt(w h) of `reach`, in place."""
    value[np.linalg.norm(centres - place, axis=1) < float(np.sqrt(np.prod(reach)))] = 0.0
