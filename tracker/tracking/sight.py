"""What several targets (or one) look like in a frame: their windows cut, matched together, read, and doubts cleared up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tracker.runtime.base import Response
from tracker.tracking.reading import Look, Reading, clean
from tracker.tracking.target import Target
from tracker.types import Image, Timing

if TYPE_CHECKING:
    from tracker.tracking.core import Core

MANY = 10
"""Targets from which on one upload of the frame is less than one of each window."""


@dataclass(frozen=True)
class Sight:
    """One frame, as the targets were seen in it.

    Attributes:
        looks: The last look for each target.
        readings: What was read from it.
        timing: Of all targets together.
    """

    looks: list[Look]
    readings: list[Reading]
    timing: Timing


class Deal(Protocol):
    """Who matches the targets of a frame, and how many in one call."""

    def parts(self, numbers: Sequence[int]) -> list[Sequence[int]]:
        """The numbers of the targets, a share for each call."""

    def match(self, targets: Sequence[Target], looks: Sequence[Look]) -> Callable[[], list[Response]]:
        """Begins to match; what it returns waits for the responses."""


class AtOnce:
    """All targets in one call, now."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def parts(self, numbers: Sequence[int]) -> list[Sequence[int]]:
        return [numbers]

    def match(self, targets: Sequence[Target], looks: Sequence[Look]) -> Callable[[], list[Response]]:
        return partial(match, self.core, targets, looks)


def see(core: Core, targets: Sequence[Target], frame: Image, deal: Deal | None = None) -> Sight:
    """Looks for the targets; those that a small window leaves in doubt are looked for once more in the full one.

    Args:
        core: The steps of a frame.
        targets: At least one.
        frame: The picture.
        deal: Who matches them; None: `AtOnce`.
    """
    deal = deal or AtOnce(core)
    looks: dict[int, Look] = {}
    readings: dict[int, Reading] = {}
    crop = network = decode = 0.0
    numbers: Sequence[int] = range(len(targets))
    for wide in (False, True):
        waiting = []
        begun = time.perf_counter()
        for part in deal.parts(numbers):
            mine = [targets[k] for k in part]
            cut = _looks(core, mine, frame, wide)
            looks.update(zip(part, cut, strict=True))
            waiting.append((part, deal.match(mine, cut)))
        crop += time.perf_counter() - begun
        for part, responses in waiting:
            begun = time.perf_counter()
            found = responses()
            matched = time.perf_counter()
            for k, response in zip(part, found, strict=True):
                readings[k] = core.read(targets[k], looks[k], response)
            network, decode = network + matched - begun, decode + time.perf_counter() - matched
        numbers = [k for k in numbers if core.doubts(targets[k], readings[k])]
        if not numbers:
            break
    every = range(len(targets))
    return Sight([looks[k] for k in every], [readings[k] for k in every], Timing(crop=crop, network=network, decode=decode))


def _looks(core: Core, targets: Sequence[Target], frame: Image, wide: bool) -> list[Look]:
    looks = [core.look(target, frame, wide=wide) for target in targets]
    if not _on_device(core, looks):
        for look in looks:
            _ = look.pictures  # cut here, so that the time counts as cutting
    return looks


def _on_device(core: Core, looks: Sequence[Look]) -> bool:
    """Whether the engine cuts the windows from the whole frame: pays where they are many."""
    return len(looks) >= MANY and hasattr(core.engine, "match_windows")


def match(core: Core, targets: Sequence[Target], looks: Sequence[Look]) -> list[Response]:
    """One call for all targets with windows of one size that are matched with their first view; one more for each of the others."""
    responses: list[Response | None] = [None] * len(targets)
    groups: dict[int, list[int]] = {}
    for k, (target, look) in enumerate(zip(targets, looks, strict=True)):
        if core.needs_bank(target):
            responses[k] = core.match(target, look)
        else:
            groups.setdefault(look.crops[0].size, []).append(k)
    for together in groups.values():
        if len(together) == 1:
            responses[together[0]] = core.match(targets[together[0]], looks[together[0]])
            continue
        templates = core.engine.stack([targets[k].bank.first for k in together for _ in looks[k].crops])
        if _on_device(core, [looks[k] for k in together]):
            windows = [(crop, looks[k].fill) for k in together for crop in looks[k].crops]
            crops, fills = zip(*windows, strict=True)
            found = core.engine.match_windows(templates, looks[together[0]].frame, crops, fills)  # type: ignore[attr-defined]
        else:
            found = core.engine.match(templates, [picture for k in together for picture in looks[k].pictures])
        found, at = clean(found), 0
        for k in together:
            responses[k] = found[at : at + len(looks[k].crops)]
            at += len(looks[k].crops)
    return [response for response in responses if response is not None]
