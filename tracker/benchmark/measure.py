"""The measurements behind `benchmark`: each returns plain numbers, none prints.

Two clocks run in all of them: the wall, which is what a user waits, and the processor time of this process, which other
programs on the machine hardly change. Ratios are taken of the second, from things measured in turns in one run.
"""

from __future__ import annotations

import gc
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.model.checkpoint import LoadedModel
from tracker.runtime.select import build_engine
from tracker.tracking.tracker import SiamTracker
from tracker.types import Box, Image

HEIGHTS = {"360p": 360, "720p": 720, "1080p": 1080, "1440p": 1440, "4K": 2160}
PEAK_SIDE = 1024


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
        """ms: median, 10th and 95th percentile by wall, median and 10th percentile by processor; the first `skip` are warm-up."""
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

    The multiples (`wall_to_first`, `cpu_to_first`) are medians over the turns that both took part in: the pace of the machine, which may
    change from second to second, is in both times of a turn.
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


@dataclass(frozen=True)
class Clip:
    """Frames in memory and the box of the target in the first one."""

    name: str
    images: list[Image]
    box: Box


def synthetic_clip(count: int, width: int = 640, height: int = 360, seed: int = 0) -> Clip:
    """A textured square that circles over textured ground."""
    rng = np.random.default_rng(seed)
    ground: Image = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 3)  # type: ignore[assignment]
    size = height // 8
    patch: Image = cv2.resize(
        rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (size, size), interpolation=cv2.INTER_NEAREST
    )  # type: ignore[assignment]
    angle = np.arange(count) * 0.03
    xs = (width / 2 - size / 2 + width / 4 * np.cos(angle)).astype(int)
    ys = (height / 2 - size / 2 + height / 4 * np.sin(angle)).astype(int)
    images: list[Image] = []
    for x, y in zip(xs, ys, strict=True):
        image = ground.copy()
        image[y : y + size, x : x + size] = patch
        images.append(image)
    return Clip("synthetic", images, np.array([xs[0], ys[0], size, size], dtype=np.float64))


def read_clip(source: str, box: Sequence[float], count: int) -> Clip:
    """The first frames of a video or folder."""
    from tracker.media.sources.open import open_source

    images: list[Image] = []
    with open_source(source, live=False) as frames:
        for frame in frames:
            images.append(frame.image)
            if len(images) == count:
                break
    return Clip(Path(source).name, images, np.asarray(box, dtype=np.float64))


