"""The part `device` of `benchmark`: time per frame with one target and with hundreds, split into engine and the rest,
and events in slow frames.

On a GPU the engine's time is measured on the card, by events around its calls: from the call until the maps are
available, including cutting and upload. The rest is the host's time, including what the host waits for (read-out,
filters).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.benchmark.many_targets import crowd, follow
from tracker.crops import Colour, Crop
from tracker.runtime.base import Engine, Response
from tracker.tracking.target import Target
from tracker.tracking.tracker import SiamTracker
from tracker.types import Image, TrackState

WARM_UPS = 16
LEAST_FRAMES, ALL_FRAMES = 80, 4000
"""Least number of frames for a number of targets, and the total of frames times targets."""
SLOW = 1.5
"""Frames that take longer than this many medians are slow."""


class TimedEngine(Engine):
    """Wraps another engine and times its matches.

    Args:
        engine: The wrapped engine.

    Attributes:
        calls: Matches since `take`.
        embedded: Calls of `embed_template` since then.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.name, self.device = engine, engine.name, engine.device
        self.cuts_windows, self.keeps_maps = engine.cuts_windows, engine.keeps_maps
        self.calls = self.embedded = 0
        self._seconds = 0.0
        self._events: list[tuple[Any, Any]] = []

    def take(self) -> float:
        """Seconds of the matches since the last call of this method; on a GPU they must have been read back."""
        seconds = self._seconds + sum(a.elapsed_time(b) for a, b in self._events) / 1e3
        self._seconds, self.calls, self.embedded = 0.0, 0, 0
        self._events.clear()
        return seconds

    @contextmanager
    def _timed(self, calls: int = 1) -> Iterator[None]:
        self.calls += calls
        if self.device.startswith("cuda"):
            import torch

            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            yield
            last.record()
            self._events.append((first, last))
        else:
            begun = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - begun

    def embed_template(self, crops: Sequence[Image], targets: NDArray[np.float32]) -> Any:
        self.embedded += 1
        return self.engine.embed_template(crops, targets)

    def upload(self, image: Image) -> Any:
        with self._timed(0):
            return self.engine.upload(image)

    def match(self, templates: Any, crops: Sequence[Image]) -> Response:
        with self._timed():
            return self.engine.match(templates, crops)

    def match_on_device(self, templates: Any, crops: Sequence[Image]) -> Response:
        with self._timed():
            return self.engine.match_on_device(templates, crops)

    def match_windows(self, templates: Any, image: Any, crops: Sequence[Crop], fills: Sequence[Colour]) -> Response:
        with self._timed():
            return self.engine.match_windows(templates, image, crops, fills)

    def match_windows_on_device(
        self, templates: Any, image: Any, crops: Sequence[Crop], fills: Sequence[Colour]
    ) -> Response:
        with self._timed():
            return self.engine.match_windows_on_device(templates, image, crops, fills)

    def stack(self, templates: Sequence[Any]) -> Any:
        return self.engine.stack(templates)

    def to_host(self, templates: Any) -> NDArray[np.float32]:
        return self.engine.to_host(templates)

    def from_host(self, embeddings: NDArray[np.float32]) -> Any:
        return self.engine.from_host(embeddings)


