"""Search windows of the targets of several streams, matched in one network call: `tracker.tracking.observer` for many
frames."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tracker.crops import SearchRegion
from tracker.tracking.observation import FrameObservations, Observation
from tracker.tracking.observer import Observer
from tracker.tracking.readout import Matched, read_all
from tracker.tracking.target import Target
from tracker.types import Image, Timing

Job = tuple[Sequence[Target], Image]
"""The targets of one stream, and its frame."""


def observe_many(observer: Observer, jobs: Sequence[Job], call: int) -> list[FrameObservations]:
    """Observes all targets of all streams; those with a low score in a small window are matched again in the full one.

    The result for a target is the same as alone: it doesn't depend on the other targets of a call.

    Args:
        observer: Cuts, matches and reads the targets.
        jobs: Targets and frame of each stream.
        call: Greatest number of windows in one network call.

    Returns:
        A FrameObservations for each job; its timing is the job's share of the total, by number of targets.
    """
    owners = [(target, frame) for targets, frame in jobs for target in targets]
    regions: dict[int, SearchRegion] = {}
    observations: dict[int, Observation] = {}
    crop = network = decode = 0.0
    numbers: Sequence[int] = range(len(owners))
    for wide in (False, True):
        begun = time.perf_counter()
        asked = [owners[k][0] for k in numbers]
        cut = observer.search_regions(asked, [owners[k][1] for k in numbers], wide)
        for region in cut:
            _ = region.pictures  # cut here, so that the time is counted as cutting
        matching = time.perf_counter()
        found = _match(observer, asked, cut, call)
        matched = time.perf_counter()
        for k, region, observation in zip(numbers, cut, read_all(observer, asked, cut, found), strict=True):
            regions[k], observations[k] = region, observation
        crop, network, decode = (
            crop + matching - begun,
            network + matched - matching,
            decode + time.perf_counter() - matched,
        )
        numbers = [k for k in numbers if observer.doubts(owners[k][0], observations[k])]
        if not numbers:
            break
    observed, at = [], 0
    for targets, _ in jobs:
        mine = range(at, at + len(targets))
        share = len(targets) / max(len(owners), 1)
        timing = Timing(crop * share, network * share, decode * share)
        observed.append(FrameObservations([regions[k] for k in mine], [observations[k] for k in mine], timing))
        at += len(targets)
    return observed


def _match(observer: Observer, targets: Sequence[Target], regions: Sequence[SearchRegion], call: int) -> list[Matched]:
    """Responses for the windows: those of one size together, as many per call as allowed; a target with a bank has a
    call of its own."""
    matched: list[Matched] = []
    groups: dict[int, list[int]] = {}
    for k, (target, region) in enumerate(zip(targets, regions, strict=True)):
        if observer.needs_bank(target):
            matched.append(Matched([k], observer.match(target, region)))
        else:
            groups.setdefault(region.crops[0].size, []).append(k)
    for together in groups.values():
        step = max(1, call // len(regions[together[0]].crops))
        for part in (together[at : at + step] for at in range(0, len(together), step)):
            mine = [targets[k] for k in part], [regions[k] for k in part]
            matched.append(Matched(part, observer.match_together(*mine)))
    return matched
