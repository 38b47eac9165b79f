"""Which frames of a live stream are looked at, and which a newer one replaces."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tracker.serve.config import BatchConfig, LimitsConfig, StreamConfig
from tracker.serve.metrics import Counters
from tracker.serve.reader import CALM_BURST, Reader
from tracker.serve.scheduler import Scheduler
from tracker.types import Frame

IMAGE = np.zeros((8, 8, 3), np.uint8)


def waiting(calm: bool, ages: list[float]) -> tuple[list[int], Counters]:
    """The numbers of the frames that are taken of a reader in which frames of these ages wait, and its counters."""
    counters = Counters()
    reader = Reader("a", StreamConfig(source="tcp://nowhere"), LimitsConfig(), counters, lambda: None)
    reader.calm = calm
    now = time.monotonic()
    for k, age in enumerate(ages):
        reader._put_newest(lambda k=k: Frame(IMAGE, k), now - age)  # type: ignore[misc]
    taken = []
    while (got := reader.take()) is not None:
        taken.append(got[0].index)
    return taken, counters


def test_a_worker_that_is_behind_looks_at_the_newest_frame_alone() -> None:
    taken, counters = waiting(False, [0.12, 0.08, 0.04, 0.0])
    assert taken == [3] and (counters.frames, counters.dropped) == (4, 3)


def test_a_worker_with_time_to_spare_looks_at_what_a_short_stall_held_up() -> None:
    taken, counters = waiting(True, [0.12, 0.08, 0.04, 0.0])
    assert taken == [0, 1, 2, 3] and counters.dropped == 0
    taken, counters = waiting(True, [0.9, 0.8, *[0.02] * CALM_BURST])
    assert taken == list(range(2, 2 + CALM_BURST)) and counters.dropped == 2


def stand_in() -> Any:
    return SimpleNamespace(
        reader=SimpleNamespace(ready=True, oldest=0.0, state="live", calm=False), crops=1, served=0.0, faults=0
    )


@pytest.mark.parametrize(("worked", "calm"), [(0.0, True), (0.02, False)])
def test_a_worker_knows_whether_it_has_time_to_spare(worked: float, calm: bool) -> None:
    stream = stand_in()
    scheduler = Scheduler({"a": stream}, BatchConfig(), 1, lambda: False)
    for _ in range(60):
        stream.reader.ready = worked > 0
        time.sleep(worked)
        scheduler.gather(0.0 if worked else 0.03)
    stream.reader.ready = True
    scheduler.wake()
    assert scheduler.gather(0.0) == [stream] and stream.reader.calm is calm


def test_synthetic_streams_are_out_of_step() -> None:
    command = [sys.executable, "-m", "tracker.serve.synthetic", "--width=320", "--height=192", "--phases=4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        clocks = [server.stdout.readline().split() for _ in range(4)]
        server.kill()
    assert len({port for port, _ in clocks}) == 4
    begun = [float(epoch) for _, epoch in clocks]
    assert np.diff(begun) == pytest.approx([0.25] * 3)
