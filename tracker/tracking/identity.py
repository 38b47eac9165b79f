"""Is a candidate the target, or a distractor that was visible beside the target in an earlier frame?

The matcher responds to objects of one class, and the online filter has only learnt distractors within the search
region. A stored frame in which the target was tracked reliably shows both: every other object in it is a distractor,
and the candidate is compared with the target and with the distractors of that frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop
from tracker.tracking.distractors import ALIKE, DistractorMemory, Other
from tracker.tracking.observation import Observation
from tracker.tracking.observer import Observer, Scene
from tracker.tracking.readout import at_cell
from tracker.tracking.redetection_search import APART, JUMP
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


def in_question(observer: Observer, target: Target, before: Belief, observation: Observation) -> bool:
    """Whether a tracked target may have switched to a distractor: it jumped while its score fell, or became TRACKING
    again.

    Args:
        observer: Provides the search window sizes.
        target: The target, with its belief after this frame.
        before: Its belief in the previous frame.
        observation: Of this frame.
    """
    asked = before.state is TrackState.UNCERTAIN and target.belief.state is TrackState.TRACKING
    if not asked and before.relative(observation.score) < observer.config.states.uncertain_score:
        step = float(np.linalg.norm(observation.place[0] - target.place[0]))
        asked = step > JUMP * float(np.sqrt(np.prod(target.size)))
    return asked


def is_distractor(scene: Scene, target: Target, observation: Observation, strict: bool = True) -> bool:
    """Whether a candidate is a distractor that was at that position while the target was tracked elsewhere.

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
    for memory, age in ((kept, longest), (kept.earlier, 2 * longest)):
        if memory is None or target.age - memory.age > age:  # objects have moved since
            continue
        before = Scene(observer, memory.frame)
        other = _other_in(before, target, memory, place)
        if other is None:
            continue
        # Both were visible in one frame, so they can be distinguished as individuals: which of the two is the
        # candidate?
        fresh = scene.embedding(observation.place, target.fill)
        like_other = _alike(observer, before.embedding((other.centre, other.size), target.fill), fresh)
        own = before.embedding((memory.centre, memory.size), target.fill)
        lead = like_other - max(_alike(observer, own, fresh), target.bank.likeness(fresh))
        alike = strict and other.logit >= max(observation.logit - observer.config.redetection.drop, ALIKE)
        if lead > (-AMBIGUOUS if alike else AMBIGUOUS):
            kept.others.append((place, target.age))
            return True
        return False
    return False


def _other_in(before: Scene, target: Target, memory: DistractorMemory, place: Vector) -> Other | None:
    """The strongest response near a position in a stored frame, outside the target."""
    observer = before.observer
    crop = Crop.around(place, observer.side(memory.size) * observer.sizes[1] / observer.sizes[0], observer.sizes[1])
    response = before.match(target, [crop])
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