def make_tracker(model: LoadedModel, device: str, engine: str, threads: int) -> SiamTracker:
    """A tracker on a number of CPU threads, OpenCV's included."""
    cv2.setNumThreads(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    return SiamTracker(model, build_engine(model, device, engine, threads))


def stages(tracker: SiamTracker, clip: Clip, source: str | None, folder: Path) -> dict[str, dict[str, float]]:
    """ms of each stage of the way from file to file: decode, crop, network, response decode, draw, encode.

    Args:
        tracker: What to time.
        clip: Frames in memory.
        source: Video to decode; None takes the one that is encoded here.
        folder: For the encoded video.
    """
    from tracker.media.draw import draw_tracks
    from tracker.media.sinks.video import VideoSink
    from tracker.media.sources.open import open_source
    from tracker.types import Frame

    names = ("decode", "crop", "network", "read the response", "update, whole", "draw", "encode")
    series = {name: Series() for name in names}
    tracker.init(clip.images[0], clip.box)
    target = folder / "benchmark.mp4"
    with VideoSink(target, None, overwrite=True) as sink:
        for k, image in enumerate(clip.images):
            track = series["update, whole"].run(tracker.update, image)
            for name, value in (("crop", "crop"), ("network", "network"), ("read the response", "decode")):
                series[name].wall.append(getattr(track.timing, value))
            frame = Frame(image, k, k / 25)
            drawn = series["draw"].run(draw_tracks, frame, [track])
            series["encode"].run(sink.write, Frame(drawn, k, k / 25), [track])
    with open_source(source or str(target), live=False) as frames:
        iterator = iter(frames)
        for _ in clip.images:
            if series["decode"].run(next, iterator, None) is None:
                break
    target.unlink(missing_ok=True)
    out = {}
    for name in names:
        if not series[name].cpu:
            series[name].cpu = [float("nan")] * len(series[name].wall)
        out[name] = series[name].summary()
    return out


def in_turns(trackers: dict[str, Any], clip: Clip, every: dict[str, int] | None = None) -> dict[str, dict[str, float]]:
    """ms of `update` of several trackers, frame by frame in turns, so that all see the same machine.

    Args:
        trackers: Name -> anything with init and update.
        clip: Frames and first box.
        every: Name -> n: this one (a slow one) runs in each n-th frame only, on the frames in their order.
    """
    series = {name: Series() for name in trackers}
    for tracker in trackers.values():
        tracker.init(clip.images[0], clip.box)
    skipped = {name: iter(clip.images[1:]) for name in trackers}
    for k in range(1, len(clip.images)):
        for name, tracker in trackers.items():
            if k % (every or {}).get(name, 1) == 0:
                image = next(skipped[name])
                series[name].run(tracker.update, image, turn=k)
    return in_pairs(series)


def by_frame_size(
    tracker_of: Callable[[], SiamTracker], clip: Clip, names: Sequence[str], frames: int = 60
) -> dict[str, dict[str, float]]:
    """ms of `update` on the same clip enlarged to several sizes, in turns."""
    height = clip.images[0].shape[0]
    trackers, series = {name: tracker_of() for name in names}, {name: Series() for name in names}
    factors = {name: HEIGHTS[name] / height for name in names}
    for k, image in enumerate(clip.images[: frames + 1]):
        for name in names:
            large = cv2.resize(image, None, fx=factors[name], fy=factors[name])
            if k == 0:
                trackers[name].init(large, clip.box * factors[name])
            else:
                series[name].run(trackers[name].update, large, turn=k)
    return in_pairs(series)


def gigamacs(model: LoadedModel) -> dict[str, float]:
    """Multiply-adds in 10^9 of the template branch and of a search with its head, counted by torch while it runs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    config, module = model.config.model, model.module
    out = {}
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            picture = torch.zeros(1, 3, config.template_size, config.template_size)
            template = module.embed_template(picture, torch.full((1, 2), 40.0))
        out["template"] = counter.get_total_flops() / 2e9
        with FlopCounterMode(display=False) as counter:
            search = module.embed(torch.zeros(1, 3, config.search_size, config.search_size))
        out["search, backbone"] = counter.get_total_flops() / 2e9
        with FlopCounterMode(display=False) as counter:
            module.match(template, search)
        out["search, energy and head"] = counter.get_total_flops() / 2e9
    return out


def peak_gigamacs(threads: int, repeats: int = 12) -> float:
    """10^9 multiply-adds a second of a large float32 matrix product: what this machine gives to dense arithmetic."""
    import onnxruntime as ort

    from tracker.runtime.onnx.writer import Graph

    n = PEAK_SIDE
    rng = np.random.default_rng(0)
    graph = Graph("peak")
    x = graph.input("x", "float32", (n, n))
    graph.output(graph.op("MatMul", x, graph.const(rng.standard_normal((n, n)))), "y", "float32", (n, n))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(graph.serialize(), options, providers=["CPUExecutionProvider"])
    data = rng.standard_normal((n, n)).astype(np.float32)
    series = Series()
    for _ in range(repeats):
        series.run(session.run, None, {"x": data})
    # With one thread processor time is the time that the product took; with several it adds them up.
    return n**3 / min(series.cpu if threads == 1 else series.wall) / 1e9


def resident_bytes() -> int:
    """Memory of this process that is in RAM, or its largest value so far where the system tells no more."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def soak(
    tracker: SiamTracker,
    clip: Clip,
    count: int,
    tick: Callable[[int], None] = lambda k: None,
    fresh: SiamTracker | None = None,
) -> dict[str, Any]:
    """Many frames (the clip forward, backward, forward, ...): does memory grow, does it slow down?

    A processor's own pace changes by more in a minute than what is looked for, so over the last tenth the tracker is timed in
    turns with one that begins there.

    Args:
        tracker: Goes through all frames.
        clip: The frames.
        count: How many.
        tick: Called with the number of frames now and then.
        fresh: Begins with the last tenth, on the box of the other.

    Returns:
        `rss_slope` in bytes a frame (least squares over the second half, when caches are full), `rss_start`, `rss_end`, the
        processor time of the first and the last tenth (at most 1,000 frames) in ms, that of the fresh tracker over the last
        tenth (None without one), and the samples of memory.
    """
    order = list(range(len(clip.images))) + list(range(len(clip.images) - 2, 0, -1))
    tracker.init(clip.images[0], clip.box)
    part = max(1, min(1000, count // 10))
    durations: NDArray[np.float64] = np.empty(count)
    young: list[float] = []
    samples: list[tuple[int, int]] = []
    gc.collect()
    for k in range(count):
        image = clip.images[order[(k + 1) % len(order)]]
        begun = time.process_time()
        track = tracker.update(image)
        durations[k] = time.process_time() - begun
        if fresh is not None and k == count - part - 1:
            fresh.init(image, track.box)
        elif fresh is not None and k >= count - part:
            begun = time.process_time()
            fresh.update(image)
            young.append(time.process_time() - begun)
        if k % max(1, count // 200) == 0:
            samples.append((k, resident_bytes()))
            tick(k)
    # Without the last tenth, in which another tracker begins.
    half = np.array([s for s in samples[len(samples) // 2 :] if fresh is None or s[0] < count - part], dtype=np.float64)
    slope = float(np.polyfit(half[:, 0], half[:, 1], 1)[0]) if len(half) > 2 else 0.0
    first, last = np.median(durations[:part]), np.median(durations[-part:])
    return {
        "frames": count,
        "rss_start": samples[0][1],
        "rss_end": samples[-1][1],
        "rss_slope_bytes_per_frame": slope,
        "first_ms": float(first * 1e3),
        "last_ms": float(last * 1e3),
        "fresh_ms": float(np.median(young) * 1e3) if young else None,
        "part": part,
        "samples": samples,
    }


def machine() -> dict[str, str]:
    """Hardware and versions, for the head of a report."""
    import importlib.metadata as metadata
    import os

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # not Linux: the platform module's name has to do
    versions = {p: metadata.version(p) for p in ("onnxruntime", "torch", "numpy", "opencv-python") if _installed(p)}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{name}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        **versions,
    }


def _installed(package: str) -> bool:
    import importlib.metadata as metadata

    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
