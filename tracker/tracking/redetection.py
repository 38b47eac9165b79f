"""Re-detection of a LOST target: at its last position, then by search; and the acceptance of a candidate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tracker.crops import Crop
from tracker.runtime.base import Response
from tracker.tracking import moves
from tracker.tracking.confidence import FEATURES, verified
from tracker.tracking.identity import is_distractor, pass_over
from tracker.tracking.observation import Observation
from tracker.tracking.observer import Observer
from tracker.tracking.redetection_search import (
    LEAST_HOPE,
    Redetection,
    best_candidate,
    log_odds,
    weigh_windows,
    window_within,
    within_frame,
)
from tracker.tracking.scene import Scene
from tracker.tracking.state_machine import found, resumed
from tracker.tracking.target import Target, Vector

MOST = 4.0
"""Upper bound of the log-odds of one frame, since frames of one object are not independent."""


def redetect_lost(scene: Scene, target: Target, near: Observation, wider: bool) -> Observation:
    """One frame of a LOST target: its last position, a candidate that awaits confirmation, or a search.

    Args:
        scene: The frame.
        target: Changed in place.
        near: The observation at the predicted position.
        wider: Whether windows beyond the last position may be searched now.

    Returns:
        The observation that the track's score comes from.
    """
    observer, extent = scene.observer, scene.extent
    redetection = target.redetection = target.redetection or Redetection()
    redetection.frames += 1
    target.fit(observer.config, extent)
    near, avoid = pass_over(scene, target, near)
    if redetection.candidate is not None:
        return _confirm(observer, target, redetection, _visit(scene, target, redetection, near), extent)
    observation = _verify(scene, target, near, redetection.jumped)
    if (
        redetection.strays(observation.place[0], target.centre, target.size)
        and _found(observer, target, observation, redetection.jumped)
        and is_distractor(scene, target, observation)
    ):
        avoid.append(observation.place[0])
        observation = replace(observation, score=0.0)
    if redetection.trail and near.found.score >= LEAST_HOPE:  # the best guess; without a response it stays
        moves.follow([target], [near], observer.config, extent)
    if _on_trail(observer, target, redetection, observation, extent):
        return observation
    if redetection.trail and _persists(scene, target, redetection, observation):
        target.resume(resumed(target.belief))
        return observation
    if (
        not _found(observer, target, observation, redetection.jumped)
        and redetection.pending is None
        and wider
        and observer.config.redetection.enabled
        and (redetection.unseen or redetection.frames >= observer.config.redetection.wait)
    ):
        place = search(scene, target, redetection, near, avoid)
        if place is not None and observer.config.redetection.work > 0:  # verified in the next frame
            redetection.candidate = place
        elif place is not None:
            checked = _verify(scene, target, scene.observe(target, place), True)
            if _accepts(scene, target, redetection, checked, observation):
                observation, redetection.far = checked, True
    return _confirm(observer, target, redetection, observation, extent)


def _visit(scene: Scene, target: Target, redetection: Redetection, near: Observation) -> Observation:
    """Verifies the candidate that the search found in the previous frame; score 0 if it is rejected."""
    redetection.candidate = None
    leads = near.confidence_features[FEATURES.index("margin")] >= scene.observer.config.redetection.margin
    checked = _verify(scene, target, near, True) if leads else near
    if not leads or not _accepts(scene, target, redetection, checked, None):
        return replace(checked, score=0.0)
    redetection.far = True
    return checked


def _confirm(
    observer: Observer, target: Target, redetection: Redetection, observation: Observation, extent: tuple[int, int]
) -> Observation:
    """Accumulates the evidence for a candidate over frames, and accepts it once that suffices."""
    if not _found(observer, target, observation, redetection.jumped):
        redetection.forget()
        return observation
    redetection.hits += 1
    redetection.pending = observation.place
    redetection.evidence += log_odds(observation.score) - log_odds(
        observer.config.redetection.score * target.belief.level
    )
    if (
        redetection.hits >= observer.config.redetection.frames
        and redetection.evidence >= observer.config.redetection.evidence
    ):
        target.lock(*observation.place, found(target.belief), observer.config, extent)
    return observation


def _on_trail(
    observer: Observer, target: Target, redetection: Redetection, observation: Observation, extent: tuple[int, int]
) -> bool:
    """Whether a recently lost target is found reliably near its last position."""
    if (
        not redetection.trail or redetection.jumped or redetection.frames > observer.config.redetection.follow_frames
    ):  # a candidate found by search, or by a jump, needs evidence of its own
        return False
    sure = target.belief.relative(observation.score) >= observer.config.states.sure_score and _as_usual(
        observer, target, observation, False
    )
    redetection.held = redetection.held + 1 if sure else 0
    if redetection.held >= observer.config.redetection.frames:
        target.lock(*observation.place, found(target.belief), observer.config, extent)
        return True
    return False


def _accepts(
    scene: Scene, target: Target, redetection: Redetection, candidate: Observation, guess: Observation | None
) -> bool:
    """Whether a search candidate may be the target; if so, or if it is a better guess, it is tracked from now on.

    Args:
        scene, target, redetection: As in `redetect_lost`; target and redetection are changed in place.
        candidate: The verified candidate.
        guess: The observation in this frame at the present best guess; None: not observed.
    """
    observer, evidence = scene.observer, 0.0
    accepted, config = _found(observer, target, candidate, True), observer.config.redetection
    follows = config.trail_evidence > 0 and not redetection.unseen
    if follows:
        evidence = _evidence(target, candidate)
        likely = target.belief.relative(candidate.score) >= config.guess
        better = likely and evidence > max(redetection.persistence, _evidence(target, guess) if guess else 0.0)
        follows = accepted or better
    if not (accepted or follows) or is_distractor(scene, target, candidate):
        return False
    if follows:
        target.move(*candidate.place, observer.config, scene.extent)
        redetection.trail = redetection.strayed = True
        redetection.persistence = max(evidence, 0.0)
    return accepted


def _evidence(target: Target, observation: Observation) -> float:
    """Log-odds of a frame's score relative to the usual one, bounded."""
    return float(np.clip(log_odds(target.belief.relative(observation.score)), -MOST, MOST))


