"""ONNX Runtime on the CPU: the default engine there. Needs no torch: the graphs are built from the checkpoint's
arrays."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.errors import DeviceError, misfit
from tracker.model_config import ModelConfig
from tracker.runtime.base import Engine, Response
from tracker.runtime.onnx.graphs import prepare_model, search_model, template_model
from tracker.runtime.onnx.network import Ranges
from tracker.types import Image

Array = NDArray[np.float32]
INT8 = "-int8"
"""Suffix of the name of an engine whose search branch runs in int8."""
Session = Callable[[dict[str, NDArray]], list[Array]]


@dataclass(frozen=True, eq=False)
class OnnxTemplates:
    """Embedded templates: as feature maps (B, C, h, w), and as the matrices (B, rows, columns) that the search branch
    takes."""

    features: Array
    embedding: Array


class _Stacks:
    """Stacked template matrices, cached because the same targets are matched together in frame after frame.

    An entry belongs to the first of its targets, so that no target is kept alive after its tracker.
    """

    EACH = 2
    """Entries kept per target: with its neighbours, and of several windows in the search for a lost one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: weakref.WeakKeyDictionary[OnnxTemplates, list[_Stack]] = weakref.WeakKeyDictionary()

    def __call__(self, templates: Sequence[OnnxTemplates]) -> OnnxTemplates:
        first = templates[0]
        if len(templates) == 1:
            return first
        with self._lock:
            for stack in self._kept.get(first, ()):
                if len(stack.parts) == len(templates) and all(
                    part() is t for part, t in zip(stack.parts, templates, strict=True)
                ):
                    return stack.whole
        whole = OnnxTemplates(
            np.concatenate([t.features for t in templates]), np.concatenate([t.embedding for t in templates])
        )
        with self._lock:
            kept = self._kept.setdefault(first, [])
            kept.append(_Stack([weakref.ref(t) for t in templates], whole))
            del kept[: -self.EACH]
        return whole


@dataclass(frozen=True)
class _Stack:
    parts: list[weakref.ref[OnnxTemplates]]
    whole: OnnxTemplates


class OnnxEngine(Engine):
    """Runs a Matcher's arrays in ONNX Runtime, float32.

    Attributes:
        threads: Threads within one operation on a full window.
        parallel_threads: Threads that several targets are distributed over.
        search_size: Side of the full window.
    """

    name = "onnxruntime"
    concurrent = True
    device = "cpu"

    def __init__(
        self,
        config: ModelConfig,
        state: Mapping[str, Array],
        threads: int = 1,
        models: Mapping[str, bytes] | None = None,
        sizes: Sequence[int] = (),
        parallel_threads: int | None = None,
        ranges: Ranges | None = None,
    ) -> None:
        """Builds the graphs and compiles the one that every frame needs.

        Args:
            config, state: Of a `LoadedModel`.
            threads: Threads within one operation on a window of at least `search_size`; smaller ones use one.
            models: Graphs to use instead of the built ones: "template" and "search" (for instance int8 ones).
            sizes: Further sides of search crops that are frequent, beside `search_size`.
            parallel_threads: Threads that several targets are distributed over; None: as many as `threads`.
            ranges: Ranges of the layers that run in int8 in the search branch (`tracker.runtime.ranges`); None:
                float32.

        Raises:
            WeightsError: An array is missing.
            DeviceError: onnxruntime is not installed, or the backbone has no ONNX graph.
        """
        if ranges is not None:
            self.name = f"{self.name}{INT8}"
        self.threads, self.parallel_threads, self.search_size = threads, parallel_threads or threads, config.search_size
        try:
            self._models: dict[str | int, bytes] = {
                "template": template_model(config, state),
                "prepare": prepare_model(config, state),
            }
            self._models["search"] = search_model(config, state, features=True, ranges=ranges)
            # With a fixed size no shapes are computed at run time; other sizes have sessions of their own.
            self._usual = (
                set() if "search" in (models or {}) else {size for size in (config.search_size, *sizes) if size > 0}
            )
            self._models.update(
                {size: search_model(config, state, features=True, size=size, ranges=ranges) for size in self._usual}
            )
        except KeyError as error:
            raise misfit(None, KeyError(f"the array {error} is missing")) from None
        self._models.update(models or {})
        self._sessions: dict[str | int, Session] = {}
        self._making = threading.Lock()
        self._stacks = _Stacks()
        self._twin: OnnxEngine | None = None
        self._compile()

    def _compile(self) -> None:
        for size in self._usual:  # the session for every frame is compiled now, the others on first use
            self._run(size)

    def one_thread(self) -> OnnxEngine:
        """This engine with one thread per call, callable from several threads at once; both accept the same
        templates."""
        if self.threads == 1:
            return self
        if self._twin is None:
            self._twin = copy.copy(self)
            self._twin._sessions = {name: run for name, run in self._sessions.items() if self._threads(name) == 1}
            self._twin.threads = 1
            self._twin._compile()
        return self._twin

    def embed_template(self, crops: Sequence[Image], targets: Array) -> OnnxTemplates:
        sizes = np.asarray(targets, dtype=np.float32).reshape(-1, 2)
        embedding, features = self._run("template")({"template": np.stack(crops), "target": sizes})
        return OnnxTemplates(features, embedding)

    def match(self, templates: OnnxTemplates, crops: Sequence[Image]) -> Response:
        batch = crops[0][None] if len(crops) == 1 else np.stack(crops)
        height, width = batch.shape[1:3]
        session = self._run(height if height == width and height in self._usual else "search")
        out = session({"search": batch, "embedding": templates.embedding})
        return Response(*out) if len(out) > 1 else Response(out[0], None)

    def stack(self, templates: Sequence[OnnxTemplates]) -> OnnxTemplates:
        return self._stacks(templates)

    def to_host(self, templates: OnnxTemplates) -> Array:
        return templates.features

    def from_host(self, embeddings: Array) -> OnnxTemplates:
        features = np.ascontiguousarray(embeddings, dtype=np.float32)
        return OnnxTemplates(features, self._run("prepare")({"features": features})[0])

    def _run(self, name: str | int) -> Session:
        if name not in self._sessions:
            with self._making:  # concurrent callers wait until one of them has built it
                if name not in self._sessions:
                    self._sessions[name] = self._session(self._models[name], self._threads(name))
        return self._sessions[name]

    def _threads(self, name: str | int) -> int:
        """Number of threads for a graph.

        In a small window a second thread gains a tenth of the time on an idle machine, and nothing beside decoder and
        encoder.
        """
        return 1 if isinstance(name, int) and name < self.search_size else self.threads

    def _session(self, model: bytes, threads: int) -> Session:
        """Compiles a graph."""
        try:
            import onnxruntime as ort
        except ImportError:
            raise DeviceError(
                "The engine onnxruntime needs the package of that name, which is not installed; run: pip install "
                "onnxruntime, or choose --engine torch."
            ) from None

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning thread would take the core from the decoder of the next frame.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda inputs: session.run(None, inputs)
