"""A LOST target: where it was last, on its trail, and anywhere by search; and what has to speak for a place that was found."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tracker.crops import Crop
from tracker.tracking.confidence import FEATURES, verified
from tracker.tracking.reading import Reading, clean
from tracker.tracking.redetect import Seeker, best_candidate, log_odds
from tracker.tracking.state import found
from tracker.tracking.target import Target
from tracker.types import Image

if TYPE_CHECKING:
    from tracker.tracking.core import Core

CLEARLY_BETTER = 1.0
"""Logits above the target's usual response."""
LEAST_HOPE = 0.1
"""Score below which a second look at a place isn't worth its time."""


def seek(core: Core, target: Target, near: Reading, frame: Image, wider: bool) -> Reading:
    """A LOST target: at its last place, at a place that waits for confirmation, or anywhere by search.

    Args:
        core: The steps of a frame.
        target: Changed in place.
        near: What was read where the target is expected.
        frame: The picture.
        wider: Whether windows beyond the last place may be searched now.

    Returns:
        The reading that the track's score comes from.
    """
    extent = (frame.shape[1], frame.shape[0])
    seeker = target.seeker = target.seeker or Seeker()
    target.fit(core.config, extent)
    reading = _verify(core, target, near, frame, seeker.far)
    followed = seeker.trail and seeker.pending is None
    if (
        seeker.strays(reading.place[0], target.centre, target.size)
        and _found(core, target, reading, False)
        and _stood_elsewhere(core, target, reading)
    ):
        reading = replace(reading, score=0.0)
    if followed and near.found.score >= LEAST_HOPE:  # the best guess; where nothing answers it stays
        target.follow(near.found, near.crop, core.config, extent)
    if _on_trail(core, target, seeker, reading, extent):
        return reading
    if not _found(core, target, reading, seeker.far) and seeker.pending is None and wider and core.config.redetect:
        far = search(core, target, seeker, frame, extent)
        if far is not None:
            checked = _verify(core, target, far, frame, True)
            if _found(core, target, checked, True) and not _stood_elsewhere(core, target, checked):
                reading, seeker.far = checked, True
    if not _found(core, target, reading, seeker.far):
        seeker.forget()
        return reading
    seeker.hits += 1
    seeker.pending = reading.place
    seeker.evidence += log_odds(reading.score) - log_odds(core.config.redetect_score * target.belief.level)
    if seeker.hits >= core.config.redetect_frames and seeker.evidence >= core.config.redetect_evidence:
        target.lock(*reading.place, found(target.belief), core.config, extent)
    return reading


def _on_trail(core: Core, target: Target, seeker: Seeker, reading: Reading, extent: tuple[int, int]) -> bool:
    """Follows a target that has just been lost from where it was read last; whether it is sure again there."""
    seeker.frames += 1
    if (
        not seeker.trail or seeker.far or seeker.frames > core.config.lost_follow_frames
    ):  # a place found by search has to bring its own evidence
        return False
    sure = target.belief.relative(reading.score) >= core.config.sure_score and _as_usual(core, target, reading, False)
    seeker.held = seeker.held + 1 if sure else 0
    if seeker.held >= core.config.redetect_frames:
        target.lock(*reading.place, found(target.belief), core.config, extent)
        return True
    return False


def _found(core: Core, target: Target, reading: Reading, far: bool) -> bool:
    """Whether a reading speaks for the target: probable enough, and about as alike as the target used to be."""
    enough = target.belief.relative(reading.score) >= core.config.redetect_score
    return enough and _as_usual(core, target, reading, far)


def _as_usual(core: Core, target: Target, reading: Reading, far: bool) -> bool:
    lost_for = target.seeker.frames if target.seeker else 0
    most = core.config.redetect_drop * (1 if far else 1.5) + core.config.redetect_drop_growth * lost_for
    if target.drop(reading.logit) > most:
        return False
    if reading.found.online is None:
        return True
    online, lead = (reading.features[FEATURES.index(name)] for name in ("online", "online_margin"))
    return bool(online >= core.config.redetect_online and lead >= core.config.redetect_online_margin)


def _verify(core: Core, target: Target, reading: Reading, frame: Image, searched: bool) -> Reading:
    """The reading with the probability that it is the target as its score; hopeless ones are spared the second look."""
    if not core.config.verification or reading.score < LEAST_HOPE:
        return reading
    likeness = core.likeness(target, reading, frame)
    return replace(reading, score=float(verified(reading.score, likeness, searched, core.config.verification)))


def search(core: Core, target: Target, seeker: Seeker, frame: Image, extent: tuple[int, int]) -> Reading | None:
    """Searches the windows of this frame and looks again, closely, at the best place in them."""
    begun = time.perf_counter()
    side = core.side(target.sure_size)
    windows = seeker.next_windows(target.sure_centre, side, extent, (core.sizes[0], core.window), core.config)
    response = clean(core.engine.match(target.bank.first, [crop.cut(frame, target.fill) for crop, _ in windows]))
    seeker.took(time.perf_counter() - begun, len(windows))
    best = best_candidate(response.score, response.boxes, windows, target.sure_size, core.stride, core.config)
    if best is None or best.margin < core.config.redetect_margin:
        return None
    size = np.clip(best.size, core.config.min_size, np.maximum(np.asarray(extent, dtype=np.float64), core.config.min_size))
    look = core.look(target, frame, (np.clip(best.centre, 0, extent), size))
    return core.read(target, look, core.match(target, look))


def _stood_elsewhere(core: Core, target: Target, reading: Reading) -> bool:
    """Whether what was found is another, that stood there when the target was surely seen at its own place."""
    kept, place, longest = target.elsewhere, reading.place[0], core.config.elsewhere_frames
    # What answers the first view clearly better than what was followed of late is no look-alike: then that was one.
    if kept is None or target.drop(reading.logit) < -CLEARLY_BETTER:
        return False
    if kept.claims(place, target.age, longest):
        return True
    if target.age - kept.age > longest:  # things have moved on since
        return False
    crop = Crop.around(place, core.side(kept.size) * core.sizes[1] / core.sizes[0], core.sizes[1])
    response = clean(core.engine.match(target.bank.first, [crop.cut(kept.frame, target.fill)]))
    if not kept.stood_there(response.score[0], crop, core.stride, place, reading.logit - core.config.redetect_drop):
        return False
    kept.others.append((place, target.age))
    return True
