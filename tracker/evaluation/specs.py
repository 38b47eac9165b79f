"""Specification of a tracker to run, as a small value that can be sent to other processes and machines, and the key of
its results."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tracker._version import __version__
from tracker.errors import ConfigError
from tracker.evaluation.baselines import OpenCVBaseline, StillBox, factory, model_files
from tracker.metrics.one_pass import OnePassTracker
from tracker.model.checkpoint import find_weights
from tracker.runtime.processor import package_version

PACKAGE = Path(__file__).resolve().parents[1]
# What can change a box: all code of the package, including new packages, except packages that are never between an
# image and a Track. Metrics and reports are not part of it: they are recomputed each time.
UNINVOLVED = (
    "annotate",
    "benchmark",
    "cli",
    "export",
    "matching",
    "metrics",
    "recipes",
    "serve",
    "training",
    "web",
    "weights",
)
INVOLVED = ("evaluation/baselines.py", "evaluation/run*.py", "metrics/one_pass.py")
"""Modules of the excluded packages that do take part."""


@dataclass(frozen=True)
class TrackerSpec:
    """How to build a tracker; picklable, hashable.

    Attributes:
        kind: "siamtrack", "opencv", "python" (an external class) or "still".
        name: Model name or file; OpenCV tracker's name; "module:Class".
        label: Name in tables and result folders.
        options: Sorted (key, value) pairs. siamtrack: device, engine, config (path), overrides (newline between
            several);
            opencv: model_dir.
    """

    kind: str
    name: str
    label: str
    options: tuple[tuple[str, str], ...] = ()

    def option(self, key: str) -> str | None:
        return dict(self.options).get(key)

    def build(self) -> OnePassTracker:
        """Builds the tracker.

        Raises:
            SiamTrackError: It can't be built (weights, device, OpenCV without it, ...).
        """
        if self.kind == "still":
            return StillBox()
        if self.kind == "opencv":
            return OpenCVBaseline(self.name, self.option("model_dir"))
        if self.kind == "python":
            return _python_class(self.name)()
        from tracker.tracking.tracker import SiamTracker

        overrides = (self.option("overrides") or "").split("\n")
        return SiamTracker.from_pretrained(
            self.name,
            self.option("device") or "auto",
            engine=self.option("engine") or "auto",
            config=self.option("config"),
            overrides=[o for o in overrides if o],
        )

    def resolved(self) -> TrackerSpec:
        """A copy with `auto` replaced by the engine that it selects here, and with the setting for skipped frames: all
        processes of a run use the same, and results of different precisions have different keys.

        Raises:
            SiamTrackError: The weights can't be read.
        """
        engine = self.option("engine") or "auto"
        if self.kind != "siamtrack" or (engine != "auto" and self.option("skip")):
            return self
        from tracker.model.checkpoint import load_model
        from tracker.runtime.select import resolve_engine

        overrides = [o for o in (self.option("overrides") or "").split("\n") if o]
        model = load_model(self.name, config=self.option("config"), overrides=overrides)
        if engine == "auto":
            engine = resolve_engine(model, self.option("device") or "auto")[0]
        known = {**dict(self.options), "engine": engine, "skip": model.config.tracking.skip.mode}
        return replace(self, options=tuple(sorted(known.items())))

    def check(self) -> None:
        """Raises what `build` would raise for missing files or a missing OpenCV tracker, without building."""
        self.facts()

    def facts(self) -> dict[str, Any]:
        """Everything that determines the boxes: file contents by sha256, options, versions."""
        facts: dict[str, Any] = {"kind": self.kind, "name": self.name}
        if self.kind == "opencv":
            factory(self.name)
            facts["name"] = self.name
            facts["files"] = {k: _sha256(p) for k, p in model_files(self.name, self.option("model_dir")).items()}
            facts["versions"] = _versions("opencv")
        elif self.kind == "python":
            module = sys.modules[_python_class(self.name).__module__]
            if module.__file__:
                facts["files"] = {"source": _sha256(Path(module.__file__))}
        elif self.kind == "siamtrack":
            facts["name"] = Path(self.name).name
            facts["files"] = {"weights": _sha256(find_weights(self.name))}
            config = self.option("config")
            if config:
                facts["files"]["config"] = _sha256(Path(config))
            facts["options"] = {k: v for k, v in self.options if k != "config"}
            facts["versions"] = _versions("torch", "onnxruntime", "openvino", "numpy", "opencv")
        return facts

    def fingerprint(self) -> str:
        """sha256 of `facts` and of the code between image and box."""
        return digest({**self.facts(), "code": code_version()})


def parse_model(text: str, options: Mapping[str, str]) -> TrackerSpec:
    """`siamtrack-s`, `FILE` or `LABEL=FILE` -> spec."""
    label, name = _label(text)
    if label is None:
        label = Path(name).stem if Path(name).suffix else name
    return TrackerSpec("siamtrack", name, _safe(label), tuple(sorted(options.items())))


def parse_tracker(text: str, model_dir: str | None) -> TrackerSpec:
    """`still`, `opencv:csrt`, `python:module:Class`, each optionally prefixed with `LABEL=` -> spec.

    Raises:
        ConfigError: It is none of these.
    """
    label, name = _label(text)
    if name == "still":
        return TrackerSpec("still", "still", _safe(label or "still"))
    kind, _, tracker = name.partition(":")
    if kind == "python" and ":" in tracker:
        return TrackerSpec("python", tracker, _safe(label or tracker.rpartition(":")[2]))
    if kind != "opencv" or not tracker:
        raise ConfigError(
            f"--tracker {text!r} isn't known; write still or opencv:NAME (csrt, kcf, mil, nano, vit, ...); --model "
            "is for ours."
        )
    options = (("model_dir", model_dir),) if model_dir else ()
    return TrackerSpec("opencv", tracker, _safe(label or f"opencv-{tracker}"), options)


def _python_class(name: str) -> Callable[[], OnePassTracker]:
    """The class that "module:Class" names; it needs `init(image, box)` and `update(image)`.

    Raises:
        ConfigError: It can't be imported.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"The tracker python:{name} can't be imported ({error}); its folder must be on PYTHONPATH."
        ) from None


def _label(text: str) -> tuple[str | None, str]:
    label, equals, rest = text.partition("=")
    return (label, rest) if equals and not Path(text).exists() and re.fullmatch(r"[\w .+-]+", label) else (None, text)


def _safe(label: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", label).strip("-.") or "tracker"


def digest(value: Any) -> str:
    """sha256 of a value that json can represent."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        if package == "opencv":
            import cv2

            found[package] = str(cv2.__version__)
            continue
        found[package] = package_version(package) or "absent"
    return found


def sources() -> list[Path]:
    """The source files of the package that can change a box."""
    rooms = {*UNINVOLVED, "evaluation"}
    general = (p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] not in rooms)
    return sorted({*general, *(p for pattern in INVOLVED for p in PACKAGE.glob(pattern))})


@lru_cache(maxsize=1)
def code_version() -> str:
    """Version number and a hash of the sources between image and box, so that results of modified code are never
    reused."""
    content = hashlib.sha256()
    for path in sources():
        content.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{__version__}+{content.hexdigest()[:12]}"
