"""Search windows of the targets of several streams, matched in one network call: `tracker.tracking.observer` over many
frames."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tracker.crops import SearchRegion
from tracker.runtime.base import Engine, Response
from tracker.tracking.observation import Observation, clean
from tracker.tracking.observer import FrameObservations, Observer
from tracker.tracking.target import Target
from tracker.types import Image, Timing

Job = tuple[Sequence[Target], Image]
"""The targets of one stream, and its frame."""


def observe_many(observer: Observer, jobs: Sequence[Job], call: int) -> list[FrameObservations]:
    """Looks for all targets of all streams; those that a small window leaves in doubt are looked for once more in the
    full one.

    A target gets what it would get alone: neither who else is in a call nor how many matters to it.

    Args:
        observer: What sees the targets.
        jobs: Targets and frame of each stream.
        call: Windows at most in one network call.

    Returns:
        A FrameObservations for each job; its timing is its share of the whole by number of targets.
    """
    owners = [(target, frame) for targets, frame in jobs for target in targets]
    regions: dict[int, SearchRegion] = {}
    observations: dict[int, Observation] = {}
    crop = network = decode = 0.0
    numbers: Sequence[int] = range(len(owners))
    for wide in (False, True):
        begun = time.perf_counter()
        cut = {k: observer.search_region(owners[k][0], owners[k][1], wide=wide) for k in numbers}
        for region in cut.values():
            _ = region.pictures  # cut here, so that the time counts as cutting
        matching = time.perf_counter()
        found = _match(observer, {k: owners[k][0] for k in numbers}, cut, call)
        matched = time.perf_counter()
        for k in numbers:
            regions[k], observations[k] = cut[k], observer.read(owners[k][0], cut[k], found[k])
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


def batch_size(engine: Engine, count: int) -> int:
    """Windows in the call for so many: on the engine `cuda` the next power of two, the last window being repeated.

    It captures a graph for each size of batch, which takes as long as hundreds of frames; streams come in all numbers.
    """
    return 1 << (count - 1).bit_length() if engine.name == "cuda" else count


def _match(
    observer: Observer, targets: dict[int, Target], regions: dict[int, SearchRegion], call: int
) -> dict[int, Response]:
    """The responses by number: windows of one size together, as many in a call as may be; a target with a bank has a
    call of its own."""
    responses: dict[int, Response] = {}
    groups: dict[int, list[int]] = {}
    for k, region in regions.items():
        if observer.needs_bank(targets[k]):
            responses[k] = observer.match(targets[k], region)
        else:
            groups.setdefault(region.crops[0].size, []).append(k)
    for together in groups.values():
        each = len(regions[together[0]].crops)
        step = max(1, call // each)
        for part in (together[at : at + step] for at in range(0, len(together), step)):
            if len(part) == 1:
                responses[part[0]] = observer.match(targets[part[0]], regions[part[0]])
                continue
            templates = [targets[k].bank.first for k in part for _ in regions[k].crops]
            pictures = [picture for k in part for picture in regions[k].pictures]
            more = batch_size(observer.engine, len(pictures)) - len(pictures)
            templates, pictures = templates + templates[-1:] * more, pictures + pictures[-1:] * more
            found = clean(observer.engine.match(observer.engine.stack(templates), pictures))
            at = 0
            for k in part:
                responses[k] = found[at : at + len(regions[k].crops)]
                at += len(regions[k].crops)
    return responses
