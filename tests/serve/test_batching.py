"""One network call for the windows of several streams."""

from __future__ import annotations

import numpy as np

from tests.serve.test_worker import BOXES, pictures
from tests.tracking.standin import pixel_tracker
from tracker.serve.batching import observe_many
from tracker.serve.targets import StreamTargets


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
            np.testing.assert_array_equal(got.found.logits, wanted.found.logits)
            assert got.score == wanted.score


def test_one_network_call_takes_windows_of_several_streams() -> None:
    tracker = pixel_tracker()
    streams = []
    for seed in (3, 4, 5):
        images = pictures(2, seed)
        targets = StreamTargets(tracker, "weights")
        targets.start("one", images[0], BOXES["one"])
        streams.append((list(targets.targets.values()), images[1]))
    tracker.engine.calls.clear()  # type: ignore[attr-defined]
    observe_many(tracker.observer, streams, 64)
    assert tracker.engine.calls[0] == (3, 3)  # type: ignore[attr-defined]
