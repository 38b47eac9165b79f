"""Cost of a dead worker: kills workers (SIGKILL) that process live streams, and measures how long each of their streams
had no result; `python -m tracker.cli.failover` prints it.

The streams are synthetic (`tracker.serve.synthetic`), with a key frame each second: a reopened stream has no picture
before the next key frame, so half a second of the gap, on average, is caused by the camera.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tracker.serve.config import ResultsConfig, ServeConfig, WorkersConfig
from tracker.serve.config_file import parse_stream
from tracker.serve.listeners import Results
from tracker.serve.messages import plan_of
from tracker.serve.process import ProcessHandle
from tracker.serve.supervisor import Supervisor

WAIT = 180.0
"""Greatest number of seconds to wait for anything."""


class Trial:
    """A running supervisor on synthetic streams.

    Args:
        config: What it runs.
        workers: Number of workers, without the spare one.
    """

    def __init__(self, config: ServeConfig, workers: int) -> None:
        self._arrived: dict[str, list[float]] = {name: [] for name in config.streams}
        results, plan = Results(config.results), plan_of(config)
        results.more.append(self._note)
        self.supervisor = Supervisor(config, lambda: ProcessHandle(plan), workers, results, lambda *news: None)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self.supervisor.run, args=(self._over,), daemon=True)
        self._thread.start()

    def _note(self, line: Any) -> None:
        if "targets" in line:
            self._arrived[line["stream"]].append(time.monotonic())

    def until(self, done: Callable[[], bool]) -> None:
        """Waits until a condition holds.

        Raises:
            TimeoutError: It does not within `WAIT` seconds.
        """
        end = time.monotonic() + WAIT
        while not done():
            if time.monotonic() > end or not self._thread.is_alive():
                raise TimeoutError(f"The workers did not get so far within {WAIT:g} seconds.")
            time.sleep(0.05)

    def steady(self) -> bool:
        """Whether all streams give results and a spare worker is ready."""
        now = time.monotonic()
        spare = any(w["spare"] and w["ready"] for w in self.supervisor.state()["workers"])
        return spare and all(times and now - times[-1] < 0.5 for times in self._arrived.values())

    def kill_one(self) -> dict[str, float]:
        """Kills the worker with the most streams; stream -> seconds from its last result before to the first after."""
        state = self.supervisor.state()
        busy = [s["worker"] for s in state["streams"]]
        victim = next(w for w in state["workers"] if w["number"] == max(busy, key=busy.count))
        names = [s["name"] for s in state["streams"] if s["worker"] == victim["number"]]
        deaths = state["worker_deaths"]
        for entry in self.supervisor.entries.values():
            entry.deaths.clear()  # else the third kill within a minute makes its streams suspects, that wait their turn
        os.kill(victim["pid"], signal.SIGKILL)
        killed = time.monotonic()
        self.until(lambda: self.supervisor.state()["worker_deaths"] > deaths)
        # Messages of the dead worker may still arrive: a result counts once its stream has a new worker.
        noticed = time.monotonic()
        self.until(lambda: all(self._arrived[name][-1] > noticed + 0.2 for name in names))
        gaps = {}
        for name in names:
            times = [t for t in self._arrived[name] if t > killed - 1]
            gaps[name] = max(after - before for before, after in pairwise(times))
        return gaps

    def close(self) -> None:
        """Ends it."""
        self._over.set()
        self._thread.join(60)


def measure(port: int, streams: int, workers: int, kills: int, model: str) -> list[dict[str, float]]:
    """The gaps after each kill, by stream.

    Args:
        port: Port of a `StreamServer`.
        streams: Number of streams.
        workers: Number of workers, without the spare one.
        kills: Number of workers to kill, one after the other.
        model: Shipped model or checkpoint file.
    """
    given = {"source": f"tcp://127.0.0.1:{port}", "targets": {"t": [100, 60, 40, 40]}}
    names = [f"s{k}" for k in range(streams)]
    config = ServeConfig(
        model=model, device="cpu", workers=WorkersConfig(count=workers), results=ResultsConfig(stdout=False),
        streams={name: parse_stream(name, given, "the trial") for name in names},
    )  # fmt: skip
    trial, out = Trial(config, workers), []
    try:
        for _ in range(kills):
            trial.until(trial.steady)
            out.append(trial.kill_one())
    finally:
        trial.close()
    return out
