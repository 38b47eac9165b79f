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
from tracker.serve.scheduler import Scheduler, fresh_first
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
        reader=SimpleNamespace(ready=True, oldest=0.0, newest=0.0, state="live", calm=False),
        crops=1, served=0.0, searched=0.0, faults=0, live=True, any_lost=False, targets=SimpleNamespace(),
    )  # fmt: skip


def looks(streams: dict[str, Any], scheduler: Scheduler, rounds: int, interval: float = 1.0) -> list[str]:
    """Which streams are looked at, one look an eighth of an interval; each has a new frame at a phase of its own."""
    names = {id(stream): name for name, stream in streams.items()}
    order, phases = [], {id(s): k / len(streams) for k, s in enumerate(streams.values())}
    for k in range(rounds):
        now = 10.0 + k * interval / 8
        for stream in streams.values():
            phase = phases[id(stream)]
            stream.reader.newest = now - (now - phase) % interval
        (taken,) = fresh_first(list(streams.values()), 1, now)
        taken.served = now
        scheduler._ready = list(streams.values())
        scheduler.give_turn([taken])
        order.append(names[id(taken)])
    return order


def test_a_worker_that_is_behind_looks_at_fresh_frames_and_passes_nobody_over() -> None:
    streams = {str(k): stand_in() for k in range(16)}
    order = looks(streams, Scheduler(streams, BatchConfig(), 1, lambda: False), 1600)
    counts = [order.count(name) for name in streams]
    assert sum(counts) == 1600 and min(counts) > 60 and max(counts) < 160
    ages = [(10.0 + k / 8 - int(name) / 16) % 1.0 for k, name in enumerate(order)]
    assert np.mean(ages) < 0.35  # in turn: 0.5


def test_a_file_has_its_turn_beside_live_streams() -> None:
    streams = {str(k): stand_in() for k in range(8)}
    streams["3"].live, streams["3"].reader.newest = False, -float("inf")
    now, order = 10.0, []
    for _ in range(80):
        for stream in streams.values():
            if stream.live:
                stream.reader.newest = now
        (taken,) = fresh_first(list(streams.values()), 1, now)
        taken.served = now
        order.append(next(name for name, stream in streams.items() if stream is taken))
        now += 0.01
    assert 6 <= order.count("3") <= 14


def test_lost_streams_search_in_turn_and_once_in_a_round() -> None:
    streams = {str(k): stand_in() for k in range(8)}
    for name in ("2", "5", "6"):
        streams[name].any_lost = True
    searched = []
    scheduler = Scheduler(streams, BatchConfig(), 1, lambda: False)
    for k in range(240):
        (taken,) = fresh_first(list(streams.values()), 1, 10.0 + k)
        taken.served = 10.0 + k
        scheduler._ready = list(streams.values())
        scheduler.give_turn([taken])
        if getattr(taken.targets, "may_search", False):
            searched.append(next(name for name, stream in streams.items() if stream is taken))
    assert 15 <= len(searched) <= 30 and min(searched.count(name) for name in ("2", "5", "6")) >= 5


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
    command = [sys.executable, "-m", "tracker.cli.synthetic", "--width=320", "--height=192", "--phases=4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        clocks = [server.stdout.readline().split() for _ in range(4)]
        server.kill()
    assert len({port for port, _ in clocks}) == 4
    begun = [float(epoch) for _, epoch in clocks]
    assert np.diff(begun) == pytest.approx([0.25] * 3)
