"""Is a candidate the target, or a distractor that was visible beside the target in an earlier frame?

The matcher responds to objects of one class, and the online filter has only learnt distractors within the search
region. A stored frame in which the target was tracked reliably shows both: every other object in it is a distractor,
and the candidate is compared with the target and with the distractors of that frame. They are found in two ways: by the
target's template, near the candidate's position; and by the candidate's own template, which is matched backwards in
time (forward-backward consistency; Kalal et al., "Forward-Backward Error", ICPR 2010): what it finds may have moved and
need not look like the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop
from tracker.tracking.distractors import ALIKE, DistractorMemory, Other
from tracker.tracking.observation import Observation
from tracker.tracking.observer import Observer, Scene
from tracker.tracking.readout import at_cell
from tracker.tracking.redetection_search import APART, JUMP, best_candidate, weigh_windows
from tracker.tracking.similarity import similarity
from tracker.tracking.state_machine import Belief
from tracker.tracking.target import Target, Vector
from tracker.types import TrackState

CLEARLY_BETTER = 1.5
"""Logits above the target's usual response: more than the response of one object varies from frame to frame."""
MOST_OTHERS = 3
"""Greatest number of distractors skipped in a frame."""
AMBIGUOUS = 0.1
"""Difference of cosines below which the embeddings don't distinguish two objects."""
SAME, LEAD = 0.6, 0.12
"""Least cosine of a candidate to what it finds in a stored frame, and its least lead over that to the target: then they
are one object. Where targets vanished beside another thing cosines were 0.67 to 0.79 and leads mostly 0.19 and more;
leads of team-mates over a target that has turned reach 0.13 (docs/experiments.md, 140)."""


def in_question(observer: Observer, target: Target, before: Belief, observation: Observation) -> bool:
    """Whether a tracked target may have switched to a distractor: it jumped, or became TRACKING again.

    Args:
        observer: Provides the search window sizes.
        target: The target, with its belief after this frame.
        before: Its belief in the previous frame.
        observation: Of this frame.
    """
    if before.state is TrackState.UNCERTAIN and target.belief.state is TrackState.TRACKING:
        return True
    step = float(np.linalg.norm(observation.place[0] - target.place[0]))
    return step > JUMP * float(np.sqrt(np.prod(target.size)))


def is_distractor(scene: Scene, target: Target, observation: Observation, strict: bool = True) -> bool:
    """Whether a candidate is a distractor that was visible while the target was tracked elsewhere.

    Args:
        scene: The frame.
        target: Its memory of distractors is updated in place.
        observation: The candidate.
        strict: Whether an ambiguous candidate counts as a distractor: a re-detection must be proved, a tracked target
            need not be.
    """
    observer, kept, place = scene.observer, target.distractors, observation.place[0]
    longest = observer.config.distractors.frames
    # A candidate whose response to the first view is clearly higher than that of the recent boxes is not a distractor:
    # those were.
    if kept is None or target.drop(observation.logit) < -CLEARLY_BETTER:
        return False
    if kept.claims(place, target.age, longest):
        return True
    # Objects have moved since: an old frame says nothing.
    frames = [(kept, longest), (kept.earlier, 2 * longest)]
    memories = [memory for memory, age in frames if memory is not None and target.age - memory.age <= age]
    if not memories:
        return False
    template = scene.template(observation.place, target.fill)
    fresh = observer.engine.to_host(template)
    if _was_near(target, memories, observation, observer, fresh, strict) or any(
        _lead_elsewhere(Scene(observer, memory.frame), target, memory, observation, template, fresh) > LEAD
        for memory in memories
    ):
        kept.others.append((place, target.age))
        return True
    return False


