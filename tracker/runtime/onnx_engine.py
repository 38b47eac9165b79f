"""ONNX Runtime on the CPU: the default there. Needs no torch: the graphs are built from the checkpoint's arrays."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.config import ModelConfig
from tracker.errors import DeviceError
from tracker.model.zoo import misfit
from tracker.runtime.base import Response
from tracker.runtime.onnx_graph import search_model, template_model
from tracker.types import Image

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

logger = logging.getLogger(__name__)


class OnnxEngine:
    """Runs a Matcher's arrays in ONNX Runtime, float32.

    Attributes:
        threads: Threads within one operation.
    """

    name = "onnxruntime"
    device = "cpu"

    def __init__(self, config: ModelConfig, state: Mapping[str, NDArray[np.float32]], threads: int = 1) -> None:
        self.threads = threads
        self._config = config
        try:
            self._search_model = search_model(config, state)
            template = template_model(config, state)
        except KeyError as error:
            raise misfit(None, KeyError(f"the array {error} is missing")) from None
        self._template = _session(template, threads)
        # Known sizes let ONNX Runtime fold the shape arithmetic; other sizes run in a session of their own, made when needed.
        self._usual = config.search_size
        self._search = _session(self._search_model, threads, height=self._usual, width=self._usual)
        self._any: InferenceSession | None = None
        self._batches: dict[tuple[int, ...], NDArray[np.uint8]] = {}

    def embed_template(self, crops: Sequence[Image], targets: NDArray[np.float32]) -> NDArray[np.float32]:
        sizes = np.asarray(targets, dtype=np.float32).reshape(-1, 2)
        return self._template.run(None, {"template": np.stack(crops), "target": sizes})[0]  # type: ignore[no-any-return]

    def match(self, templates: NDArray[np.float32], crops: Sequence[Image]) -> Response:
        batch = self._batch(crops)
        session = self._search if batch.shape[1:3] == (self._usual, self._usual) else self._dynamic()
        out = session.run(None, {"search": batch, "embedding": templates})
        return Response(out[0], out[1] if len(out) > 1 else None)

    def stack(self, templates: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(list(templates))

    def to_host(self, templates: NDArray[np.float32]) -> NDArray[np.float32]:
        return templates

    def from_host(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ascontiguousarray(embeddings, dtype=np.float32)

    def _batch(self, crops: Sequence[Image]) -> NDArray[np.uint8]:
        """(B, H, W, 3); one crop is not copied, several go to a buffer that is kept."""
        if len(crops) == 1:
            return crops[0][None]
        shape = (len(crops), *crops[0].shape)
        if shape not in self._batches:
            self._batches = {shape: np.empty(shape, np.uint8)}
        return np.stack(crops, out=self._batches[shape])

    def _dynamic(self) -> InferenceSession:
        if self._any is None:
            self._any = _session(self._search_model, self.threads)
        return self._any


def _session(model: bytes, threads: int, **dimensions: int) -> InferenceSession:
    try:
        import onnxruntime as ort
    except ImportError:
        raise DeviceError(
            "The engine onnxruntime needs the package of that name, which is not installed; run: pip install onnxruntime, "
            "or choose --engine torch."
        ) from None

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A waiting thread that spins takes the core from the decoder of the next frame.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for name, size in dimensions.items():
        options.add_free_dimension_override_by_name(name, size)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
