"""Prediction and movement of targets, for one or for hundreds at once (`tracker.tracking.numbers`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracker.config import TrackingConfig
from tracker.tracking import motion
from tracker.tracking.numbers import Number, column, columns, module_of, numbers, values, vectors
from tracker.types import TrackState

if TYPE_CHECKING:
    from tracker.tracking.motion import Shift
    from tracker.tracking.observation import Observation
    from tracker.tracking.target import Target, Vector

CALMING = 0.8
"""Decay rate, per frame, of the largest recent error of the prediction."""
STEADY = 0.7
"""Weight of the past in a target's velocity."""

Pair = Sequence[Number]
"""x and y, or width and height."""


def predict(targets: Sequence[Target], shift: Shift | None, frame: tuple[int, int]) -> None:
    """Predicts the positions of targets in the next frame.

    Args:
        targets: Changed in place; a LOST one has no prediction.
        shift: The camera's motion, for targets that are restless; None if unknown.
        frame: (width, height) in pixels.
    """
    followed = [target for target in targets if not target.lost]
    if len(followed) < len(targets):
        for target in targets:
            target.expected = None
    if not followed:
        return
    centres: list[Vector] = [target.centre for target in followed]
    carried = centres
    if shift is not None:
        carried = [shift(target.centre) if target.restless else target.centre for target in followed]
    places = _in_frame(motion.predict([target.motion for target in followed], centres, carried), frame)
    for target, place in zip(followed, vectors(*places), strict=True):
        target.expected = place


def follow(
    targets: Sequence[Target], observations: Sequence[Observation], config: TrackingConfig, frame: tuple[int, int]
) -> None:
    """Moves targets to the observed positions. An UNCERTAIN one keeps its size and moves in small steps if
    `tracking.states.uncertain_motion` says so.

    Args:
        targets: Changed in place.
        observations: The observations, all from one head.
        config: Rates and bounds.
        frame: (width, height) in pixels.
    """
    creeping: list[bool] = []
    if config.states.uncertain_motion > 0:
        creeping = [target.belief.state is TrackState.UNCERTAIN for target in targets]
    if any(creeping) and len(targets) > 1:  # these move differently, one by one
        alone = [[k] for k, creeps in enumerate(creeping) if creeps]
        for group in ([k for k, creeps in enumerate(creeping) if not creeps], *alone):
            if group:
                follow([targets[k] for k in group], [observations[k] for k in group], config, frame)
        return
    found, windows = [one.found for one in observations], [one.crop for one in observations]
    dx, dy, weight, scaled = columns([(one.dx, one.dy, one.weight, one.scale) for one in found])
    left, top, scale, side = columns([(one.left, one.top, one.scale, float(one.size)) for one in windows])
    (x, y), size = numbers([target.centre for target in targets]), numbers([target.size for target in targets])
    xp, half = module_of(dx), side / 2 / scale
    dx, dy = (
        corner + half + xp.where(xp.isfinite(step), step / scale, 0.0) - at
        for corner, step, at in ((left, dx, x), (top, dy, y))
    )
    old_box = numbers([target.box_size for target in targets])
    if any(creeping):
        _creep(targets, (x, y), (dx, dy), size, old_box, config, frame)
        return
    if found[0].width is None:
        new = new_box = [(1 - config.size_lr) * old + config.size_lr * (old * scaled) for old in size]
    else:
        wanted = [number / scale for number in columns([(one.width or 0.0, one.height or 0.0) for one in found])]
        # After skipped frames the size changes by as much as with an observation in each of them.
        looks, lost = [1 + target.skip.row for target in targets], column([target.lost for target in targets])
        rate = 1 - _repeated(1 - config.size_lr * weight, looks)
        new = [(1 - rate) * old + rate * now for old, now in zip(size, wanted, strict=True)]
        # A damped size steadies the search window, but lags behind a growing target: the box has a size of its own.
        rate = 1 - _repeated(1 - xp.minimum(config.box_size_lr * xp.sqrt(xp.maximum(weight, 0.0)), 1.0), looks)
        new_box = [
            xp.where(lost, steady, (1 - rate) * old + rate * now)
            for steady, old, now in zip(new, old_box, wanted, strict=True)
        ]
    finite = xp.isfinite(new[0]) & xp.isfinite(new[1])
    new, new_box = ([xp.where(finite, now, old) for now, old in zip(one, size, strict=True)] for one in (new, new_box))
    move(targets, (x + dx, y + dy), new, new_box, config, frame)


