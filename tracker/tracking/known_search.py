"""The search for a known target that was not seen in this video yet: places are proposed, followed, and judged.

The network finds things of the target's class, and is as sure of a look-alike as of the target. So what it proposes is
followed for some frames without being reported, and the mean likeness of its descriptors to the target's
(`tracker.tracking.individual`) decides: one frame of a look-alike may be alike enough, several in a row seldom are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.individual import describe
from tracker.tracking.observation import Observation
from tracker.tracking.observer import Observer
from tracker.tracking.redetection import search_windows
from tracker.tracking.redetection_search import APART, CLEAR, Redetection, log_odds, weigh_windows
from tracker.tracking.state_machine import found
from tracker.tracking.target import Target, Vector
from tracker.types import Image

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


def find_known(observer: Observer, target: Target, near: Observation, frame: Image, wider: bool) -> Observation:
    """One frame of the search for a known target; it is TRACKING once a place was accepted.

    Args:
        observer: What sees the targets.
        target: With descriptors to be judged by; changed in place.
        near: What was read at the place that is followed now.
        frame: The picture.
        wider: Whether windows may be searched now.

    Returns:
        The observation that the track's score comes from.
    """
    extent = (frame.shape[1], frame.shape[0])
    redetection = target.redetection = target.redetection or Redetection(unseen=True)
    redetection.frames += 1
    target.fit(observer.config, extent)
    if redetection.pending is not None:
        return _follow(observer, target, redetection, near, frame)
    if wider and observer.config.redetection.enabled:
        redetection.pending = _propose(observer, target, redetection, near, frame)
    return replace(near, score=0.0)


def _follow(
    observer: Observer, target: Target, redetection: Redetection, near: Observation, frame: Image
) -> Observation:
    """Judges the place that is followed: it is the target, or given up, or looked at again in the next frame."""
    assert target.individual is not None
    config, judged, extent = observer.config.known, target.individual, (frame.shape[1], frame.shape[0])
    centre, size = _within(*near.place, observer, extent)
    view = observer.view(frame, centre, size, target.fill, target.age)
    judged.likenesses.append(float(judged.likeness(describe(observer, [view]))[0]))
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


def _propose(
    observer: Observer, target: Target, redetection: Redetection, near: Observation, frame: Image
) -> tuple[Vector, Vector] | None:
    """Centre and size of the place in the windows of this frame that is most like the target; None: none may be it."""
    judged, extent = target.individual, (frame.shape[1], frame.shape[0])
    assert judged is not None
    judged.passed = [one for one in judged.passed if target.age - one[0] < PASSED_FOR]
    windows, response = search_windows(observer, target, redetection, frame, near)
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
        places.append(_within(centres[best], sizes[best], observer, extent))
        scores.append(log_odds(float(value[best])))
        _clear(value, centres, centres[best], CLEAR * sizes[best])
    if not places:
        return None
    views = [observer.view(frame, *place, target.fill, target.age) for place in places]
    alike = judged.likeness(describe(observer, views))
    chosen = int(np.argmax(alike + SCORE_WEIGHT * np.array(scores)))
    return places[chosen] if alike[chosen] >= observer.config.known.likeness - HOPELESS else None


def _clear(value: NDArray[np.float64], centres: NDArray[np.float64], place: Vector, reach: Vector) -> None:
    """Sets scores (N,) to 0 nearer to a place (2,) than sqrt(w h) of `reach`, in place."""
    value[np.linalg.norm(centres - place, axis=1) < float(np.sqrt(np.prod(reach)))] = 0.0


def _within(centre: Vector, size: Vector, observer: Observer, extent: tuple[int, int]) -> tuple[Vector, Vector]:
    """Centre and size of a place, within the frame."""
    least = observer.config.min_size
    most = np.maximum(np.asarray(extent, np.float64), least)
    return np.clip(centre, 0, extent), np.clip(size, least, most)
