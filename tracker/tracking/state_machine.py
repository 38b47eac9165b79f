"""TRACKING, UNCERTAIN, LOST: from a score per frame to a state, with hysteresis. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tracker.config import TrackingConfig
from tracker.types import TrackState

RISE, FALL, LOWEST_LEVEL = 0.2, 0.05, 0.6
"""The usual score follows a higher one fast and a lower one slowly, so that slow drift doesn't become usual."""


def log_odds(p: float) -> float:
    """log(p / (1 - p)), finite."""
    p = min(max(p, 1e-3), 1 - 1e-3)
    return math.log(p / (1 - p))


@dataclass(frozen=True)
class Belief:
    """The state and the counters that determine the next one.

    Attributes:
        state: The state.
        low: Number of consecutive frames below `lost_score`.
        high: Number of consecutive frames at or above `sure_score`.
        doubt: Evidence against the target in these frames: sum of the log-odds of their scores below `lost_score`.
        unsure: Number of frames since the target was last TRACKING.
        level: The usual score of this target, smoothed; thresholds are fractions of it, so that a target that is hard
            to see, whose score is never high, is not declared LOST, and a sudden drop is detected early.
    """

    state: TrackState = TrackState.TRACKING
    low: int = 0
    doubt: float = 0.0
    high: int = 0
    unsure: int = 0
    level: float = 1.0

    def relative(self, score: float) -> float:
        """A score as a fraction of the usual one."""
        return min(score / self.level, 1.0)

    @property
    def lost(self) -> bool:
        return self.state is TrackState.LOST


def next_belief(belief: Belief, score: float, config: TrackingConfig, response: float = 0.0) -> Belief:
    """The state after one more frame.

    Two thresholds provide hysteresis: below `uncertain_score` a target is UNCERTAIN, but only `sure_score` makes it
    TRACKING again. LOST stays LOST here: only a detection ends it (`found`).

    Args:
        belief: Before the frame.
        score: Calibrated score of the frame, in [0, 1].
        config: Thresholds and numbers of frames.
        response: The network's own score at the position, in [0, 1].
    """
    if belief.lost:
        return belief
    share = belief.relative(score)
    low = belief.low + 1 if share < config.states.lost_score else 0
    doubt = belief.doubt + log_odds(config.states.lost_score) - log_odds(share) if low else 0.0
    high = belief.high + 1 if share >= config.states.sure_score else 0
    rate = RISE if score > belief.level else FALL
    level = max((1 - rate) * belief.level + rate * score, LOWEST_LEVEL)
    counted = Belief(belief.state, low, doubt, high, belief.unsure, level)
    enough = low >= config.states.lost_frames and doubt >= config.states.lost_evidence
    gone = enough if response < config.states.lost_peak else low >= config.states.lost_doubt_frames
    if gone:
        return replace(counted, state=TrackState.LOST, high=0, unsure=belief.unsure + 1, level=belief.level)
    if belief.state is TrackState.TRACKING:
        if share >= config.states.uncertain_score:
            return counted
        return replace(counted, state=TrackState.UNCERTAIN, unsure=1)
    if high >= config.states.sure_frames:
        return Belief(high=high, level=level)
    unsure = belief.unsure + 1
    state = TrackState.LOST if unsure > config.states.uncertain_frames else TrackState.UNCERTAIN
    return replace(counted, state=state, unsure=unsure)


def found(belief: Belief) -> Belief:
    """The belief after a LOST target was re-detected."""
    return Belief(level=belief.level)


def resumed(belief: Belief) -> Belief:
    """The belief after the best guess for a LOST target has persisted: it is UNCERTAIN again."""
    return Belief(TrackState.UNCERTAIN, unsure=1, level=belief.level)


def missing() -> Belief:
    """The belief of a target that was not seen yet in this video (`find`)."""
    return Belief(state=TrackState.LOST)
