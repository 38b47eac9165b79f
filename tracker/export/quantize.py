"""int8 versions of the ONNX files: calibrated on crops of real video, and what they cost in accuracy.

The backbone's convolutions take int8; energies and head stay in float32. Pays on CPUs with int8 dot products (VNNI,
AMX, ARM dotprod) only: without them float32 is as fast.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop, context_side, mean_colour
from tracker.errors import DeviceError, SourceError
from tracker.geometry import iou, is_valid
from tracker.metrics.one_pass import run_one_pass
from tracker.model.checkpoint import LoadedModel
from tracker.runtime.onnx.graphs import search_model, template_model
from tracker.runtime.onnxruntime_engine import OnnxEngine
from tracker.tracking.tracker import SiamTracker

if TYPE_CHECKING:
    from tracker.datasets.base import SequenceData

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shot:
    """Crops of one annotated frame: template and search crop (BGR uint8), and the target's (w, h) in template
    pixels."""

    template: NDArray[np.uint8]
    search: NDArray[np.uint8]
    target: NDArray[np.float32]


@dataclass(frozen=True)
class Cost:
    """Mean overlap with the truth over all frames tracked, with float32 and with int8."""

    float32: float
    int8: float
    frames: int


def shots(model: LoadedModel, sequences: Sequence[SequenceData], count: int, seed: int = 0) -> list[Shot]:
    """Crops from frames spread over sequences; the target stands as far from the centre as it does while tracking.

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


def quantize(model: LoadedModel, crops: Sequence[Shot]) -> dict[str, bytes]:
    """int8 files of both branches.

    Args:
        model: What to quantise.
        crops: Calibration crops, some dozens.

    Returns:
        "template" and "search" -> bytes of an ONNX file.

    Raises:
        DeviceError: The package onnx, which ONNX Runtime's quantiser needs, isn't installed.
    """
    try:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise DeviceError(f"Quantising needs the package onnx ({error}); run: pip install onnx") from None
    config = model.config.model
    engine = OnnxEngine(config, model.state)
    embeddings = [engine.embed_template([shot.template], shot.target[None]).embedding for shot in crops]
    feeds: dict[str, list[dict[str, Any]]] = {
        "template": [{"template": s.template[None], "target": s.target[None]} for s in crops],
        "search": [{"search": s.search[None], "embedding": e} for s, e in zip(crops, embeddings, strict=True)],
    }
    out: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for branch, data in (
            ("template", template_model(config, model.state)),
            ("search", search_model(config, model.state)),
        ):
            plain, ready, small = (Path(folder) / f"{branch}-{name}.onnx" for name in ("plain", "ready", "int8"))
            plain.write_bytes(data)
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
            quantize_static(
                str(ready),
                str(small),
                _reader(feeds[branch]),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
                op_types_to_quantize=["Conv", "Add"],
                nodes_to_exclude=_head_nodes(ready),
            )
            out[branch] = small.read_bytes()
    return out


def _reader(feeds: list[dict[str, Any]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[dict[str, Any]] = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    return Reader()


def _head_nodes(path: Path) -> list[str]:
    import onnx

    return [node.name for node in onnx.load(str(path)).graph.node if node.name.startswith("head_")]


def accuracy_cost(
    model: LoadedModel, models: dict[str, bytes], sequences: Sequence[SequenceData], threads: int = 1
) -> Cost:
    """Tracks sequences with float32 and with int8, and compares both with the truth.

    Without the online filter: it needs an output that the files for other programs don't have.
    """
    overlaps: dict[str, list[NDArray[np.float64]]] = {"float32": [], "int8": []}
    for sequence in sequences:
        for name, overlap in overlaps.items():
            engine = OnnxEngine(model.config.model, model.state, threads, models if name == "int8" else None)
            tracker = SiamTracker(model, engine, replace(model.config.tracking, online_weight=0.0))
            boxes = run_one_pass(tracker, sequence.images(), sequence.init).boxes
            counts = is_valid(sequence.truth[1:])
            overlap.append(iou(boxes[1:], sequence.truth[1:])[counts])
    both = {name: np.concatenate(values) for name, values in overlaps.items()}
    return Cost(float(both["float32"].mean()), float(both["int8"].mean()), len(both["int8"]))
