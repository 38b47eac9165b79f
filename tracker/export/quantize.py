"""int8 versions of a model: calibration on crops of real video, and the loss of accuracy.

In the search branch the backbone's convolutions run in int8; the template branch and the head stay in float32. This
pays only on CPUs with int8 dot products (VNNI, AMX, ARM dotprod); on others float32 is as fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop, context_side, mean_colour
from tracker.errors import DeviceError, SourceError
from tracker.geometry import iou, is_valid
from tracker.metrics.one_pass import run_one_pass
from tracker.model.checkpoint import LoadedModel
from tracker.runtime.onnx.graphs import search_model, template_model
from tracker.runtime.onnx.network import Ranges
from tracker.runtime.onnxruntime_engine import OnnxEngine
from tracker.tracking.tracker import SiamTracker

if TYPE_CHECKING:
    from tracker.datasets.base import SequenceData

EXTREME = 1e-4
"""Fraction of a layer's values, at each end, that its range excludes, in each crop."""
CHANNEL_EXTREME = 5e-4
"""The same for one channel, for its shift and scale."""
LEAST_REACH = 0.02
"""Least range of a channel, as a fraction of the widest of its map."""


@dataclass(frozen=True)
class Shot:
    """Crops of one annotated frame: template and search crop (BGR uint8), and the target's (w, h) in template
    pixels."""

    template: NDArray[np.uint8]
    search: NDArray[np.uint8]
    target: NDArray[np.float32]


@dataclass(frozen=True)
class Cost:
    """Mean overlap with the ground truth over all tracked frames, in float32 and in int8."""

    float32: float
    int8: float
    frames: int


