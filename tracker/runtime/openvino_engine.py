"""OpenVINO on the CPU: the same graphs as `onnxruntime_engine`, compiled by OpenVINO; on new Intel CPUs in bf16."""

from __future__ import annotations

from tracker.errors import DeviceError
from tracker.runtime.onnxruntime_engine import OnnxEngine, Session


class OpenVinoEngine(OnnxEngine):
    """Runs a Matcher's arrays in OpenVINO; precision as the CPU prefers it (float32, or bfloat16 where it has AMX)."""

    name = "openvino"
    concurrent = False  # a request takes one call at a time, and spreads a batch over its threads itself

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
        hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(network, "CPU", hints).create_infer_request()
        # The results live in the request's own buffers until its next run: hand out copies.
        return lambda inputs: [value.copy() for value in request.infer(inputs).values()]
