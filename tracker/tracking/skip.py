"""Frames without the network: points move the box of a target in a calm scene.

An observation with the target TRACKING, a high score and little motion makes its frame a key frame
(`tracker.tracking.median_flow`). In the next frames points are tracked from there, and move the box as long as they
agree, have a small forward-backward error, and the image in the box stays similar; otherwise, and after `skip.frames`
frames in any case (after one if the target's width or height changes), the network runs. Its result is then compared
with the points: if they moved elsewhere than the target (with the background, or a limb), no frame is skipped for some
time. Points drift, so each observation starts again from its own box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracker.config import TrackingConfig
from tracker.tracking.median_flow import Carried, KeyFrame
from tracker.types import TrackState

if TYPE_CHECKING:
    from tracker.tracking.scene import Scene
    from tracker.tracking.target import Target

WAIT, LONGEST_WAIT = 1, 8
"""Observations without a key frame after points failed, doubled with each consecutive failure, since trying costs time
too."""
STEADY = 0.8
"""Weight of the past in the change of a size."""


@dataclass
class Skip:
    """The state of a target between two observations.

    Attributes:
        key: The key frame, or None if no frame is to be skipped.
        row: Number of frames skipped since.
        most: Greatest number of frames to skip.
        hold: Number of observations for which no frame is skipped.
        wait: Number of observations without a key frame after the next failure of the points.
        score: Score of the last observation.
        guess: The box moved by points in a frame in which the network runs.
        proved: Whether points and network agreed so well in the last such frame that they aren't compared in the next.
        size: Width and height in the previous frame, or None.
        growth: Smoothed change of their logarithms per frame.
    """

    key: KeyFrame | None = None
    row: int = 0
    most: int = 0
    hold: int = 0
    wait: int = WAIT
    score: float = 0.0
    guess: Carried | None = None
    proved: bool = False
    size: tuple[float, float] | None = None
    growth: tuple[float, float] = (0.0, 0.0)

    def measure(self, width: float, height: float) -> None:
        """Records the target's size in the next frame."""
        before, self.size = self.size, (width, height)
        if before is not None:
            across, down = math.log(width / before[0]), math.log(height / before[1])
            self.growth = (
                STEADY * self.growth[0] + (1 - STEADY) * across,
                STEADY * self.growth[1] + (1 - STEADY) * down,
            )


def carry(target: Target, scene: Scene, config: TrackingConfig) -> bool:
    """Moves a target by the points of its key frame.

    Args:
        target: Changed in place if it is moved.
        scene: The frame.
        config: `skip` and the bounds on a box.

    Returns:
        Whether it was moved; if not, the network has to run.
    """
    skip, limits = target.skip, config.skip
    key, skip.key, skip.guess = skip.key, None, None
    if key is None:
        return False
    if skip.row >= skip.most and skip.proved:
        skip.proved = False
        return False
    found = key.carry(scene, target.centre + target.motion.apparent)
    if found is None or found.agree < limits.agree or found.likeness < limits.likeness:
        skip.hold, skip.wait = skip.wait + 1, min(2 * skip.wait, LONGEST_WAIT)
        return False
    if _distance(target, found) > limits.motion:
        return False
    if skip.row >= skip.most:
        skip.guess = found
        return False
    skip.key, skip.row, skip.wait = key, skip.row + 1, WAIT
    target.carry(found.centre, found.size, config, scene.extent)
    skip.measure(*target.size.tolist())
    return True


def looked(target: Target, score: float, scene: Scene, config: TrackingConfig) -> None:
    """Processes an observation, and makes its frame a key frame if the next ones may be skipped.

    Args:
        target: The target after the frame.
        score: Score of the observation.
        scene: The frame.
        config: As in `carry`.
    """
    skip, limits = target.skip, config.skip
    skip.hold = max(skip.hold - 1, 0)
    skip.measure(*target.size.tolist())
    if skip.guess is not None:
        change = abs(math.log(math.sqrt(float(skip.guess.size.prod()) / float(target.size.prod()))))
        error = max(_distance(target, skip.guess), change)
        skip.proved = error <= limits.error / 2
        if error > limits.error:
            skip.hold = limits.hold
    skip.key, skip.guess, skip.row, skip.score = None, None, 0, score
    settled = target.age - target.found_at >= limits.after and target.belief.state is TrackState.TRACKING
    change = max(map(abs, skip.growth))
    calm = settled and target.recent_motion <= limits.motion and change <= max(limits.change, limits.turning)
    if calm and not skip.hold and target.belief.relative(score) >= limits.score:
        skip.key = KeyFrame(scene, target.centre, target.size)
        skip.most = limits.frames if change <= limits.change else 1


def _distance(target: Target, found: Carried) -> float:
    """Distance between the target's centre and that of the points, as a fraction of sqrt(w h)."""
    dx, dy = (found.centre - target.centre).tolist()
    return math.hypot(dx, dy) / math.sqrt(float(target.size.prod()))