def shots(model: LoadedModel, sequences: Sequence[SequenceData], count: int, seed: int = 0) -> list[Shot]:
    """Crops from frames spread over sequences; the target is displaced from the centre as much as during tracking.

    Raises:
        SourceError: No frame has a box.
    """
    rng = np.random.default_rng(seed)
    config = model.config
    found: list[Shot] = []
    each = max(1, -(-count // len(sequences)))
    for sequence in sequences:
        usable = np.flatnonzero(is_valid(sequence.truth))
        wanted = (
            set(usable[np.linspace(0, len(usable) - 1, min(each, len(usable)), dtype=int)].tolist())
            if len(usable)
            else set()
        )
        for k, image in enumerate(sequence.images()):
            if k not in wanted:
                continue
            x, y, w, h = sequence.truth[k]
            centre = np.array([x + w / 2, y + h / 2])
            side = context_side(w, h, config.tracking.context)
            fill = mean_colour(image)
            close = Crop.around(centre, side, config.model.template_size)
            away = centre + rng.uniform(-0.2, 0.2, 2) * side
            wide = Crop.around(
                away, side * config.model.search_size / config.model.template_size, config.model.search_size
            )
            found.append(
                Shot(close.cut(image, fill), wide.cut(image, fill), (np.array([w, h]) * close.scale).astype(np.float32))
            )
    if not found:
        raise SourceError("None of the calibration sequences has a frame with a box; choose others with --sequences.")
    return found[:count]


def calibrate(model: LoadedModel, crops: Sequence[Shot]) -> Ranges:
    """Computes the ranges, means, shifts and scales that int8 needs, over all crops.

    In each crop a range covers all values except the extreme 10^-4 at each end; the channels of a block's output are
    shifted and scaled so that they fill one range equally.

    Args:
        model: What to quantise.
        crops: Calibration crops, about a hundred.

    Raises:
        DeviceError: The backbone has no layers that can run in int8.
    """
    import onnxruntime as ort

    config = model.config.model
    engine = OnnxEngine(config, model.state)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    graph = search_model(config, model.state, taps=True)
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    layers = [value.name for value in session.get_outputs() if value.name.startswith("backbone.stages.")]
    layers = [layer for layer in layers if layer.count(".") > 2]  # the stem stays in float32
    if not layers:
        raise DeviceError(f"The backbone {config.backbone} has no int8 layers here; export it without --int8.")

    def outputs(shot: Shot) -> dict[str, NDArray[np.float32]]:
        embedding = engine.embed_template([shot.template], shot.target[None]).embedding
        values = session.run(layers, {"search": shot.search[None], "embedding": embedding})
        return {layer: value[0].reshape(value.shape[1], -1) for layer, value in zip(layers, values, strict=True)}

    seen = [{layer: _channels(layer, rows) for layer, rows in outputs(shot).items()} for shot in crops]
    means = {layer: np.mean([one[layer][0] for one in seen], axis=0) for layer in layers}
    ends = {
        layer: np.stack([np.min([s[layer][1] for s in seen], axis=0), np.max([s[layer][2] for s in seen], axis=0)])
        for layer in layers
        if len(seen[0][layer]) > 1
    }
    frames = _frames(layers, ends)

    def framed(layer: str, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        block, _, part = layer.rpartition(".")
        if part not in ("project", "sum"):
            return rows.astype(np.float64)
        shift, scale = frames[block][:, :, None]
        return (rows - (0.0 if part == "project" and f"{block}.sum" in layers else shift)) / scale

    extremes = []
    for shot in crops:
        found = outputs(shot)
        extremes.append([np.quantile(framed(layer, found[layer]), [EXTREME, 1 - EXTREME]) for layer in layers])
    low, high = np.min(extremes, axis=0)[:, 0], np.max(extremes, axis=0)[:, 1]
    limits = {layer: (float(lo), float(hi)) for layer, lo, hi in zip(layers, low, high, strict=True)}
    return Ranges(limits, {layer: framed(layer, mean[:, None])[:, 0] for layer, mean in means.items()}, frames)


def _channels(layer: str, rows: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """(C,) mean of each channel, and for a block's output also the ends of its range."""
    stats = [rows.mean(axis=1, dtype=np.float64)]
    if layer.endswith((".project", ".sum")):
        stats.extend(np.quantile(rows, [CHANNEL_EXTREME, 1 - CHANNEL_EXTREME], axis=1))
    return stats


def _frames(layers: Sequence[str], ends: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Block -> (2, C) shift and scale of its output's channels; blocks whose outputs are added share them.

    Args:
        layers: In the order in which they run.
        ends: Layer -> (2, C) lowest and highest value of each channel of its output.
    """
    chains: list[list[str]] = []
    for layer in layers:
        block, _, part = layer.rpartition(".")
        if part == "project" and f"{block}.sum" not in layers:
            chains.append([layer])
        elif part == "sum":
            chains[-1].append(layer)
    frames = {}
    for chain in chains:
        low, high = np.min([ends[c][0] for c in chain], axis=0), np.max([ends[c][1] for c in chain], axis=0)
        reach = np.maximum((high - low) / 2, LEAST_REACH * (high - low).max() / 2)
        frame = np.stack([(low + high) / 2, reach / reach.max()])
        frames.update({layer.rpartition(".")[0]: frame for layer in chain})
    return frames


def quantized(model: LoadedModel, ranges: Ranges) -> dict[str, bytes]:
    """ "template" (float32) and "search" -> bytes of an ONNX file."""
    config = model.config.model
    return {
        "template": template_model(config, model.state),
        "search": search_model(config, model.state, ranges=ranges),
    }


def accuracy_cost(model: LoadedModel, ranges: Ranges, sequences: Sequence[SequenceData], threads: int = 1) -> Cost:
    """Tracks sequences in float32 and in int8, and compares both with the ground truth."""
    overlaps: dict[str, list[NDArray[np.float64]]] = {"float32": [], "int8": []}
    for sequence in sequences:
        for name, overlap in overlaps.items():
            engine = OnnxEngine(model.config.model, model.state, threads, ranges=ranges if name == "int8" else None)
            boxes = run_one_pass(SiamTracker(model, engine), sequence.images(), sequence.init).boxes
            counts = is_valid(sequence.truth[1:])
            overlap.append(iou(boxes[1:], sequence.truth[1:])[counts])
    both = {name: np.concatenate(values) for name, values in overlaps.items()}
    return Cost(float(both["float32"].mean()), float(both["int8"].mean()), len(both["int8"]))
