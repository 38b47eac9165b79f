"""The checks of `siamtrack doctor`, independent of each other so that one broken package affects one section only."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import io
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tracker._version import __version__
from tracker.runtime.processor import cores, package_version, processor

REQUIRED = {
    "torch": "torch",
    "numpy": "numpy",
    "cv2": "opencv-python",
    "av": "av",
    "onnxruntime": "onnxruntime",
    "omegaconf": "omegaconf",
    "safetensors": "safetensors",
    "tqdm": "tqdm",
    "got10k": "got10k",
    "six": "six",
}
OPTIONAL = {
    "openvino": ("openvino", "a faster engine on recent Intel CPUs"),
    "onnx": ("onnx", "siamtrack export"),
    "optuna": ("optuna", "siamtrack tune"),
    "ray": ("ray", "evaluation and siamtrack serve on a cluster"),
    "aiohttp": ("aiohttp", "siamtrack live --web, control of siamtrack serve"),
    "paho": ("paho-mqtt", "results of siamtrack serve to MQTT"),
    "prometheus_client": ("prometheus-client", "/metrics of siamtrack serve"),
    "tensorboard": ("tensorboard", "training logs"),
}
OPENCV_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
ENCODERS = {
    "H.264": ("libx264", "libopenh264", "h264_videotoolbox", "h264_nvenc"),
    "MPEG-4": ("mpeg4",),
    "MJPEG": ("mjpeg",),
}
DECODERS = {"H.264": "h264", "H.265": "hevc", "VP9": "vp9", "AV1": "libdav1d"}


@dataclass(frozen=True)
class ReportLine:
    """One line of the report.

    Attributes:
        name: The subject.
        text: The finding; for a problem, its reason and what to do.
        ok: False for a problem.
        fatal: Whether tracking a file requires it.
    """

    name: str
    text: str
    ok: bool = True
    fatal: bool = False


def system() -> list[ReportLine]:
    """Python, operating system, processor."""
    import tracker

    return [
        ReportLine("siamtrack", f"{__version__} in {Path(tracker.__file__).parent}"),
        ReportLine("python", f"{platform.python_version()} ({sys.executable})", ok=sys.version_info >= (3, 10)),
        ReportLine("system", f"{platform.platform()}, {processor()[0]}, {cores()} threads usable"),
    ]


def packages() -> list[ReportLine]:
    """Required packages are imported (which reveals a broken wheel); optional ones are only located."""
    lines = []
    for module, name in REQUIRED.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            if importlib.util.find_spec(module) is None:
                fatal = module not in ("got10k", "six", "onnxruntime")
                lines.append(ReportLine(name, f"not installed; `pip install {name}`", ok=False, fatal=fatal))
            else:
                lines.append(
                    ReportLine(name, f"installed but broken: {first_line(error)}{_hint(error)}", ok=False, fatal=True)
                )
        else:
            lines.append(ReportLine(name, _version(name, module)))
    wheels = [name for name in OPENCV_WHEELS if _version(name)]
    if len(wheels) > 1:
        text = (
            f"{' and '.join(wheels)} overwrite each other's files; `pip uninstall {' '.join(wheels)}`, then install one"
        )
        lines.append(ReportLine("opencv wheels", text, ok=False))
    for module, (name, use) in OPTIONAL.items():
        there = importlib.util.find_spec(module) is not None
        lines.append(ReportLine(name, _version(name) if there else f"not installed (optional: {use})", ok=there))
    return lines


def video() -> list[ReportLine]:
    """The codecs that FFmpeg's libraries inside PyAV can write (tested by encoding) and read."""
    import av

    lines = []
    for label, names in ENCODERS.items():
        tried = {name: _try_encoder(name) for name in names if name in av.codecs_available}
        works = [name for name, problem in tried.items() if problem is None]
        problem = (
            "; ".join(f"{name}: {text}" for name, text in tried.items()) or "this build of PyAV has no such encoder"
        )
        lines.append(ReportLine(f"write {label}", works[0] if works else problem, ok=bool(works)))
    for label, name in DECODERS.items():
        there = name in av.codecs_available
        lines.append(
            ReportLine(
                f"read {label}",
                f"{name} is there, not tried" if there else "this build of PyAV has no such decoder",
                ok=there,
            )
        )
    return lines


def _try_encoder(name: str) -> str | None:
    """None if one gray frame can be encoded into memory, else the reason."""
    import av
    import numpy as np

    try:
        with av.open(io.BytesIO(), "w", format="matroska") as container:
            stream: Any = container.add_stream(name, rate=Fraction(25))
            stream.width, stream.height = 64, 64
            stream.pix_fmt = "yuvj420p" if name == "mjpeg" else "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="bgr24")
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
    except Exception as error:
        return first_line(error)
    return None


