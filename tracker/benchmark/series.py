"""Times of repeated work and their summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Series:
    """Durations of one thing, in seconds, by wall and by processor time, and in which turns they were taken."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)

    def run(self, work: Callable[..., Any], *args: Any, turn: int = 0) -> Any:
        """Runs and times work(*args)."""
        wall, cpu = time.perf_counter(), time.process_time()
        out = work(*args)
        self.turns.append(turn)
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)
        return out

    def summary(self, skip: int = 5) -> dict[str, float]:
        """ms: median, 10th and 95th percentile by wall, median and 10th percentile by processor; the first `skip` are
        warm-up."""
        wall, cpu = (np.asarray(v[skip:] or v) * 1e3 for v in (self.wall, self.cpu))
        return {
            "wall_median_ms": float(np.median(wall)),
            "wall_p10_ms": float(np.percentile(wall, 10)),
            "wall_p95_ms": float(np.percentile(wall, 95)),
            "cpu_median_ms": float(np.median(cpu)),
            "cpu_p10_ms": float(np.percentile(cpu, 10)),
        }


def in_pairs(series: Mapping[Any, Series], skip: int = 5) -> dict[Any, dict[str, float]]:
    """The summaries of series that were run in turns, each with its times as multiples of the first one's.

    The multiples (`wall_to_first`, `cpu_to_first`) are medians over the turns that both took part in: the pace of the
    machine, which may change from second to second, is in both times of a turn.
    """
    first, out = next(iter(series.values())), {}
    for name, one in series.items():
        out[name] = one.summary(skip)
        for kind in ("wall", "cpu"):
            before = dict(zip(first.turns, getattr(first, kind), strict=True))
            ratios = [
                value / before[k] for k, value in zip(one.turns, getattr(one, kind), strict=True) if before.get(k)
            ]
            out[name][f"{kind}_to_first"] = float(np.median(ratios[skip:] or ratios))
    return out
