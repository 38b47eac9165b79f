"""Where targets are expected and where they move, of one target or of hundreds: their numbers side by side in arrays,
since a call of numpy takes as long for hundreds as for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.config import TrackingConfig
from tracker.tracking import motion
from tracker.tracking.arrays import rows_of
from tracker.types import TrackState

if TYPE_CHECKING:
    from tracker.tracking.motion import Shift
    from tracker.tracking.observation import Observation
    from tracker.tracking.target import Target

Rows = NDArray[np.float64]

CALMING = 0.8
"""How fast a large step is forgotten, by frame."""
STEADY = 0.7
"""Share of the past in a target's velocity."""


def sides(sizes: Rows) -> Rows:
    """(...,) sqrt(w h) of (..., 2) widths and heights."""
    return np.asarray(np.sqrt(sizes[..., 0] * sizes[..., 1]))


def predict(targets: Sequence[Target], shift: Shift | None, frame: tuple[int, int]) -> None:
    """Expects targets where their motion takes them in the next frame.

    Args:
        targets: Changed in place; a LOST one is expected nowhere.
        shift: The camera's, of use to those that are restless; None where it is not known.
        frame: (width, height) in pixels.
    """
    followed = []
    for target in targets:
        if target.lost:
            target.expected = None
        else:
            followed.append(target)
    if not followed:
        return
    centres = rows_of([target.centre for target in followed])
    carried = centres
    if shift is not None:
        restless = np.array([target.restless for target in followed])
        carried = np.where(restless[:, None], shift(centres), centres)
    places = motion.predict([target.motion for target in followed], centres, carried)
    for target, place in zip(followed, np.minimum(np.maximum(places, 0.0), frame), strict=True):
        target.expected = place


def follow(
    targets: Sequence[Target], observations: Sequence[Observation], config: TrackingConfig, frame: tuple[int, int]
) -> None:
    """Moves targets to the places that were found. An UNCERTAIN one keeps its size and makes small steps where
    `tracking.states.uncertain_motion` says so.

    Args:
        targets: Changed in place.
        observations: What was found of each; all by one head.
        config: Rates and bounds.
        frame: (width, height) in pixels.
    """
    has_size = observations[0].found.width is not None
    found = np.array(
        [
            (f.dx, f.dy, f.width or 0.0, f.height or 0.0, f.weight, f.scale, c.left, c.top, c.scale, c.size)
            for f, c in ((one.found, one.crop) for one in observations)
        ],
        dtype=np.float64,
    )
    offsets, scale, middle = found[:, :2], found[:, 8:9], found[:, 9:] / 2
    offsets = np.where(np.isfinite(offsets), offsets / scale, 0.0)
    held = rows_of([one for t in targets for one in (t.centre, t.size, t.box_size)]).reshape(-1, 3, 2)
    centres, sizes, boxes = held[:, 0], held[:, 1], held[:, 2]
    steps = found[:, 6:8] + middle / scale + offsets - centres
    weight = found[:, 4:5]
    # The size follows as far after frames without a look as it would have with one in each.
    looks = np.array([1 + target.skip.row for target in targets])[:, None]
    wanted, rate = sizes * found[:, 5:6], np.array(config.size_lr)
    if has_size:
        wanted, rate = found[:, 2:4] / scale, 1 - _repeated(1 - config.size_lr * weight, looks)
    new = (1 - rate) * sizes + rate * wanted
    finite = np.isfinite(new).all(axis=1, keepdims=True)
    new = new_boxes = np.where(finite, new, sizes)
    if has_size:
        # A damped size steadies the search window, and comes late where the target grows: the box has its own.
        rate = 1 - _repeated(1 - np.minimum(config.box_size_lr * np.sqrt(np.maximum(weight, 0.0)), 1.0), looks)
        own = finite & ~np.array([target.lost for target in targets])[:, None]
        new_boxes = np.where(own, (1 - rate) * boxes + rate * wanted, new)
    creeps = np.array([config.states.uncertain_motion > 0 and t.belief.state is TrackState.UNCERTAIN for t in targets])
    if creeps.any():
        _creep([targets[k] for k in np.flatnonzero(creeps).tolist()], steps[creeps], config, frame)
        if creeps.all():
            return
        stay = np.flatnonzero(~creeps)
        targets = [targets[k] for k in stay.tolist()]
        centres, steps, new, new_boxes = (one[stay] for one in (centres, steps, new, new_boxes))
    move(targets, centres + steps, new, new_boxes, config, frame)