@dataclass
class FrameTimings:
    """Durations of frames in seconds, and events in them.

    Attributes:
        whole, engine: (N,) durations of the whole frame, and of the matches of its engine.
        tracked: Fraction of the targets that were TRACKING.
        happened: Name of an event -> (N,) whether it happened.
    """

    whole: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)
    tracked: list[float] = field(default_factory=list)
    happened: dict[str, list[bool]] = field(default_factory=dict)

    def summary(self, count: int) -> dict[str, Any]:
        """ms per frame: mean, median, 95th percentile, of the engine and of the rest; targets per second; fraction of
        slow frames and, for each event, its frequency in slow frames and in all."""
        whole, engine = np.array(self.whole) * 1e3, np.array(self.engine) * 1e3
        slow = whole > SLOW * np.median(whole)
        why = {
            name: {"slow": float(np.mean(np.array(were)[slow])) if slow.any() else 0.0, "all": float(np.mean(were))}
            for name, were in self.happened.items()
            if any(were)
        }
        return {
            "frames": len(whole),
            "mean_ms": float(whole.mean()),
            "median_ms": float(np.median(whole)),
            "p95_ms": float(np.percentile(whole, 95)),
            "max_ms": float(whole.max()),
            "engine_ms": float(np.median(engine)),
            "rest_ms": float(np.median(whole - engine)),
            "engine_share": float(engine.sum() / whole.sum()),
            "per_second": float(count / whole.mean() * 1e3),
            "target_us": float(whole.mean() / count * 1e3),
            "tracked": float(np.mean(self.tracked)),
            "slow_share": float(slow.mean()),
            "happened": why,
        }


def watch(
    update: Callable[[Image], Any], targets: Sequence[Target], engine: TimedEngine, images: Sequence[Image], count: int
) -> FrameTimings:
    """Times updates, after `WARM_UPS` that are not counted.

    Args:
        update: Takes the next frame.
        targets: The targets that it changes.
        engine: The engine it uses.
        images: The frames, repeated cyclically.
        count: Number of timed frames.
    """
    frames, collected = FrameTimings(), [False]

    def note(phase: str, _: Mapping[str, int]) -> None:
        collected[0] = True

    gc.callbacks.append(note)
    gc.freeze()  # as `serve` does: full collections skip what was imported and built
    try:
        for k in range(WARM_UPS + count):
            kept, ready = [t.distractors for t in targets], getattr(engine.engine, "captured", 0)
            learnt, collected[0] = [t.filter.learnt for t in targets if t.filter], False
            begun = time.perf_counter()
            update(images[(k + 1) % len(images)])
            took = time.perf_counter() - begun
            happened = {
                "second look": engine.calls > 1,
                "view embedded": engine.embedded > 0,
                "filter learnt": learnt != [t.filter.learnt for t in targets if t.filter],
                "frame kept": any(t.distractors is not one for t, one in zip(targets, kept, strict=True)),
                "camera watched": any(t.watched for t in targets),
                "graph captured": getattr(engine.engine, "captured", 0) > ready,
                "garbage collected": collected[0],
            }
            seconds = engine.take()
            if k < WARM_UPS:
                continue
            frames.whole.append(took)
            frames.engine.append(seconds)
            frames.tracked.append(sum(t.belief.state is TrackState.TRACKING for t in targets) / len(targets))
            for name, was in happened.items():
                frames.happened.setdefault(name, []).append(was)
    finally:
        gc.unfreeze()
        gc.callbacks.remove(note)
    return frames


def by_device(
    trackers: Mapping[str, SiamTracker], counts: Sequence[int], frames: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Measures the time per frame (`FrameTimings.summary`).

    Args:
        trackers: Name -> tracker, each timed with one target; the first one with several, too.
        counts: Numbers of targets.
        frames: Number of timed frames with one target.
        tell: Called with a description of the next measurement.

    Returns:
        "one": name -> summary; "several": number -> summary.
    """
    images, boxes = crowd()
    one, several = {}, {}
    for name, tracker in trackers.items():
        tell(f"one target, {name}")
        timed = TimedEngine(tracker.engine)
        single = SiamTracker(tracker.model, timed, tracker.config)
        single.init(images[0], boxes[0])
        assert single.target is not None
        one[name] = watch(single.update, [single.target], timed, images, frames).summary(1)
    first = next(iter(trackers.values()))
    for count in counts:
        tell(f"{count} targets")
        timed = TimedEngine(first.engine)
        multi = follow(SiamTracker(first.model, timed, first.config), images[0], boxes[:count])
        targets = list(multi.targets.values())
        number = min(max(ALL_FRAMES // count, LEAST_FRAMES), frames)
        several[str(len(targets))] = watch(multi.update, targets, timed, images, number).summary(len(targets))
    return {"one": one, "several": several}
