"""The state of one target between frames, and the bounds on its box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tracker.config import TrackingConfig
from tracker.crops import Colour
from tracker.tracking import moves
from tracker.tracking.distractors import DistractorMemory, StoredView
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
"""Number of gaps after which the earlier of the two stored frames is replaced."""
REFERENCE_RISE = 0.1
"""Learning rate of the reference response for a higher response."""


@dataclass
class Target:
    """The state of one target.

    Attributes:
        centre, size: (2,) x, y and w, h in frame pixels: its box, or, once LOST, its last reliable one. The search
            window uses this size, which is damped.
        box_size: (2,) w, h of `box`, which are less damped; `size` while LOST.
        first_size: (2,) size in the first frame.
        fill: Padding colour outside the frame.
        bank: Its template bank.
        belief: Its state and counters.
        sure_centre, sure_size: (2,) where it was last TRACKING.
        velocity: (2,) smoothed step per frame, pixels.
        recent_motion: The largest recent distance from its predicted centre, as a fraction of sqrt(w h); 1 at first.
        reference_logit: Reference response: running mean of its logit while TRACKING; None before that.
        reference_frames: Number of frames in `reference_logit`.
        online_peak, online_sights: The same for the online filter's response.
        age, found_at: Frames since the first; the age at its last re-detection.
        redetection: The search for it, while it is LOST.
        filter: Its online filter, or None.
        distractors: A recent reliable frame and the distractors in it, or None.
        last: What the network saw of it in the last frame, if it was tracked reliably there.
        motion: Its motion model.
        expected: (2,) its predicted centre in this frame, or None.
        watched: Whether the camera's motion was observed for it in the previous frame.
        skip: State between two observations by the network.
        looks, individual: Views of it in this footage, if it may be saved; the descriptors of a known target.
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
    last: StoredView | None = None
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
        """The reported box: x, y, w, h in frame pixels."""
        (x, y), (w, h) = self.centre.tolist(), self.box_size.tolist()
        return np.array([x - w / 2, y - h / 2, w, h])

    @property
    def place(self) -> tuple[Vector, Vector]:
        """Centre and size of the next search: a candidate to be confirmed, then the best guess, then the last
        position."""
        if self.redetection is not None:
            return self.redetection.pending or self.redetection.candidate or (self.centre, self.size)
        return (self.centre if self.expected is None else self.expected), self.size

    @property
    def restless(self) -> bool:
        """Whether the camera's motion is useful for it."""
        return self.watched and self.motion.restless and not self.lost

    @property
    def watchful(self) -> bool:
        """Whether the camera's motion to the next frame may be useful for it."""
        return self.motion.watchful and not self.lost

    def waits(self, config: TrackingConfig) -> bool:
        """Whether a LOST target has neither a best guess nor a candidate to verify."""
        redetection = self.redetection
        if config.redetection.work <= 0 or redetection is None or redetection.pending or redetection.candidate:
            return False
        return redetection.frames > config.redetection.follow_frames or not redetection.trail

    def update_reference_logit(self, logit: float, fall: float, online: float | None = None) -> None:
        """Updates the reference responses (matcher, online filter) with those of a TRACKING frame.

        Args:
            logit: The matcher's response.
            fall: Learning rate for a lower response (`TrackingConfig.states.peak_fall`).
            online: The online filter's response, if it has one.
        """
        self.reference_frames += 1
        self.reference_logit = _usual(self.reference_logit, logit, fall, self.reference_frames)
        if online is not None:
            self.online_sights += 1
            self.online_peak = _usual(self.online_peak, online, fall, self.online_sights)

    def keep(self, copy: Callable[[], Image], config: TrackingConfig) -> None:
        """Stores a copy of a reliable frame from time to time; a copy, since the caller may reuse the image."""
        waited = self.distractors is None or self.age - self.distractors.age >= config.distractors.gap
        if config.distractors.frames > 0 and waited:
            last, earlier = self.distractors, None
            if last is not None:
                far = last.earlier is None or self.age - last.earlier.age >= EARLIER * config.distractors.gap
                earlier = replace(last, earlier=None, others=[]) if far else last.earlier
            self.distractors = DistractorMemory(copy(), self.centre, self.size, self.age, earlier=earlier)

    def drop(self, logit: float) -> float:
        """How far a response is below the reference, in logits; 0 without a reference."""
        return 0.0 if self.reference_logit is None else self.reference_logit - logit

    def remember(self) -> None:
        """Stores the current centre and size as the last reliable ones."""
        self.sure_centre, self.sure_size = self.centre, self.size

    def lose(self, seen: Vector | None = None) -> None:
        """Sets it LOST: the search starts at the last reliable position.

        Args:
            seen: (2,) last observed position: tracked from there as the best guess. None: the target stays at the last
                reliable position.
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
        """Sets it re-detected at this position."""
        self.belief, self.redetection, self.velocity = belief, None, np.zeros(2)
        self.found_at, self.recent_motion = self.age, 1.0
        self._set(centre, size, config, frame)
        self.remember()

    def move(self, centre: Vector, size: Vector, config: TrackingConfig, frame: tuple[int, int]) -> None:
        """Moves the best guess of a LOST target."""
        self._set(centre, size, config, frame)

    def resume(self, belief: Belief) -> None:
        """Reports it again at the best guess; the last reliable position is kept for a search."""
        self.belief, self.redetection, self.found_at, self.recent_motion = belief, None, self.age, 1.0

    def carry(self, centre: Vector, size: Vector, config: TrackingConfig, frame: tuple[int, int]) -> None:
        """Moves it by points, in a frame without the network; what was observed of it is unchanged."""
        self.age += 1
        if config.motion.enabled:
            moves.predict([self], None, frame)
        self.watched, box = False, self.box_size * (size / self.size)
        moves.move([self], centre.tolist(), size.tolist(), box.tolist(), config, frame)

    def fit(self, config: TrackingConfig, frame: tuple[int, int]) -> None:
        """Clips the box to the frame, whose size may have changed."""
        self._set(self.centre, self.size, config, frame, self.box_size)

    def drift(self, config: TrackingConfig, frame: tuple[int, int]) -> None:
        """Moves an occluded target with its velocity."""
        self._set(self.centre + self.velocity, self.size, config, frame, self.box_size)

    def _set(
        self, centre: Vector, size: Vector, config: TrackingConfig, frame: tuple[int, int], box: Vector | None = None
    ) -> None:
        """See `moves.place`; `box` None: equal to `size`."""
        moves.place([self], centre.tolist(), size.tolist(), (size if box is None else box).tolist(), config, frame)


def _usual(before: float | None, now: float, fall: float, count: int) -> float:
    """A running mean of `count` responses that rises fast and falls slowly."""
    if before is None:
        return now
    rate = max(REFERENCE_RISE if now > before else fall, 1 / count)
    return (1 - rate) * before + rate * now
