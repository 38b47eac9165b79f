"""How many streams this machine can process: what `python -m tracker.cli.capacity` measures, and its table.

Latency is measured by the clock in the picture: from when a frame was due at the camera to its result at the
supervisor. It includes sending, network, decoding, waiting, tracking and the way back. "Waited" is from when a frame
was decoded to when the tracker took it: with newest-frame delivery at most a frame interval, however many streams there
are. "Processed" is the rest.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tracker.serve.config import ResultsConfig, ServeConfig, WorkersConfig
from tracker.serve.config_file import parse_stream
from tracker.serve.listeners import Results
from tracker.serve.messages import plan_of
from tracker.serve.process import ProcessHandle
from tracker.serve.supervisor import Supervisor
from tracker.serve.synthetic import LOOP, target_box

logger = logging.getLogger(__name__)

WARM_UP = 5.0
"""Seconds after the first result of the last stream that are not counted."""
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
HEAD = (
    "| streams | frames/s in, each | results/s, each | dropped % | p50 ms | p95 ms | waited p95 | processed p95 "
    "| cores used | MB | MB grown |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)
"""The first two lines of the table, see `row`."""


@dataclass(frozen=True)
class CapacityTest:
    """What is measured.

    Attributes:
        model: Shipped model or checkpoint file.
        device: cpu or cuda.
        decode: cpu, or an FFmpeg device.
        cores: Number of workers.
        pin: Whether worker k is kept on core k.
        seconds: Length of a run after warming up.
        width, height: Pixels of the pictures.
        rate: Frames per second.
    """

    model: str
    device: str
    decode: str
    cores: int
    pin: bool
    seconds: float
    width: int
    height: int
    rate: int


@dataclass
class CapacityRun:
    """Measurements of one run; latencies and waiting times in seconds, memory in MB."""

    latencies: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    results: int = 0
    frames: int = 0
    dropped: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    memory: list[float] = field(default_factory=list)


def measure(test: CapacityTest, count: int, clocks: Sequence[tuple[int, float]]) -> CapacityRun:
    """Runs a number of streams; `clocks` are ports and the times of their frames 0."""
    streams = {
        f"s{k}": parse_stream(
            f"s{k}",
            {
                "source": f"tcp://127.0.0.1:{clocks[k * len(clocks) // count][0]}",
                "targets": {"t": {"box": _box(test)}},
                "timeout": 30.0,
            },
            "the measurement",
        )
        for k in range(count)
    }
    config = ServeConfig(
        model=test.model, device=test.device, workers=WorkersConfig(count=test.cores, spare=False, decode=test.decode),
        results=ResultsConfig(stdout=False), streams=streams,
    )  # fmt: skip
    plan = replace(plan_of(config), observer="tracker.serve.synthetic:observe")
    results, handles = Results(config.results), []  # type: tuple[Results, list[ProcessHandle]]

    def hire() -> ProcessHandle:
        handles.append(ProcessHandle(plan))
        if test.pin:
            os.sched_setaffinity(handles[-1].pid or 0, {sorted(os.sched_getaffinity(0))[len(handles) - 1]})
        return handles[-1]

    supervisor, over, out = (
        Supervisor(config, hire, test.cores, results, lambda *news: None),
        threading.Event(),
        CapacityRun(),
    )
    epochs = {f"s{k}": clocks[k * len(clocks) // count][1] for k in range(count)}
    seen: dict[str, float] = {}
    counting = threading.Event()

    def note(line: Any) -> None:
        now = time.time()
        if "clock" not in line:
            return
        seen.setdefault(line["stream"], now)
        if counting.is_set():
            out.results += 1
            behind = (now - epochs[line["stream"]]) * test.rate - line["clock"]
            out.latencies.append(behind % LOOP / test.rate)
            out.waited.append(line["waited_ms"] / 1000)

    results.more.append(note)
    thread = threading.Thread(target=supervisor.run, args=(over,), daemon=True)
    thread.start()
    end = time.monotonic() + 120
    while len(seen) < count and time.monotonic() < end and thread.is_alive():
        time.sleep(0.1)
    time.sleep(WARM_UP)
    before, began, cpu = _totals(supervisor), time.monotonic(), _cpu(handles)
    counting.set()
    while time.monotonic() - began < test.seconds:
        out.memory.append(sum(_memory(h.pid) for h in handles))
        time.sleep(min(5.0, test.seconds / 4))
    counting.clear()
    out.seconds, out.cpu = time.monotonic() - began, _cpu(handles) - cpu
    if len(handles) > test.cores:
        logger.warning("%d worker(s) were replaced; the figures are those of the new.", len(handles) - test.cores)
    after = _totals(supervisor)
    out.frames, out.dropped = after[0] - before[0], after[1] - before[1]
    over.set()
    thread.join(40)
    return out


def _box(test: CapacityTest) -> list[float]:
    """The target's position in the first picture of every client."""
    return list(target_box(0, test.width, test.height))


def _totals(supervisor: Supervisor) -> tuple[int, int]:
    streams = supervisor.state()["streams"]
    return sum(s["frames"] for s in streams), sum(s["dropped"] for s in streams)


def _cpu(handles: Sequence[ProcessHandle]) -> float:
    """Processor time of the workers in seconds."""
    total = 0.0
    for handle in handles:
        with suppress(OSError):  # a worker that was replaced
            values = Path(f"/proc/{handle.pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(values[11]) + int(values[12])) / TICKS
    return total


def _memory(pid: int | None) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0.0


def row(count: int, one: CapacityRun) -> str:
    """A line of the table."""
    late, waited = np.array(one.latencies or [np.nan]) * 1000, np.array(one.waited or [np.nan]) * 1000
    (p50, p95), wait, work = np.quantile(late, (0.5, 0.95)), np.quantile(waited, 0.95), np.quantile(late - waited, 0.95)
    share = 100 * one.dropped / max(one.frames, 1)
    quarter = max(1, len(one.memory) // 4)
    grown = float(np.mean(one.memory[-quarter:]) - np.mean(one.memory[:quarter])) if one.memory else 0.0
    return (
        f"| {count} | {one.frames / one.seconds / count:.1f} | {one.results / one.seconds / count:.1f} | {share:.1f} | "
        f"{p50:.0f} | {p95:.0f} | {wait:.0f} | {work:.0f} | {one.cpu / one.seconds:.2f} | "
        f"{np.mean(one.memory):.0f} | {grown:+.1f} |"
    )
