"""Selection and construction of the engine for a model and device."""

from __future__ import annotations

import ctypes.util
import importlib.util
import logging
import os
import sys
from typing import TYPE_CHECKING

from tracker.errors import DeviceError, misfit, reading, shown
from tracker.model.backbone_specs import SPECS
from tracker.runtime.base import Engine, Response
from tracker.runtime.onnxruntime_engine import OnnxEngine
from tracker.runtime.openvino_engine import OpenVinoEngine
from tracker.runtime.processor import cores

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel
    from tracker.runtime.onnx.network import Ranges

__all__ = ["ENGINES", "Engine", "Response", "build_engine", "default_threads"]

logger = logging.getLogger(__name__)

ENGINES = ("auto", "torch", "onnxruntime", "onnxruntime-int8", "openvino", "openvino-int8", "openvino-bf16", "cuda")


# Engines that run on one kind of device alone.
HOMES = {
    **{
        name: ("cpu", f"the engine {name} runs there")
        for name in ("onnxruntime", "onnxruntime-int8", "openvino", "openvino-int8", "openvino-bf16")
    },
    "cuda": ("cuda", "the engine cuda runs there"),
}


def default_threads(most: int | None = 4) -> int:
    """Threads of one engine: OMP_NUM_THREADS if set, otherwise the cores of this process, at most `most` (None:
    all)."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return cores() if most is None else min(cores(), most)


def build_engine(model: LoadedModel, device: str = "auto", engine: str = "auto", threads: int | None = None) -> Engine:
    """The engine for a model.

    Args:
        model: From `tracker.model.checkpoint.load_model`.
        device: auto, cpu, cuda or cuda:N.
        engine: auto (the fastest available one, which is logged with the reason), or a name of `ENGINES`.
        threads: CPU threads within one operation, and those that several targets are distributed over. None:
            `default_threads()` for the former, all cores (or OMP_NUM_THREADS) for the latter.

    Raises:
        DeviceError: The device or engine is unknown or not available.
    """
    if not isinstance(device, str):
        raise DeviceError(f"The device {shown(device)} is unknown; it is auto, cpu, cuda or cuda:N.")
    if not isinstance(engine, str) or engine not in ENGINES:
        raise DeviceError(f"The engine {engine!r} is unknown; there are {', '.join(ENGINES)}.")
    if device == "auto":
        device, reason = HOMES[engine] if engine in HOMES else find_device()
        logger.info("device auto: %s (%s)", device, reason)
    threads, parallel_threads = (threads, threads) if threads else (default_threads(), default_threads(None))
    if engine == "auto":
        engine, reason = resolve_engine(model, device)
        logger.info("engine auto: %s (%s)", engine, reason)
    kind = device.split(":")[0]
    if engine in HOMES and kind != HOMES[engine][0]:
        raise DeviceError(
            f"The engine {engine} runs on {HOMES[engine][0]}, not on {device!r}; give --device auto, or --engine torch."
        )
    with reading(lambda why: misfit(model.path, why)):  # arrays of wrong shapes are detected when the graphs are built
        return _build(model, device, engine, threads, parallel_threads)


def _build(model: LoadedModel, device: str, engine: str, threads: int, parallel_threads: int) -> Engine:
    """The engine of a known name."""
    small = model.config.tracking.small_search
    sizes = (small.size, small.middle)
    ranges = _ranges(model) if engine.endswith("-int8") else None
    config, state = model.config.model, model.state
    if engine.startswith("onnxruntime"):
        return OnnxEngine(config, state, threads, sizes=sizes, parallel_threads=parallel_threads, ranges=ranges)
    if engine.startswith("openvino"):
        return OpenVinoEngine(config, state, threads, bf16=engine.endswith("-bf16"), sizes=sizes, ranges=ranges)
    from tracker.runtime.cuda_device import check_device
    from tracker.runtime.cuda_engine import CudaEngine

    if engine == "cuda":
        return CudaEngine(model.module, device)
    from tracker.runtime.torch_engine import TorchEngine

    check_device(device)
    return TorchEngine(model.module, device)


def _ranges(model: LoadedModel) -> Ranges:
    from tracker.runtime.ranges import SUFFIX, load_ranges

    ranges = load_ranges(model)
    if ranges is None:
        raise DeviceError(
            f"The model {model.name} was not calibrated for int8: it has no file {SUFFIX} beside its checkpoint; "
            "siamtrack export --int8 makes one, or choose --engine onnxruntime."
        )
    return ranges


def nvidia_driver() -> bool:
    """Whether this machine has an NVIDIA driver, according to the file system, without importing torch (a second or
    two)."""
    if sys.platform == "win32":
        return ctypes.util.find_library("nvcuda") is not None
    return any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-ctrl"))


def find_device() -> tuple[str, str]:
    """cuda if there is a card that torch can use, otherwise cpu; and the reason."""
    if not nvidia_driver():
        return "cpu", "no NVIDIA driver here"
    import torch

    if torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name()
    return (
        "cpu",
        "there is an NVIDIA driver, but this torch can't use it: it was built without CUDA, or for a newer driver",
    )


def resolve_engine(model: LoadedModel, device: str = "auto") -> tuple[str, str]:
    """The engine selected by `auto`, and the reason; on a CPU the fastest of the candidates, timed once
    (`tracker.runtime.choice`).

    Args:
        model: The model to run.
        device: As in `build_engine`.
    """
    if device == "auto":
        device = find_device()[0]
    if device.split(":")[0] == "cuda":
        return "cuda", "half precision and CUDA graphs"
    if device != "cpu":
        return "torch", f"it knows what {device} is"
    if importlib.util.find_spec("onnxruntime") is None:
        return "torch", "onnxruntime, which is faster on a CPU, is not installed"
    backbone = model.config.model.backbone
    if backbone not in SPECS or not SPECS[backbone].onnx:
        return "torch", f"the backbone {backbone} has no ONNX graph"
    from tracker.runtime.choice import choose

    with reading(lambda why: misfit(model.path, why)):
        choice = choose(model, lambda name: _build(model, device, name, 1, 1))
    return choice.engine, choice.reason
