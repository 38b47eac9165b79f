"""The measurements behind `benchmark`: each returns numbers, none prints.

All use two clocks: wall time, which is what a user waits, and the processor time of this process, which other programs
on the machine hardly affect. Ratios are those of processor time, of things measured alternately in one run.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tracker.media.draw import draw_tracks
from tracker.media.sources.open import open_source
from tracker.model.checkpoint import LoadedModel
from tracker.runtime.onnx.writer import Graph
from tracker.runtime.processor import package_version, processor
from tracker.tracking.tracker import SiamTracker
from tracker.types import Box, Frame, Image

HEIGHTS = {"360p": 360, "720p": 720, "1080p": 1080, "1440p": 1440, "4K": 2160}
PEAK_SIDE = 1024


@dataclass(frozen=True)
class BenchmarkClip:
    """Frames in memory and the box of the target in the first one."""

    name: str
    images: list[Image]
    box: Box


def synthetic_clip(count: int, width: int = 640, height: int = 360, seed: int = 0) -> BenchmarkClip:
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
    return BenchmarkClip("synthetic", images, np.array([xs[0], ys[0], size, size], dtype=np.float64))


def read_clip(source: str, box: Sequence[float], count: int) -> BenchmarkClip:
    """The first frames of a video or folder."""
    images: list[Image] = []
    with open_source(source, live=False) as frames:
        for frame in frames:
            images.append(frame.image)
            if len(images) == count:
                break
    return BenchmarkClip(Path(source).name, images, np.asarray(box, dtype=np.float64))


def stages(tracker: SiamTracker, clip: BenchmarkClip, source: str | None, folder: Path) -> dict[str, dict[str, float]]:
    """ms of each stage from file to file: decode, crop, network, response decode, draw, encode.

    Args:
        tracker: What to time.
        clip: Frames in memory.
        source: Video to decode; None uses the one that is encoded here.
        folder: For the encoded video.
    """
    from tracker.media.sinks.video import VideoSink

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


def in_turns(
    trackers: dict[str, Any], clip: BenchmarkClip, every: dict[str, int] | None = None
) -> dict[str, dict[str, float]]:
    """ms of `update` of several trackers, alternating frame by frame, so that all see the same machine load.

    Args:
        trackers: Name -> anything with init and update.
        clip: Frames and first box.
        every: Name -> n: this (slow) tracker runs in each n-th frame only, on the frames in their order.
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
    tracker_of: Callable[[], SiamTracker], clip: BenchmarkClip, names: Sequence[str], frames: int = 60
) -> dict[str, dict[str, float]]:
    """ms of `update` on the same clip enlarged to several sizes, alternating."""
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


def machine() -> dict[str, str]:
    """Hardware and versions, for the head of a report."""
    name, flags = processor()
    packages = ("onnxruntime", "torch", "numpy", "opencv-python")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{name}, {os.cpu_count()} cores",
        "flags": ", ".join(flags) or "not known",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        **{name: package_version(name) for name in packages if package_version(name)},
        **_card(),
    }


def _card() -> dict[str, str]:
    """The GPU, if torch has been loaded and finds one."""
    torch = sys.modules.get("torch")
    return {"GPU": torch.cuda.get_device_name()} if torch is not None and torch.cuda.is_available() else {}


@dataclass
class Series:
    """Durations of one thing, in seconds, by wall and by processor time, and the rounds in which they were taken."""

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
    """Summaries of series that were run alternately, each with its times as multiples of the first one's.

    The multiples (`wall_to_first`, `cpu_to_first`) are medians over the rounds that both took part in: changes of the
    machine's speed, which may happen within seconds, affect both times of a round.
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
    """10^9 multiply-adds per second of a large float32 matrix product: the peak of this machine for dense
    arithmetic."""
    import onnxruntime as ort

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
    # With one thread processor time is the duration of the product; with several it is their sum.
    return n**3 / min(series.cpu if threads == 1 else series.wall) / 1e9
