"""TRACKING, UNCERTAIN, LOST: from a score in each frame to a state that doesn't flicker. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tracker.config import TrackingConfig
from tracker.types import TrackState

RISE, FALL, LOWEST_LEVEL = 0.2, 0.05, 0.6
"""The usual score follows a better one fast and a worse one slowly, so that slow drift doesn't pass for usual."""


def log_odds(p: float) -> float:
    """log(p / (1 - p)), finite."""
    p = min(max(p, 1e-3), 1 - 1e-3)
    return math.log(p / (1 - p))


@dataclass(frozen=True)
class Belief:
    """The state and what has to be counted for the next one.

    Attributes:
        state: Where it stands.
        low: Frames in a row below `lost_score`.
        high: Frames in a row at or above `sure_score`.
        doubt: What has spoken against the target in these frames: log-odds of their scores below `lost_score`, added
            up.
        unsure: Frames since the target was TRACKING last.
        level: The usual score of this target, smoothed; thresholds are shares of it, so that a target that is hard to
            see, with a score that is never high, is not taken for a LOST one, and a sudden drop is told early.
    """

    state: TrackState = TrackState.TRACKING
    low: int = 0
    doubt: float = 0.0
    high: int = 0
    unsure: int = 0
    level: float = 1.0

    def relative(self, score: float) -> float:
        """A score as a share of the usual one."""
        return min(score / self.level, 1.0)

    @property
    def lost(self) -> bool:
        return self.state is TrackState.LOST


def next_belief(belief: Belief, score: float, config: TrackingConfig, response: float = 0.0) -> Belief:
    """The state after one more frame.

    Two thresholds with a gap keep it from flickering: below `uncertain_score` a target is UNCERTAIN, but only
    `sure_score`
    makes it TRACKING again. LOST stays LOST here: only a detection ends it (`found`).

    Args:
        belief: Before the frame.
        score: Calibrated score of the frame, in [0, 1].
        config: Thresholds and numbers of frames.
        response: The network's own score at the place, in [0, 1].
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
    """The belief once a LOST target was found."""
    return Belief(level=belief.level)


def resumed(belief: Belief) -> Belief:
    """The belief once the best guess for a LOST target has held for long: it is UNCERTAIN again."""
    return Belief(TrackState.UNCERTAIN, unsure=1, level=belief.level)


def missing() -> Belief:
    """The belief in a target that was not seen yet in this video (`find`)."""
    return Belief(state=TrackState.LOST)
