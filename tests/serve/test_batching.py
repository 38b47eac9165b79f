"""One network call for the windows of several streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.cli.helpers import tiny_model
from tests.serve.test_worker import BOXES, pictures
from tests.tracking.standin import pixel_tracker
from tracker.serve.batching import observe_many
from tracker.serve.targets import StreamTargets
from tracker.tracking.target import Target
from tracker.tracking.tracker import SiamTracker


def stream_of_one(tracker: SiamTracker, seed: int) -> tuple[list[Target], np.ndarray]:
    """The targets of a stream with one target, and its next frame."""
    images = pictures(2, seed)
    targets = StreamTargets(tracker, "weights")
    targets.start("one", images[0], BOXES["one"])
    return list(targets.targets.values()), images[1]


def test_a_look_for_many_streams_is_the_look_for_each() -> None:
    tracker = pixel_tracker()
    first, second = [pictures(2, seed) for seed in (3, 4)]
    a, b = [StreamTargets(tracker, "weights") for _ in range(2)]
    for name, box in BOXES.items():
        a.start(name, first[0], box)
    b.start("one", second[0], BOXES["one"])
    jobs = [(list(a.targets.values()), first[1]), (list(b.targets.values()), second[1])]
    together = observe_many(tracker.observer, jobs, 64)
    for (targets, frame), observed in zip(jobs, together, strict=True):
        for got, wanted in zip(
            observed.observations, tracker.observer.observe(targets, frame).observations, strict=True
        ):
            np.testing.assert_array_equal(got.found.response, wanted.found.response)
            assert got.score == wanted.score


def test_one_network_call_takes_windows_of_several_streams() -> None:
    tracker = pixel_tracker()
    streams = [stream_of_one(tracker, seed) for seed in (3, 4, 5)]
    tracker.engine.calls.clear()  # type: ignore[attr-defined]
    observe_many(tracker.observer, streams, 64)
    assert tracker.engine.calls[0] == (3, 3)  # type: ignore[attr-defined]


def test_the_engine_of_a_gpu_gets_few_sizes_of_batch(tmp_path: Path) -> None:
    """By its twin on the CPU: each target gets what it would get alone, in a batch that was filled up."""
    from tracker.model.checkpoint import load_model
    from tracker.runtime.cuda_engine import CudaEngine

    model = load_model(tiny_model(tmp_path / "tiny.safetensors"))
    engine = CudaEngine(model.module, "cpu", torch.float32)
    tracker = SiamTracker(model, engine)
    jobs = [stream_of_one(tracker, seed) for seed in (1, 2, 3, 4, 5)]
    together = observe_many(tracker.observer, jobs, 64)
    assert {key[0] for key in engine._plans} <= {1, 4, 6}
    for (targets, frame), observed in zip(jobs, together, strict=True):
        alone = tracker.observer.observe(targets, frame).observations[0]
        np.testing.assert_allclose(observed.observations[0].found.response, alone.found.response, atol=1e-3)