def _repeated(share: Number, times: Sequence[int]) -> Number:
    """`share` to the power of `times`, by products: identical for one and for many."""
    out, where = share, module_of(share).where
    for count in range(2, max(times) + 1):
        out = where(column([count <= some for some in times]), out * share, out)
    return out


def _creep(
    targets: Sequence[Target],
    at: Pair,
    step: Pair,
    size: Pair,
    box: Pair,
    config: TrackingConfig,
    frame: tuple[int, int],
) -> None:
    """Limited steps of UNCERTAIN targets, frame pixels."""
    xp = module_of(step[0])
    longest = config.states.uncertain_motion * xp.sqrt(size[0] * size[1])
    share = xp.minimum(1.0, longest / xp.maximum(xp.sqrt(step[0] * step[0] + step[1] * step[1]), 1e-9))
    for target in targets:
        target.recent_motion = 1.0
    place(targets, (at[0] + step[0] * share, at[1] + step[1] * share), size, box, config, frame)


def move(
    targets: Sequence[Target], centres: Pair, sizes: Pair, boxes: Pair, config: TrackingConfig, frame: tuple[int, int]
) -> None:
    """Sets boxes as `place` does, and updates velocity and motion with the steps."""
    before = numbers([target.centre for target in targets])
    ahead = numbers([target.centre if target.expected is None else target.expected for target in targets])
    (x, y), (w, h) = place(targets, centres, sizes, boxes, config, frame)
    xp, dx, dy = module_of(x), x - before[0], y - before[1]
    side = xp.sqrt(w * h)
    motion.observe([target.motion for target in targets], before, (x, y), side)
    # The search window is centred on the prediction: only what that missed asks for a larger one.
    off = (x - ahead[0], y - ahead[1])
    recent = column([target.recent_motion for target in targets])
    recent = xp.maximum(CALMING * recent, xp.sqrt(off[0] * off[0] + off[1] * off[1]) / side)
    along, down = numbers([target.velocity for target in targets])
    paces = vectors(STEADY * along + (1 - STEADY) * dx, STEADY * down + (1 - STEADY) * dy)
    for target, pace, stir in zip(targets, paces, values(recent), strict=True):
        target.velocity, target.recent_motion = pace, stir
        if target.belief.state is TrackState.TRACKING:
            target.remember()


def place(
    targets: Sequence[Target], centres: Pair, sizes: Pair, boxes: Pair, config: TrackingConfig, frame: tuple[int, int]
) -> tuple[Pair, Pair]:
    """Sets the boxes of targets: finite, in the frame, and within `max_growth` of their first size (then of the frame,
    then of `min_size`).

    Args:
        targets: Changed in place.
        centres, sizes, boxes: `Target.centre`, `size` and `box_size` of each.
        config: Bounds.
        frame: (width, height) in pixels.

    Returns:
        Centres and sizes as they were set.
    """
    w, h = numbers([target.first_size for target in targets])
    first = module_of(w).sqrt(w * h)
    centres, sizes, boxes = (
        _in_frame(centres, frame),
        _bounded(sizes, first, config, frame),
        _bounded(boxes, first, config, frame),
    )
    for target, centre, size, box in zip(targets, vectors(*centres), vectors(*sizes), vectors(*boxes), strict=True):
        target.centre, target.size, target.box_size = centre, size, box
    return centres, sizes


def _bounded(size: Pair, first: Number, config: TrackingConfig, frame: tuple[int, int]) -> Pair:
    """Sizes clipped to within `max_growth` of `first`, sqrt(w h) of the first sizes, then to the frame, then to
    `min_size`."""
    xp, (w, h), growth, low = module_of(first), size, config.max_growth, config.min_size
    side = xp.sqrt(w * h)
    factor = xp.minimum(xp.maximum(side, first / growth), first * growth) / side
    (across, down), minimum, maximum = (max(float(n), low) for n in frame), xp.minimum, xp.maximum
    return minimum(maximum(w * factor, low), across), minimum(maximum(h * factor, low), down)


def _in_frame(place: Pair, frame: tuple[int, int]) -> Pair:
    xp, (x, y) = module_of(place[0]), place
    return xp.minimum(xp.maximum(x, 0.0), float(frame[0])), xp.minimum(xp.maximum(y, 0.0), float(frame[1]))
