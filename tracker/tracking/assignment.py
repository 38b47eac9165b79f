"""Joint assignment of positions to targets, so that no two targets take the same one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.numbers import numbers
from tracker.tracking.observation import Observation
from tracker.tracking.target import Target, Vector

SAME = 0.5
"""Two positions closer than this, in sqrt(w h), are the same."""
MOTION = 3.0
"""Cost of a position away from the predicted one: logits per (distance / sqrt(w h)) squared."""
CLEAR = 4.0
"""Distance, in sides of the larger one, at which targets count as separate: a full window reaches two."""
HIDDEN = -1.0
"""Value of being occluded, in logits: worse than a position with a score of about 0.27."""
LARGEST_GROUP = 5
"""Larger groups are assigned greedily, the target with the highest value first."""


@dataclass(frozen=True)
class Hypothesis:
    """A position that a target may take; `observation` None: it is occluded.

    Attributes:
        observation: The observation at that position.
        centre: (2,) frame pixels.
        reach: Distance below which another position is the same, pixels.
        value: Logits, minus the motion cost.
    """

    observation: Observation | None
    centre: NDArray[np.float64]
    reach: float
    value: float


def hypothesis(target: Target, observation: Observation) -> Hypothesis:
    """That a target is where an observation of it found it."""
    centre = observation.place[0]
    width, height = target.size.tolist()
    (x, y), (left, top), (along, down) = centre.tolist(), target.centre.tolist(), target.velocity.tolist()
    dx, dy = x - left - along, y - top - down
    price = MOTION * (dx * dx + dy * dy) / (width * height)
    return Hypothesis(observation, centre, SAME * math.sqrt(width * height), observation.logit - price)


def clash(a: Hypothesis, b: Hypothesis) -> bool:
    """Whether two choices are the same position."""
    return (
        a.observation is not None
        and b.observation is not None
        and math.dist(a.centre.tolist(), b.centre.tolist()) < min(a.reach, b.reach)
    )


def in_contest(centres: Sequence[tuple[float, float]], sizes: Sequence[Vector]) -> list[int]:
    """Which of the targets' first choices, none of them occluded, are the same position as another (see `clash`).

    Args:
        centres: x and y of each position, frame pixels.
        sizes: (2,) of each target.
    """
    if len(centres) < 2:
        return []
    at, (w, h) = np.array(centres, dtype=np.float64), numbers(sizes)
    order = np.argsort(at[:, 0], kind="stable")
    at, reaches = at[order], SAME * np.sqrt(w * h)[order]
    farthest, same = reaches.max(), np.zeros(len(at), np.bool_)
    for step in range(1, len(at)):  # sorted from left to right, each with the next one, the one after that, ...
        apart = at[step:] - at[:-step]
        if not (apart[:, 0] < farthest).any():
            break
        away = np.sqrt(apart[:, 0] * apart[:, 0] + apart[:, 1] * apart[:, 1])
        near = away < np.minimum(reaches[step:], reaches[:-step])
        same[step:] |= near
        same[:-step] |= near
    return np.sort(order[same]).tolist()


def groups_of(options: Sequence[Sequence[Hypothesis]]) -> list[list[int]]:
    """Groups of at least two targets: those whose first choices clash, and those that clash with any of their other
    choices."""
    parent = list(range(len(options)))

    def root(k: int) -> int:
        while parent[k] != k:
            k = parent[k]
        return k

    for a, b in itertools.combinations(range(len(options)), 2):
        if options[a] and options[b] and clash(options[a][0], options[b][0]):
            parent[root(a)] = root(b)
    started = {root(k) for k in range(len(options)) if sum(root(j) == root(k) for j in range(len(options))) > 1}
    for k in range(len(options)):
        if root(k) in started or not options[k]:
            continue
        for j in range(len(options)):
            if root(j) in started and any(clash(options[k][0], c) for c in options[j]):
                parent[root(k)] = root(j)
                break
    groups: dict[int, list[int]] = {}
    for k in range(len(options)):
        groups.setdefault(root(k), []).append(k)
    return [group for group in groups.values() if len(group) > 1]


def assign(options: Sequence[Sequence[Hypothesis]]) -> list[Hypothesis]:
    """One choice for each target, without clashes, with the largest total value."""
    if len(options) <= LARGEST_GROUP:
        best: tuple[float, tuple[Hypothesis, ...]] | None = None
        for picks in itertools.product(*options):
            if any(clash(a, b) for a, b in itertools.combinations(picks, 2)):
                continue
            value = sum(pick.value for pick in picks)
            if best is None or value > best[0]:
                best = (value, picks)
        assert best is not None  # all occluded never clashes
        return list(best[1])
    taken: list[Hypothesis] = []
    result: dict[int, Hypothesis] = {}
    for k in sorted(range(len(options)), key=lambda k: -options[k][0].value):
        free = [c for c in options[k] if not any(clash(c, other) for other in taken)]
        result[k] = max(free, key=lambda c: c.value)
        taken.append(result[k])
    return [result[k] for k in range(len(options))]


def stand_clear(targets: Sequence[Target]) -> list[bool]:
    """Whether each target is so far from all others that none of their search windows shows it."""
    centres = np.array([target.centre for target in targets])
    sides = np.sqrt(np.array([target.size for target in targets]).prod(axis=1))
    away = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    np.fill_diagonal(away, np.inf)
    return [bool(v) for v in (away > CLEAR * np.maximum(sides[:, None], sides[None])).all(axis=1)]


def places_of(places: Sequence[tuple[Vector, Vector]]) -> tuple[Vector, Vector]:
    """(N, 2) centres and (N,) sqrt(w h), frame pixels, of N centres and sizes."""
    centres, sizes = np.array(places).swapaxes(0, 1)
    return centres, np.sqrt(sizes[:, 0] * sizes[:, 1])
