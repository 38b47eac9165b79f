"""OpenVINO on the CPU: the same graphs as `onnxruntime_engine`, compiled by OpenVINO."""

from __future__ import annotations

from typing import Any

from tracker.errors import DeviceError
from tracker.runtime.onnxruntime_engine import OnnxEngine, Session


class OpenVinoEngine(OnnxEngine):
    """Runs a Matcher's arrays in OpenVINO: float32, int8 if `ranges` are given, or bfloat16."""

    name = "openvino"
    concurrent = False  # a request serves one call at a time, and distributes a batch over its threads itself

    def __init__(self, *args: Any, bf16: bool = False, **options: Any) -> None:
        """As `OnnxEngine`.

        Args:
            args, options: As in `OnnxEngine`.
            bf16: Whether float32 arithmetic may use bfloat16. False: never, whatever the processor prefers.
        """
        self._precision = "bf16" if bf16 else "f32"
        if bf16:
            self.name = f"{self.name}-bf16"
        super().__init__(*args, **options)

    def _session(self, model: bytes, threads: int) -> Session:
        try:
            import openvino as ov
        except ImportError:
            raise DeviceError(
                "The engine openvino needs the package of that name, which is not installed; run: pip install "
                "openvino, or choose --engine onnxruntime."
            ) from None

        core = ov.Core()
        network = core.read_model(model=model, weights=b"")
        hints = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self._precision,
        }
        request = core.compile_model(network, "CPU", hints).create_infer_request()
        # The results are in the request's buffers until its next run: return copies.
        return lambda inputs: [value.copy() for value in request.infer(inputs).values()]
