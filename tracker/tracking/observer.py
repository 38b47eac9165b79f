"""What several targets (or one) look like in a frame: their windows cut, matched together, read, and doubts cleared
up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracker.crops import SearchRegion
from tracker.runtime.base import Response
from tracker.tracking.observation import Observation, clean
from tracker.tracking.target import Target
from tracker.types import Image, Timing

if TYPE_CHECKING:
    from tracker.tracking.core import Core

MANY = 10
"""Targets from which on one upload of the frame is less than one of each window."""


@dataclass(frozen=True)
class FrameObservations:
    """One frame, as the targets were seen in it.

    Attributes:
        regions: The last look for each target.
        observations: What was read from it.
        timing: Of all targets together.
    """

    regions: list[SearchRegion]
    observations: list[Observation]
    timing: Timing


def observe(core: Core, targets: Sequence[Target], frame: Image) -> FrameObservations:
    """Looks for the targets in one call of the network; those that a small window leaves in doubt are looked for once
    more in the full one.

    Args:
        core: The steps of a frame.
        targets: At least one.
        frame: The picture.
    """
    regions: dict[int, SearchRegion] = {}
    observations: dict[int, Observation] = {}
    crop = network = decode = 0.0
    numbers: Sequence[int] = range(len(targets))
    for wide in (False, True):
        mine, begun = [targets[k] for k in numbers], time.perf_counter()
        cut = _cut_regions(core, mine, frame, wide)
        matching = time.perf_counter()
        found = match(core, mine, cut)
        matched = time.perf_counter()
        for k, region, response in zip(numbers, cut, found, strict=True):
            regions[k], observations[k] = region, core.read(targets[k], region, response)
        crop, network, decode = (
            crop + matching - begun,
            network + matched - matching,
            decode + time.perf_counter() - matched,
        )
        numbers = [k for k in numbers if core.doubts(targets[k], observations[k])]
        if not numbers:
            break
    every = range(len(targets))
    return FrameObservations(
        [regions[k] for k in every], [observations[k] for k in every], Timing(crop=crop, network=network, decode=decode)
    )


def _cut_regions(core: Core, targets: Sequence[Target], frame: Image, wide: bool) -> list[SearchRegion]:
    regions = [core.search_region(target, frame, wide=wide) for target in targets]
    if not _on_device(core, regions):
        for region in regions:
            _ = region.pictures  # cut here, so that the time counts as cutting
    return regions


def _on_device(core: Core, regions: Sequence[SearchRegion]) -> bool:
    """Whether the engine cuts the windows from the whole frame: pays where they are many."""
    return len(regions) >= MANY and core.engine.cuts_windows


def match(core: Core, targets: Sequence[Target], regions: Sequence[SearchRegion]) -> list[Response]:
    """One call for all targets with windows of one size that are matched with their first view; one more for each of
    the others."""
    responses: list[Response | None] = [None] * len(targets)
    groups: dict[int, list[int]] = {}
    for k, (target, region) in enumerate(zip(targets, regions, strict=True)):
        if core.needs_bank(target):
            responses[k] = core.match(target, region)
        else:
            groups.setdefault(region.crops[0].size, []).append(k)
    for together in groups.values():
        if len(together) == 1:
            responses[together[0]] = core.match(targets[together[0]], regions[together[0]])
            continue
        templates = core.engine.stack([targets[k].bank.first for k in together for _ in regions[k].crops])
        if _on_device(core, [regions[k] for k in together]):
            windows = [(crop, regions[k].fill) for k in together for crop in regions[k].crops]
            crops, fills = zip(*windows, strict=True)
            found = core.engine.match_windows(templates, regions[together[0]].frame, crops, fills)
        else:
            found = core.engine.match(templates, [picture for k in together for picture in regions[k].pictures])
        found, at = clean(found), 0
        for k in together:
            responses[k] = found[at : at + len(regions[k].crops)]
            at += len(regions[k].crops)
    return [response for response in responses if response is not None]