def _was_near(
    target: Target,
    memories: Sequence[DistractorMemory],
    observation: Observation,
    observer: Observer,
    fresh: NDArray[np.float32],
    strict: bool,
) -> bool:
    """Whether the candidate is something near its position that resembles the target in the last frame that shows
    such a thing; arguments as in `is_distractor`, `fresh` is the candidate's embedding."""
    for memory in memories:
        before = Scene(observer, memory.frame)
        other = _other_in(before, target, memory, observation.place[0])
        if other is None:
            continue
        # Both were visible in one frame, so they can be distinguished as individuals: which of the two is the
        # candidate?
        like_other = _alike(observer, before.embedding((other.centre, other.size), target.fill), fresh)
        lead = like_other - _like_target(before, target, memory, fresh)
        alike = strict and other.logit >= max(observation.logit - observer.config.redetection.drop, ALIKE)
        return lead > (-AMBIGUOUS if alike else AMBIGUOUS)
    return False


def _lead_elsewhere(
    before: Scene,
    target: Target,
    memory: DistractorMemory,
    observation: Observation,
    template: Any,
    fresh: NDArray[np.float32],
) -> float:
    """How much more the candidate resembles what it finds outside the target in a stored frame (cosines); -1 if that is
    nothing like it. `template` is the candidate's, `fresh` its embedding."""
    observer, (place, size) = before.observer, observation.place
    side = observer.side(size) * observer.window / observer.sizes[0]
    window = Crop.around(place, side, observer.window)
    response = before.match(template, [window], target.fill)
    places = weigh_windows(response.score, response.boxes, [(window, 1.0)], size, observer.stride, observer.config)
    found = best_candidate(places, memory.size / APART, [memory.centre])  # away from the target by its size
    like = _alike(observer, before.embedding((found.centre, found.size), target.fill), fresh)
    return like - _like_target(before, target, memory, fresh) if like >= SAME else -1.0


def _like_target(before: Scene, target: Target, memory: DistractorMemory, fresh: NDArray[np.float32]) -> float:
    """Cosine of an embedding to that of the target in a stored frame, or to the most similar view in its bank."""
    own = before.embedding((memory.centre, memory.size), target.fill)
    return max(_alike(before.observer, own, fresh), target.bank.likeness(fresh))


def _other_in(before: Scene, target: Target, memory: DistractorMemory, place: Vector) -> Other | None:
    """The strongest response near a position in a stored frame, outside the target."""
    observer = before.observer
    crop = Crop.around(place, observer.side(memory.size) * observer.sizes[1] / observer.sizes[0], observer.sizes[1])
    response = before.match(target.bank.first, [crop], target.fill)
    boxes = None if response.boxes is None else response.boxes[0]
    return memory.other_near(response.score[0], boxes, crop, observer.stride, place)


def pass_over(observer: Observer, target: Target, near: Observation) -> tuple[Observation, list[Vector]]:
    """The best observation that is not at a known distractor, and the positions of the distractors skipped."""
    avoid: list[Vector] = []
    kept = target.distractors
    while kept is not None and near.weighed is not None and len(avoid) < MOST_OTHERS:
        if target.drop(near.logit) < -CLEARLY_BETTER:
            break
        if not kept.claims(near.place[0], target.age, observer.config.distractors.frames):
            break
        avoid.append(near.place[0])
        near = _read_apart(observer, target, near, avoid)
    return near, avoid


def _read_apart(observer: Observer, target: Target, observation: Observation, avoid: Sequence[Vector]) -> Observation:
    """The best position of the same response away from other positions (2,), frame pixels."""
    weighed, crop = observation.weighed, observation.crop
    assert weighed is not None
    x = crop.left + (weighed.boxes[0] + weighed.boxes[2]) / 2 / crop.scale
    y = crop.top + (weighed.boxes[1] + weighed.boxes[3]) / 2 / crop.scale
    reach, left = APART * float(np.sqrt(np.prod(observation.size))), weighed.mixed
    for other in avoid:
        left = np.where(np.hypot(x - other[0], y - other[1]) < reach, -1.0, left)
    return at_cell(observer, target, observation, int(np.argmax(left)))


def _alike(observer: Observer, known: NDArray[np.float32], fresh: NDArray[np.float32]) -> float:
    """Cosine of two embeddings (1, C, h, w) over the target's cells."""
    return float(similarity(known, fresh, observer.uncompared_channels)[0, 0])