def _repeated(share: Rows, times: NDArray[np.int64]) -> Rows:
    """`share` to the power of `times`, both (N, 1): by products, which are the same for one and for many."""
    out = share
    for count in range(2, int(times.max()) + 1):
        out = np.where(times >= count, out * share, out)
    return out


def _creep(targets: Sequence[Target], steps: Rows, config: TrackingConfig, frame: tuple[int, int]) -> None:
    """Small steps of UNCERTAIN targets, (N, 2) at most."""
    held = rows_of([one for t in targets for one in (t.centre, t.size, t.box_size)]).reshape(-1, 3, 2)
    longest = config.states.uncertain_motion * sides(held[:, 1])
    length = np.sqrt(steps[:, 0] * steps[:, 0] + steps[:, 1] * steps[:, 1])
    share = np.minimum(1.0, longest / np.maximum(length, 1e-9))[:, None]
    for target in targets:
        target.recent_motion = 1.0
    place(targets, held[:, 0] + steps * share, held[:, 1], held[:, 2], config, frame)


def move(
    targets: Sequence[Target], centres: Rows, sizes: Rows, boxes: Rows, config: TrackingConfig, frame: tuple[int, int]
) -> None:
    """Sets boxes as `place` does, and takes the steps into velocity and motion."""
    held = rows_of([one for t in targets for one in (t.centre, t.velocity)]).reshape(-1, 2, 2)
    before, velocity = held[:, 0], held[:, 1]
    centres, sizes = place(targets, centres, sizes, boxes, config, frame)
    side, moved = sides(sizes), centres - before
    motion.observe([target.motion for target in targets], before, centres, side)
    recent = np.array([target.recent_motion for target in targets])
    recent = np.maximum(CALMING * recent, np.sqrt(moved[:, 0] * moved[:, 0] + moved[:, 1] * moved[:, 1]) / side)
    velocity = STEADY * velocity + (1 - STEADY) * moved
    for target, pace, stir in zip(targets, velocity, recent.tolist(), strict=True):
        target.velocity, target.recent_motion = pace, stir
        if target.belief.state is TrackState.TRACKING:
            target.remember()


def place(
    targets: Sequence[Target], centres: Rows, sizes: Rows, boxes: Rows, config: TrackingConfig, frame: tuple[int, int]
) -> tuple[Rows, Rows]:
    """Sets where targets are, finite and in the frame, and within `max_growth` of their first size (then of the frame,
    then of `min_size`).

    Args:
        targets: N, changed in place.
        centres, sizes, boxes: (N, 2) of each `Target.centre`, `size` and `box_size`.
        config: Bounds.
        frame: (width, height) in pixels.

    Returns:
        (N, 2) centres and sizes as they were set.
    """
    both, first = np.stack([sizes, boxes]), sides(rows_of([target.first_size for target in targets]))
    side, growth = sides(both), config.max_growth
    factor = np.minimum(np.maximum(side, first / growth), first * growth) / side
    most = np.maximum(frame, config.min_size)
    sizes, boxes = np.minimum(np.maximum(both * factor[..., None], config.min_size), most)
    centres = np.minimum(np.maximum(centres, 0.0), frame)
    for target, centre, size, box in zip(targets, centres, sizes, boxes, strict=True):
        target.centre, target.size, target.box_size = centre, size, box
    return centres, sizes