def _persists(scene: Scene, target: Target, redetection: Redetection, near: Observation) -> bool:
    """Whether the best guess has responded like the target for long enough to be reported again.

    A sum of log-odds clipped at zero from below (CUSUM, Page 1954): the counterpart of the criterion for LOST.
    """
    least = scene.observer.config.redetection.trail_evidence
    if least <= 0:
        return False
    redetection.persistence = max(redetection.persistence + _evidence(target, near), 0.0)
    if redetection.persistence < least:
        return False
    if redetection.jumped and is_distractor(scene, target, near):
        redetection.persistence = 0.0
        return False
    return True


def _found(observer: Observer, target: Target, observation: Observation, far: bool) -> bool:
    """Whether a candidate may be the target: its probability and response are high enough."""
    enough = target.belief.relative(observation.score) >= observer.config.redetection.score
    return enough and _as_usual(observer, target, observation, far)


def _as_usual(observer: Observer, target: Target, observation: Observation, far: bool) -> bool:
    lost_for = target.redetection.frames if target.redetection else 0
    most = observer.config.redetection.drop * (1 if far else 1.5) + observer.config.redetection.drop_growth * lost_for
    if target.drop(observation.logit) > most:
        return False
    if observation.found.online is None:
        return True
    online, lead = (observation.confidence_features[FEATURES.index(name)] for name in ("online", "online_margin"))
    return bool(
        online >= observer.config.redetection.online_score and lead >= observer.config.redetection.online_margin
    )


def _verify(scene: Scene, target: Target, observation: Observation, searched: bool) -> Observation:
    """The observation with its score replaced by the probability that it is the target, unless the score is below
    `LEAST_HOPE`."""
    weights = scene.observer.config.calibration.verification
    if not weights or observation.score < LEAST_HOPE:
        return observation
    alike = likeness(scene, target, observation)
    return replace(observation, score=float(verified(observation.score, alike, searched, weights)))


def likeness(scene: Scene, target: Target, observation: Observation) -> float:
    """Cosine between the candidate, embedded as a template, and the most similar view."""
    return target.bank.likeness(scene.embedding(observation.place, target.fill))


def search(
    scene: Scene, target: Target, redetection: Redetection, near: Observation, avoid: Sequence[Vector] = ()
) -> tuple[Vector, Vector] | None:
    """Searches the windows of this frame, as many and as large as its work limit allows in addition to the observation
    `near`.

    Args:
        scene, target, redetection, near: As in `redetect_lost`.
        avoid: Positions (2,) of distractors in this frame, frame pixels.

    Returns:
        Centre and size of the best position in them, if it is worth verifying.
    """
    observer, config, extent = scene.observer, scene.observer.config, scene.extent
    windows, response = search_windows(scene, target, redetection, near)
    size = target.sure_size
    places = weigh_windows(response.score, response.boxes, windows, size, observer.stride, config)
    best = best_candidate(places, size, avoid)
    return within_frame(best.centre, best.size, extent, config) if best.margin >= config.redetection.margin else None


def search_windows(
    scene: Scene, target: Target, redetection: Redetection, near: Observation
) -> tuple[list[tuple[Crop, float]], Response]:
    """The windows of this frame and their size factors, and the first view's responses in them; arguments as in
    `search`."""
    begun, observer, config, extent = time.perf_counter(), scene.observer, scene.observer.config, scene.extent
    side, full, window, room = observer.side(target.sure_size), observer.sizes[1], observer.window, None
    if config.redetection.work > 0:
        work = len(observer.factors) * (config.redetection.work - (near.crop.size / full) ** 2)
        window = window_within(work, observer.sizes, observer.stride, observer.window)
        room = work * (full / window) ** 2
    windows = redetection.next_windows(target.sure_centre, side, extent, (observer.sizes[0], window), config, room)
    response = scene.match(target.bank.first, [crop for crop, _ in windows], target.fill)
    redetection.took(time.perf_counter() - begun, len(windows))
    return windows, response
