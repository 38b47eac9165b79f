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
leads of team-mates over a target that has turned reach 0.13 (docs/experiments.md, 145)."""
UNLIKE = 0.65
"""Cosine to a view of the target from which on a jump with a high score is not questioned."""
USUAL = 1.5
"""Such a jump is questioned if it is this many times the largest recent error of the prediction, so that fast targets
cost no more time."""


def switched(scene: Scene, target: Target, before: Belief, observation: Observation) -> bool:
    """Whether a tracked target has switched to a distractor. Asked if it jumped, or is TRACKING again after UNCERTAIN.

    Args:
        scene: The frame.
        target: With its belief after this frame; its memory of distractors is updated in place.
        before: Its belief in the previous frame.
        observation: Of this frame.
    """
    step = float(np.linalg.norm(observation.place[0] - target.place[0]) / np.sqrt(np.prod(target.size)))
    fell = before.relative(observation.score) < scene.observer.config.states.uncertain_score
    resumed = before.state is TrackState.UNCERTAIN and target.belief.state is TrackState.TRACKING
    if resumed or (step > JUMP and fell):
        return is_distractor(scene, target, observation, strict=False)
    memory = target.distractors
    if memory is None or memory.cleared or step <= max(JUMP, USUAL * target.recent_motion):
        return False
    memory.cleared = not _Candidate(scene, target, observation).was_elsewhere(UNLIKE)
    return not memory.cleared


def is_distractor(scene: Scene, target: Target, observation: Observation, strict: bool = True) -> bool:
    """Whether a candidate is a distractor that was visible while the target was tracked elsewhere.

    Args:
        scene: The frame.
        target: Its memory of distractors is updated in place.
        observation: The candidate.
        strict: Whether an ambiguous candidate counts as a distractor: a re-detection must be proved, a tracked target
            need not be.
    """
    kept, place = target.distractors, observation.place[0]
    # A candidate whose response to the first view is clearly higher than that of the recent boxes is not a distractor:
    # those were.
    if kept is None or target.drop(observation.logit) < -CLEARLY_BETTER:
        return False
    if kept.claims(place, target.age, scene.observer.config.distractors.frames):
        return True
    candidate = _Candidate(scene, target, observation)
    return candidate.was_near(strict) or candidate.was_elsewhere()


class _Candidate:
    """A position in a frame that may be the target, and its comparison with the target's stored frames.

    Args:
        scene, target, observation: As in `is_distractor`.
    """

    def __init__(self, scene: Scene, target: Target, observation: Observation) -> None:
        self.observer, self.target, self.observation = scene.observer, target, observation
        kept, longest = target.distractors, scene.observer.config.distractors.frames
        frames = [(kept, longest), (kept.earlier, 2 * longest)] if kept else []
        # Objects have moved since: an old frame says nothing.
        self.memories = [memory for memory, age in frames if memory and target.age - memory.age <= age]
        if self.memories:
            self.template = scene.template(observation.place, target.fill)
            self.embedding = self.observer.engine.to_host(self.template)

    def was_near(self, strict: bool) -> bool:
        """Whether it is something near its position that resembles the target, in the last frame that shows such a
        thing; `strict` as in `is_distractor`."""
        for memory in self.memories:
            before = Scene(self.observer, memory.frame)
            other = _other_in(before, self.target, memory, self.observation.place[0])
            if other is None:
                continue
            # Both were visible in one frame, so they can be distinguished as individuals: which of the two is the
            # candidate?
            lead = self._like(before, (other.centre, other.size)) - self._like_target(before, memory)
            least = max(self.observation.logit - self.observer.config.redetection.drop, ALIKE)
            return self._remembered(lead > (-AMBIGUOUS if strict and other.logit >= least else AMBIGUOUS))
        return False

    def was_elsewhere(self, unlike: float = 1.0) -> bool:
        """Whether, matched backwards in a stored frame, it finds something outside the target that it resembles more.

        Args:
            unlike: Not asked of a candidate that resembles a view in the target's bank as much (cosine).
        """
        if not self.memories or self.target.bank.likeness(self.embedding) >= unlike:
            return False
        return self._remembered(any(self._lead(memory) > LEAD for memory in self.memories))

    def _lead(self, memory: DistractorMemory) -> float:
        """How much more (cosines) it resembles what it finds outside the target in a stored frame; -1 if that is
        nothing like it."""
        observer, before, (centre, size) = self.observer, Scene(self.observer, memory.frame), self.observation.place
        # A window of the search, larger than that of a frame: the thing may have moved by several sizes since.
        side = observer.side(size) * observer.window / observer.sizes[0]
        window = Crop.around(centre, side, observer.window)
        response = before.match(self.template, [window], self.target.fill)
        places = weigh_windows(response.score, response.boxes, [(window, 1.0)], size, observer.stride, observer.config)
        found = best_candidate(places, memory.size / APART, [memory.centre])  # outside the target: by its size
        like = self._like(before, (found.centre, found.size))
        return like - self._like_target(before, memory) if like >= SAME else -1.0

    def _like(self, before: Scene, place: tuple[Vector, Vector]) -> float:
        """Cosine to a position of a stored frame, over the target's cells."""
        return self._cosine(before.embedding(place, self.target.fill))

    def _like_target(self, before: Scene, memory: DistractorMemory) -> float:
        """Cosine to the target in a stored frame, or to the most similar view in its bank."""
        if memory.embedding is None:
            memory.embedding = before.embedding((memory.centre, memory.size), self.target.fill)
        return max(self._cosine(memory.embedding), self.target.bank.likeness(self.embedding))

    def _cosine(self, known: NDArray[np.float32]) -> float:
        return float(similarity(known, self.embedding, self.observer.uncompared_channels)[0, 0])

    def _remembered(self, other: bool) -> bool:
        """Stores its position as that of a distractor, if it is one."""
        if other and self.target.distractors:
            self.target.distractors.others.append((self.observation.place[0], self.target.age))
        return other


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
