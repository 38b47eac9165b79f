"""Multiply-accumulate operations: of a model, and of this processor in a second."""

from __future__ import annotations

import numpy as np

from tracker.benchmark.measure import PEAK_SIDE, Series
from tracker.model.checkpoint import LoadedModel
from tracker.runtime.onnx.writer import Graph


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
    """10^9 multiply-adds a second of a large float32 matrix product: what this machine gives to dense arithmetic."""
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
    # With one thread processor time is the time that the product took; with several it adds them up.
    return n**3 / min(series.cpu if threads == 1 else series.wall) / 1e9
