"""Is a candidate the target, or a distractor that was visible beside the target in an earlier frame?

The matcher responds to objects of one class, and the online filter has only learnt distractors within the search
region. A stored frame in which the target was tracked reliably shows both: every other object in it is a distractor,
and the candidate is compared with the target and with the distractors of that frame. They are found in two ways: by the
target's template, near the candidate's position; and by the candidate's own template, which is matched backwards in
time (forward-backward consistency; Kalal et al., "Forward-Backward Error", ICPR 2010): what it finds may have moved and
need not look like the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop
from tracker.tracking.distractors import ALIKE, DistractorMemory, KnownDistractor, Other, StoredView
from tracker.tracking.observation import Observation
from tracker.tracking.observer import Observer
from tracker.tracking.readout import at_cell
from tracker.tracking.redetection_search import APART, JUMP, LEAST_HOPE, weigh_windows
from tracker.tracking.scene import Scene
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
LEAD = 0.1
"""Least lead of a candidate's cosine to what it finds in a stored frame over that to the target: then they are one
object. Where targets vanished beside another thing leads were mostly 0.15 and more, those of right places below 0 but
for 4 of 288 re-detections (docs/experiments.md, 155)."""
SAME, ANSWER = (0.5, 0.65), (0.6, 0.5)
"""Least cosine of the two, and least score of what it finds: of a re-detection, and of a tracked target that jumped."""
BESIDE = 0.4
"""Distance from the target in a stored frame, in sqrt(w h), from which on a position is outside it; in the last frame
it is `JUMP`, since a box that slid off the target and returns to it is no jump to another object."""
MOST_FOUND = 3
"""Greatest number of positions compared in a stored frame."""
REACHES = (2.0, 2.5)
"""Side, in search windows, of the window for a re-detection: in the newest stored frame, and in the earlier one."""
ITSELF = 0.95
"""Score at the target's place in a stored frame from which on a target that jumped is not asked further."""
LAST = 3
"""Age of the last frame in which the network ran, at most: two frames are skipped."""
UNLIKE = 0.65
"""Cosine to a view of the target from which on a jump with a high score is not questioned."""
USUAL, UNUSUAL = 1.5, 3.0
"""Such a jump is questioned if its step is this many times the largest recent error of the prediction, so that fast
targets cost no more time; or if the prediction's error is, and at least `SHIFT`."""
SHIFT = 0.15
"""Error of the prediction, in sqrt(w h): what takes the target's place beside it is that far away."""


def switched(scene: Scene, target: Target, before: Belief, observation: Observation) -> bool:
    """Whether a tracked target has switched to a distractor. Asked if it jumped, or is TRACKING again after UNCERTAIN.

    Args:
        scene: The frame.
        target: With its belief after this frame; its memory of distractors is updated in place.
        before: Its belief in the previous frame.
        observation: Of this frame.
    """
    step = _jump(target, observation)
    fell = before.relative(observation.score) < scene.observer.config.states.uncertain_score
    resumed = before.state is TrackState.UNCERTAIN and target.belief.state is TrackState.TRACKING
    if resumed or (step > JUMP and fell):
        return is_distractor(scene, target, observation, strict=False)
    memory, usual = target.distractors, target.recent_motion
    if memory is None or memory.cleared or step <= min(max(JUMP, USUAL * usual), max(SHIFT, UNUSUAL * usual)):
        return False
    memory.cleared = not _Candidate(scene, target, observation).was_elsewhere(tracked=True)
    return not memory.cleared


def _jump(target: Target, observation: Observation) -> float:
    """Distance from the target's predicted centre, in sqrt(w h)."""
    return float(np.linalg.norm(observation.place[0] - target.place[0]) / np.sqrt(np.prod(target.size)))


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
    candidate = _Candidate(scene, target, observation)
    known = kept.known_at(place, target.age, scene.observer.config.distractors.frames)
    return candidate.is_one_of(known) or candidate.was_near(strict) or candidate.was_elsewhere(far=strict)