def display() -> list[ReportLine]:
    """The GUI that OpenCV was built with, and whether there is a display."""
    import cv2

    row = next((row for row in cv2.getBuildInformation().splitlines() if row.strip().startswith("GUI:")), "GUI: NONE")
    toolkit = row.split(":", 1)[1].strip()
    from tracker.media.window import display_available

    answer = display_available()
    there, why = answer if isinstance(answer, tuple) else (bool(answer), "")
    names = [f"{name}={os.environ[name]}" for name in ("DISPLAY", "WAYLAND_DISPLAY") if os.environ.get(name)]
    text = (
        f"usable {' '.join(names)}".strip()
        if there
        else f"{why or 'none found'}; everything but the window works: pass --box x,y,w,h"
    )
    return [ReportLine("opencv GUI", toolkit, ok=toolkit.upper() != "NONE"), ReportLine("display", text, ok=there)]


def cameras() -> list[ReportLine]:
    """The cameras of this computer."""
    from tracker.media.sources.cameras import list_cameras

    found = []
    for camera in list_cameras():
        text = f"{camera.name or 'opens'} ({camera.problem})" if camera.problem else camera.name or "opens"
        found.append(ReportLine(f"camera {camera.index}", text, ok=not camera.problem))
    return found or [ReportLine("cameras", "none found", ok=False)]


def devices() -> list[ReportLine]:
    """CPU threads and CUDA, with the reason if CUDA is not available."""
    import torch

    lines = [ReportLine("cpu", f"torch uses {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        for k in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(k)
            lines.append(
                ReportLine(
                    f"cuda:{k}",
                    f"{card.name}, {card.total_memory / 2**30:.0f} GiB (torch built for CUDA {torch.version.cuda})",
                )
            )
        return lines
    if torch.version.cuda is None:
        reason = "this torch was built without CUDA; pytorch.org has wheels with it"
    elif os.environ.get("CUDA_VISIBLE_DEVICES", None) in ("", "-1"):
        reason = f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']!r} hides all GPUs"
    elif not any(
        Path(name).exists() for name in ("/dev/nvidia0", "/proc/driver/nvidia/version")
    ) and sys.platform.startswith("linux"):
        reason = f"torch is built for CUDA {torch.version.cuda}, but no NVIDIA driver is loaded"
    else:
        reason = (
            f"torch is built for CUDA {torch.version.cuda} but finds no GPU that it can use; `nvidia-smi` tells "
            "the driver's version"
        )
    return [*lines, ReportLine("cuda", reason, ok=False)]


def engines() -> list[ReportLine]:
    """The available engines."""
    lines = []
    for module in ("torch", "onnxruntime", "openvino"):
        if importlib.util.find_spec(module) is None:
            lines.append(ReportLine(module, f"not installed; `pip install {module}`", ok=False))
            continue
        text = _version(module)
        if module == "onnxruntime":
            import onnxruntime

            providers = onnxruntime.get_available_providers()
            text += f" ({', '.join(name.removesuffix('ExecutionProvider') for name in providers)})"
        lines.append(ReportLine(module, text))
    return [*lines, _chosen_engine()]


def _chosen_engine() -> ReportLine:
    """The engine that --engine auto selects here for the default model, and the reason."""
    from tracker.cli.model_options import DEFAULT_MODEL
    from tracker.model.checkpoint import load_model
    from tracker.runtime.select import resolve_engine

    name, reason = resolve_engine(load_model(DEFAULT_MODEL))
    flags = ", ".join(processor()[1]) or "not known"
    return ReportLine("--engine auto", f"{name}: {reason}; flags of the processor: {flags}")


def models() -> list[ReportLine]:
    """The checkpoints that ship with the package."""
    import tracker

    folder = Path(tracker.__file__).parent / "weights"
    files = sorted(path for path in folder.glob("*") if path.suffix in (".safetensors", ".pt"))
    if not files:
        return [ReportLine("weights", f"none in {folder}; pass --model FILE", ok=False)]
    return [ReportLine(path.stem, f"{path.stat().st_size / 2**20:.1f} MB") for path in files]


def trial(track_a_clip: Callable[[str], str]) -> list[ReportLine]:
    """A clip that is encoded, decoded and tracked, with the first available encoder."""
    import av

    names = [
        name
        for group in ENCODERS.values()
        for name in group
        if name in av.codecs_available and _try_encoder(name) is None
    ]
    if not names:
        return [ReportLine("tracking", "not tried: no encoder works here to make a clip with", ok=False)]
    try:
        return [ReportLine("tracking", track_a_clip(names[0]))]
    except Exception as error:
        text = f"tried, and it failed: {type(error).__name__}: {first_line(error)}"
        return [ReportLine("tracking", text, ok=False, fatal=True)]


def _version(name: str, module: str = "") -> str:
    """The version of a distribution, or of any wheel that provides the module; "" if unknown."""
    for candidate in [name, *(OPENCV_WHEELS if module == "cv2" else ())]:
        if version := package_version(candidate):
            return version if candidate == name else f"{version} ({candidate})"
    return str(getattr(sys.modules.get(module), "__version__", ""))


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _hint(error: BaseException) -> str:
    text = str(error)
    if "libGL" in text or "libgthread" in text or "libEGL" in text:
        return "; install the system's libgl1 and libglib2.0-0, or use opencv-python-headless instead"
    return ""
