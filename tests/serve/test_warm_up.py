"""What a worker calls before its first stream: nothing that comes later is larger, so that its memory stays."""

from __future__ import annotations

from tests.tracking.standin import PixelEngine, ground, pixel_tracker, put, thing
from tracker.serve.messages import Plan
from tracker.serve.worker import StreamWorker


def test_no_call_is_larger_than_those_before_the_first_stream() -> None:
    tracker = pixel_tracker({"redetection.tiles": 3, "template_memory.size": 2})
    engine = tracker.engine
    assert isinstance(engine, PixelEngine)
    StreamWorker(Plan("pixels"), tracker).warm_up()
    views, windows = (max(sizes) for sizes in zip(*engine.calls, strict=True))
    assert (views, windows) == (3, 3)
    engine.calls.clear()
    tracker.init(put(ground(), thing(), 60, 50), (60, 50, 28, 28))
    for seed in range(2, 40):  # it changes its looks, then is gone
        tracker.update(put(ground(), thing(seed=seed // 8), 60, 50))
    for _ in range(20):
        tracker.update(ground(seed=5))
    assert max(v for v, _ in engine.calls) <= views and max(w for _, w in engine.calls) <= windows
