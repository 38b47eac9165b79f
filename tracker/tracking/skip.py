"""Frames that the network leaves out: points carry the box of a target in a calm scene.

A look that finds the target TRACKING, with a high score and little motion, makes its frame a key frame
(`tracker.tracking.median_flow`). In the next frames points are followed from there, and carry the box as long as they
agree, come back, and the picture in the box stays alike; else, and after `skip.frames` frames in any case (after one
where the target's width or height changes), the network looks. What it finds then is compared with where the points
stand: where they go elsewhere than the target (its background, its limbs), nothing is skipped for some looks. Points
drift, so each look starts anew from its own box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracker.config import TrackingConfig
from tracker.tracking.median_flow import Carried, KeyFrame
from tracker.types import TrackState

if TYPE_CHECKING:
    from tracker.tracking.observer import Scene
    from tracker.tracking.target import Target

WAIT, LONGEST_WAIT = 1, 8
"""Looks without a key frame after points that did not carry, twice as many each time in a row: trying costs time,
too."""
STEADY = 0.8
"""Share of the past in the change of a size."""


@dataclass
class Skip:
    """What is kept of a target between two looks.

    Attributes:
        key: The frame of the last look, or None where no frame is to be skipped.
        row: Frames skipped since.
        most: How many may be.
        hold: Looks for which no frame is skipped.
        wait: For how many it is not tried where the points don't carry next time.
        score: Of the last look.
        guess: Where the points carry the box in a frame that the network looks at.
        size: Width and height in the frame before, or None.
        growth: Smoothed change of their logarithms in a frame.
    """

    key: KeyFrame | None = None
    row: int = 0
    most: int = 0
    hold: int = 0
    wait: int = WAIT
    score: float = 0.0
    guess: Carried | None = None
    size: tuple[float, float] | None = None
    growth: tuple[float, float] = (0.0, 0.0)

    def measure(self, width: float, height: float) -> None:
        """Takes the target's size in the next frame."""
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
        target: Changed in place where it is carried.
        scene: The frame.
        config: `skip` and the bounds on a box.

    Returns:
        Whether it was carried; else the network has to look.
    """
    skip, limits = target.skip, config.skip
    key, skip.key, skip.guess = skip.key, None, None
    if key is None:
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
    """Takes what the network found in a frame, and makes it a key frame where the next ones may be skipped.

    Args:
        target: Settled.
        score: Of the look.
        scene: The frame.
        config: As in `carry`.
    """
    skip, limits = target.skip, config.skip
    skip.hold = max(skip.hold - 1, 0)
    skip.measure(*target.size.tolist())
    if skip.guess is not None:
        change = abs(math.log(math.sqrt(float(skip.guess.size.prod()) / float(target.size.prod()))))
        if max(_distance(target, skip.guess), change) > limits.error:
            skip.hold = limits.hold
    skip.key, skip.guess, skip.row, skip.score = None, None, 0, score
    settled = target.age - target.found_at >= limits.after and target.belief.state is TrackState.TRACKING
    change = max(map(abs, skip.growth))
    calm = settled and target.recent_motion <= limits.motion and change <= max(limits.change, limits.turning)
    if calm and not skip.hold and target.belief.relative(score) >= limits.score:
        skip.key = KeyFrame(scene, target.centre, target.size)
        skip.most = limits.frames if change <= limits.change else 1


def _distance(target: Target, found: Carried) -> float:
    """Between the target's centre and that of the points, as a share of sqrt(w h)."""
    dx, dy = (found.centre - target.centre).tolist()
    return math.hypot(dx, dy) / math.sqrt(float(target.size.prod()))
