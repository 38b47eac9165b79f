"""What a worker keeps of its targets over a restart, and batches of a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.helpers import tiny_model
from tests.conftest import moving_square
from tests.runtime.models import random_model
from tests.serve.test_worker import BOXES, pictures
from tests.tracking.standin import pixel_tracker
from tracker.runtime.select import build_engine
from tracker.serve.batching import observe_many
from tracker.serve.targets import StreamTargets
from tracker.settings import changed
from tracker.tracking.tracker import SiamTracker


def test_saved_targets_of_other_weights_are_embedded_anew(caplog: pytest.LogCaptureFixture) -> None:
    image = pictures(1)[0]
    before = StreamTargets(pixel_tracker(), "weights")
    before.start("one", image, BOXES["one"])
    numbers, views = before.save("one")
    after = StreamTargets(pixel_tracker(), "others")
    target = after.targets[after.restore("one", numbers, views)]
    assert target.box.tolist() == BOXES["one"] and "other weights" in caplog.text


def test_what_a_target_has_learnt_goes_on_after_a_restart() -> None:
    """Its online filter and its motion; the other weights' filter is not taken, since it reads other features."""
    model = random_model("boxes cosine")
    tracker = SiamTracker(
        model, build_engine(model, "cpu", "torch"), changed(model.config.tracking, {"states.sure_score": 0.0})
    )
    frames, boxes = moving_square(10)
    before = StreamTargets(tracker, "weights")
    number = before.start("one", frames[0], boxes[0])
    for k, image in enumerate(frames[1:]):
        before.follow(image, tracker.observer.observe(before.predict(image), image), k + 1, None)
    old = before.targets[number]
    saved = before.save("one")
    targets = StreamTargets(tracker, "weights")
    new = targets.targets[targets.restore("one", *saved)]
    assert old.filter is not None and new.filter is not None
    assert np.array_equal(old.filter.weights, new.filter.weights)
    assert np.array_equal(old.motion.apparent, new.motion.apparent) and np.abs(old.motion.apparent).max() > 0
    assert len(saved[1]) < 400_000, "it is sent every two seconds"
    others = StreamTargets(tracker, "others")
    assert others.targets[others.restore("one", *saved)].filter is None


def test_the_engine_of_a_gpu_gets_few_sizes_of_batch(tmp_path: Path) -> None:
    """By its twin on the CPU: batches are filled up to powers of two, and each target gets what it would get alone."""
    from tracker.model.checkpoint import load_model
    from tracker.runtime.cuda_engine import CudaEngine

    model = load_model(tiny_model(tmp_path / "tiny.safetensors"))
    tracker = SiamTracker(model, CudaEngine(model.module, "cpu", torch.float32))
    jobs = []
    for seed in (1, 2, 3):
        images = pictures(2, seed)
        targets = StreamTargets(tracker, "weights")
        targets.start("one", images[0], BOXES["one"])
        jobs.append((list(targets.targets.values()), images[1]))
    sizes: list[int] = []
    match = tracker.engine.match
    tracker.engine.match = lambda z, x: sizes.append(len(x)) or match(z, x)  # type: ignore[method-assign,func-returns-value]
    together = observe_many(tracker.observer, jobs, 64)
    assert sizes[0] == 4
    for (targets, frame), observed in zip(jobs, together, strict=True):
        alone = tracker.observer.observe(targets, frame).observations[0]
        np.testing.assert_allclose(observed.observations[0].found.logits, alone.found.logits, atol=1e-3)