class _Candidate:
    """A position in a frame that may be the target, and its comparison with the target's stored frames.

    Args:
        scene, target, observation: As in `is_distractor`.
    """

    def __init__(self, scene: Scene, target: Target, observation: Observation) -> None:
        self.scene, self.observer = scene, scene.observer
        self.target, self.observation, self._place = target, observation, observation.place
        kept, longest = target.distractors, scene.observer.config.distractors.frames
        frames = [(kept, longest), (kept.earlier, 2 * longest)] if kept else []
        # Objects have moved since: an old frame says nothing.
        self.memories = [memory for memory, age in frames if memory and target.age - memory.age <= age]

    @cached_property
    def template(self) -> Any:
        """Itself as a template, where the engine keeps it."""
        return self.scene.template(self.observation.place, self.target.fill)

    @cached_property
    def embedding(self) -> NDArray[np.float32]:
        """(1, C, h, w) host copy of `template`."""
        return self.observer.engine.to_host(self.template)

    @cached_property
    def own(self) -> float:
        """Its cosine to the target: in a stored frame, or to the most similar view in its bank."""
        return max([self._like_bank, *(self._like_target(memory) for memory in self.memories)])

    @cached_property
    def _like_bank(self) -> float:
        return self.target.bank.likeness(self.embedding)

    def is_one_of(self, known: Sequence[KnownDistractor]) -> bool:
        """Whether it resembles a distractor that may have come there more than the target; that one is moved."""
        likest = max(known, key=lambda other: self._cosine(other.embedding), default=None)
        if likest is None or self._cosine(likest.embedding) < self.own:
            return False
        likest.seen(self.observation.place[0], self.target.age, self.embedding)
        return True

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
            like = max(self._like_target(memory), self._like_bank)
            lead = self._like(before, (other.centre, other.size)) - like
            least = max(self.observation.logit - self.observer.config.redetection.drop, ALIKE)
            return self._remembered(lead > (-AMBIGUOUS if strict and other.logit >= least else AMBIGUOUS))
        return False

    def was_elsewhere(self, tracked: bool = False, far: bool = False) -> bool:
        """Whether, matched backwards in a stored frame, it finds something outside the target that it resembles more.

        Args:
            tracked: It is a tracked target that jumped with a high score: nothing is asked if it resembles the target
                enough, and the last frame is asked first.
            far: Whether to search farther: a re-detection may have come from anywhere.
        """
        if not self.memories or (tracked and self._like_bank >= UNLIKE):
            return False
        if not tracked:
            return self._remembered(any(self._find_in(memory, far=far) for memory in self.memories))
        last = self.target.last
        answer = self._find_in(last, tracked) if last and self.target.age - last.age <= LAST else None
        if answer is None and self.own >= UNLIKE:
            return False
        answers = (self._find_in(memory, tracked) for memory in self.memories)
        return self._remembered(answer if answer is not None else next((a for a in answers if a is not None), False))

    def _find_in(self, view: StoredView, tracked: bool = False, far: bool = False) -> bool | None:
        """Matches it backwards in a stored frame.

        Args:
            view: The frame.
            tracked: As in `was_elsewhere`.
            far: As in `was_elsewhere`.

        Returns:
            True: something outside the target resembles it more than the target does. False: what it finds is the
            target. None: neither.
        """
        observer, before, (centre, size) = self.observer, Scene(self.observer, view.frame), view.seen_from(self._place)
        if view.window is not None:
            crops = [Crop(0.0, 0.0, 1.0, view.window.size)]
        else:
            width, extent = self._reach(view, tracked, far), np.array(before.extent)
            side = observer.side(size) * width / observer.sizes[0]
            within = np.minimum(side, extent) / 2
            crops = [Crop.around(np.clip(centre, within, extent - within), side, width)]
        response, windows = before.match(self.template, crops, self.target.fill), [(crop, 1.0) for crop in crops]
        places = weigh_windows(response.score, response.boxes, windows, size, observer.stride, observer.config)
        middle, extent_then = view.seen_from((view.centre, view.size))
        apart = (BESIDE if view.window is None else JUMP) * float(np.sqrt(np.prod(extent_then)))
        at_target = np.linalg.norm(places.centres - middle, axis=1) < apart
        itself = float(places.scores[at_target].max(initial=0.0)) if tracked else 0.0
        value = np.where(at_target, 0.0, places.scores)
        for _ in range(MOST_FOUND):
            best = int(np.argmax(value))
            if value[best] < max(ANSWER[tracked], itself):
                break
            like = self._like(before, (places.centres[best], places.sizes[best]))
            if like >= SAME[tracked] and like - self.own > LEAD:
                return True
            near = np.linalg.norm(places.centres - places.centres[best], axis=1) < APART * float(np.sqrt(np.prod(size)))
            value = np.where(near, 0.0, value)
        return False if itself >= ITSELF else None

    def _reach(self, view: StoredView, tracked: bool, far: bool) -> int:
        """Side of the window that a stored frame is searched in, crop pixels: what isn't beside the target may have
        moved by several sizes since, the farther the longer ago; at most the frame."""
        observer = self.observer
        template, full = observer.sizes
        if tracked and _jump(self.target, self.observation) <= JUMP:
            return full
        if not far:
            return observer.window
        times = REACHES[view is not self.memories[0]]
        whole = max(view.frame.shape[:2]) / observer.side(self.observation.place[1]) * template
        cells = math.ceil(min(times * (full - 1), max(whole, full - 1)) / observer.stride)
        return cells * observer.stride + 1

    def _like(self, before: Scene, place: tuple[Vector, Vector]) -> float:
        """Cosine to a position of a stored frame, over the target's cells."""
        return self._cosine(before.embedding(place, self.target.fill))

    def _like_target(self, memory: DistractorMemory) -> float:
        """Cosine to the target in a stored frame."""
        if memory.embedding is None:
            before = Scene(self.observer, memory.frame)
            memory.embedding = before.embedding((memory.centre, memory.size), self.target.fill)
        return self._cosine(memory.embedding)

    def _cosine(self, known: NDArray[np.float32]) -> float:
        return float(similarity(known, self.embedding, self.observer.uncompared_channels)[0, 0])

    def _remembered(self, other: bool) -> bool:
        """Stores its position as that of a distractor, if it is one."""
        if other and self.target.distractors:
            place, age = self.observation.place[0], self.target.age
            self.target.distractors.others.append(KnownDistractor(place, age, self.embedding))
        return other


def _other_in(before: Scene, target: Target, memory: DistractorMemory, place: Vector) -> Other | None:
    """The strongest response near a position in a stored frame, outside the target."""
    observer = before.observer
    crop = Crop.around(place, observer.side(memory.size) * observer.sizes[1] / observer.sizes[0], observer.sizes[1])
    response = before.match(target.bank.first, [crop], target.fill)
    boxes = None if response.boxes is None else response.boxes[0]
    return memory.other_near(response.score[0], boxes, crop, observer.stride, place)


def pass_over(scene: Scene, target: Target, near: Observation) -> tuple[Observation, list[Vector]]:
    """The best observation that is not of a known distractor, and the positions of the distractors skipped."""
    avoid: list[Vector] = []
    observer, kept = scene.observer, target.distractors
    while kept is not None and near.weighed is not None and len(avoid) < MOST_OTHERS:
        if target.drop(near.logit) < -CLEARLY_BETTER:
            break
        known = kept.known_at(near.place[0], target.age, observer.config.distractors.frames)
        if not known:
            break
        if near.score < LEAST_HOPE:
            known[0].seen(near.place[0], target.age)
        elif not _Candidate(scene, target, near).is_one_of(known):  # its place alone doesn't tell
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
