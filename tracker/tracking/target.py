"""The state of one target between frames, and the bounds on its box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tracker.config import TrackingConfig
from tracker.crops import Colour
from tracker.tracking import moves
from tracker.tracking.distractors import DistractorMemory
from tracker.tracking.looks import Individual, Looks
from tracker.tracking.motion import MotionModel
from tracker.tracking.online_filter import OnlineFilter
from tracker.tracking.redetection_search import Redetection
from tracker.tracking.skip import Skip
from tracker.tracking.state_machine import Belief
from tracker.tracking.template_memory import TemplateBank
from tracker.types import Box, Image, TrackState

Vector = NDArray[np.float64]

EARLIER = 4
"""Gaps after which the earlier of the two kept frames is replaced."""
REFERENCE_RISE = 0.1
"""Share of a better response in the usual one."""


@dataclass
class Target:
    """One target.

    Attributes:
        centre, size: (2,) x, y and w, h in frame pixels: where it is, or, once LOST, where it was TRACKING last. The
            search window goes by this size, which is damped.
        box_size: (2,) w, h of `box`, which follow faster; `size` while LOST.
        first_size: (2,) size in the first frame.
        fill: Colour of what lies outside the frame.
        bank: Its views.
        belief: Its state.
        sure_centre, sure_size: (2,) where it was TRACKING last.
        velocity: (2,) smoothed step in a frame, pixels.
        recent_motion: Its largest recent step, as a share of sqrt(w h); 1 at first.
        reference_logit: Reference: running mean of its response while TRACKING, a logit; None before that.
        reference_frames: Number of frames behind `peak`.
        online_peak, online_sights: The same of the online filter's response.
        age, found_at: Frames since the first; the age at which it was found again last.
        redetection: The search for it, while it is LOST.
        filter: What was learnt of it and of its background in this video, or None.
        distractors: A late frame in which it was surely seen, and what stood elsewhere in it, or None.
        motion: Its motion, and the camera's.
        expected: (2,) where its centre is expected in this frame, or None.
        watched: Whether the camera was watched for it in the frame before.
        skip: What is kept between two looks of the network.
        looks, individual: Pictures of it through this footage, where it may be saved; what a known one is judged by.
    """

    centre: Vector
    size: Vector
    first_size: Vector
    fill: Colour
    bank: TemplateBank
    belief: Belief = field(default_factory=Belief)
    box_size: Vector = field(default_factory=lambda: np.ones(2))
    sure_centre: Vector = field(default_factory=lambda: np.zeros(2))
    sure_size: Vector = field(default_factory=lambda: np.ones(2))
    velocity: Vector = field(default_factory=lambda: np.zeros(2))
    recent_motion: float = 1.0
    reference_logit: float | None = None
    reference_frames: int = 0
    online_peak: float | None = None
    online_sights: int = 0
    age: int = 0
    found_at: int = 0
    redetection: Redetection | None = None
    filter: OnlineFilter | None = None
    distractors: DistractorMemory | None = None
    motion: MotionModel = field(default_factory=MotionModel)
    expected: Vector | None = None
    watched: bool = False
    skip: Skip = field(default_factory=Skip)
    looks: Looks | None = None
    individual: Individual | None = None

    def __post_init__(self) -> None:
        self.box_size = self.size
        self.remember()

    @property
    def lost(self) -> bool:
        return self.belief.state is TrackState.LOST

    @property
    def box(self) -> Box:
        """What is reported: x, y, w, h in frame pixels."""
        (x, y), (w, h) = self.centre.tolist(), self.box_size.tolist()
        return np.array([x - w / 2, y - h / 2, w, h])

    @property
    def place(self) -> tuple[Vector, Vector]:
        """Centre and size of where to look next: a place to be confirmed, then the trail of a target just lost, then
        the last."""
        if self.redetection is not None:
            return self.redetection.pending or self.redetection.candidate or (self.centre, self.size)
        return (self.centre if self.expected is None else self.expected), self.size

    @property
    def restless(self) -> bool:
        """Whether the camera's shift is of use to it."""
        return self.watched and self.motion.restless and not self.lost

    @property
    def watchful(self) -> bool:
        """Whether the camera's shift to the next frame may be of use to it."""
        return self.motion.watchful and not self.lost

    def waits(self, config: TrackingConfig) -> bool:
        """Whether a LOST target has no place that is looked at closely: neither its trail nor one that was found."""
        redetection = self.redetection
        if config.redetection.work <= 0 or redetection is None or redetection.pending or redetection.candidate:
            return False
        return redetection.frames > config.redetection.follow_frames or not redetection.trail

    def update_reference_logit(self, logit: float, fall: float, online: float | None = None) -> None:
        """Updates the reference responses (matcher, online filter) with those of a TRACKING frame.

        Args:
            logit: The matcher's response.
            fall: Share of a worse response in the usual one (`TrackingConfig.states.peak_fall`).
            online: The online filter's response, where there is one.
        """
        self.reference_frames += 1
        self.reference_logit = _usual(self.reference_logit, logit, fall, self.reference_frames)
        if online is not None:
            self.online_sights += 1
            self.online_peak = _usual(self.online_peak, online, fall, self.online_sights)

    def keep(self, copy: Callable[[], Image], config: TrackingConfig) -> None:
        """Keeps a copy of a frame in which it was surely seen, now and then: the caller may use its picture again."""
        waited = self.distractors is None or self.age - self.distractors.age >= config.distractors.gap
        if config.distractors.frames > 0 and waited:
            last, earlier = self.distractors, None
            if last is not None:
                far = last.earlier is None or self.age - last.earlier.age >= EARLIER * config.distractors.gap
                earlier = replace(last, earlier=None, others=[]) if far else last.earlier
            self.distractors = DistractorMemory(copy(), self.centre, self.size, self.age, earlier)

    def drop(self, logit: float) -> float:
        """How far a response lies below the reference, in logits; 0 where there is no reference."""
        return 0.0 if self.reference_logit is None else self.reference_logit - logit

    def remember(self) -> None:
        """Stores the current centre and size as the last reliable ones."""
        self.sure_centre, self.sure_size = self.centre, self.size

    def lose(self, seen: Vector | None = None) -> None:
        """LOST from here on: the search starts at the last sure place.

        Args:
            seen: (2,) where something was seen last: it is followed on from there, as the best guess. None: the target
                waits at the last sure place.
        """
        self.redetection = Redetection(trail=seen is not None)
        self.velocity = np.zeros(2)
        if seen is None:
            self.centre, self.size = self.sure_centre, self.sure_size
        else:
            self.redetection.strays(seen, self.centre, self.size)
        self.box_size = self.size

    def lock(
        self, centre: Vector, size: Vector, belief: Belief, config: TrackingConfig, frame: tuple[int, int]
    ) -> None:
        """Sets the target found again, at this position."""
        self.belief, self.redetection, self.velocity = belief, None, np.zeros(2)
        self.found_at, self.recent_motion = self.age, 1.0
        self._set(centre, size, config, frame)
        self.remember()

    def move(self, centre: Vector, size: Vector, config: TrackingConfig, frame: tuple[int, int]) -> None:
        """Sets where a LOST target is followed as the best guess."""
        self._set(centre, size, config, frame)

    def resume(self, belief: Belief) -> None:
        """Reported again where it is followed; the last sure place stays, for a search."""
        self.belief, self.redetection, self.found_at, self.recent_motion = belief, None, self.age, 1.0

    def carry(self, centre: Vector, size: Vector, config: TrackingConfig, frame: tuple[int, int]) -> None:
        """Moves to where points carry it, in a frame that the network does not look at; what it was seen as stays."""
        self.age += 1
        if config.motion.enabled:
            moves.predict([self], None, frame)
        self.watched, box = False, self.box_size * (size / self.size)
        moves.move([self], centre.tolist(), size.tolist(), box.tolist(), config, frame)

    def fit(self, config: TrackingConfig, frame: tuple[int, int]) -> None:
        """Clips the box to the frame, whose size may have changed."""
        self._set(self.centre, self.size, config, frame, self.box_size)

    def drift(self, config: TrackingConfig, frame: tuple[int, int]) -> None:
        """Moves an occluded target on with its velocity."""
        self._set(self.centre + self.velocity, self.size, config, frame, self.box_size)

    def _set(
        self, centre: Vector, size: Vector, config: TrackingConfig, frame: tuple[int, int], box: Vector | None = None
    ) -> None:
        """See `moves.place`; `box` None: as large as `size`."""
        moves.place([self], centre.tolist(), size.tolist(), (size if box is None else box).tolist(), config, frame)


def _usual(before: float | None, now: float, fall: float, count: int) -> float:
    """A running mean of `count` responses that rises fast and falls slowly."""
    if before is None:
        return now
    rate = max(REFERENCE_RISE if now > before else fall, 1 / count)
    return (1 - rate) * before + rate * now
