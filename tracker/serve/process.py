"""Workers on this machine, each in a process of its own, and their handles in the supervisor: messages over a socket
pair, nothing shared."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import cv2

from tracker.errors import SiamTrackError
from tracker.runtime.processor import cores
from tracker.runtime.select import find_device
from tracker.serve.config import ServeConfig
from tracker.serve.messages import Plan, is_kind, pack, plan_of, unpack

SWITCH_SECONDS = 0.0005
"""For which a thread of a worker keeps the interpreter while others ask for it. Python's own 5 ms would make a decoder,
which asks several times for each frame, wait longer for the batcher than it decodes."""

ARENAS = 2
"""Heaps that glibc spreads a worker's threads over (mallopt(3), M_ARENA_MAX). By itself it makes eight for each core,
and each keeps what its own threads have freed: with 16 streams 40 MB more."""


class Handle(Protocol):
    """A worker, wherever it runs.

    Attributes:
        place: Where, in words.
    """

    place: str

    def send(self, message: bytes) -> None:
        """Hand a message over; never waits."""

    def receive(self) -> bytes | None:
        """The next message, or None when the worker is gone; waits."""

    def kill(self) -> None:
        """End it, whatever it does; safe to call twice."""

    @property
    def pid(self) -> int | None:
        """Its process, where that is on this machine."""


class ProcessHandle:
    """Starts `python -m tracker.serve.process` and talks to it.

    Not `multiprocessing`: a process of that starts by importing the program that began it, which a service embedded
    elsewhere may not survive.

    Args:
        plan: What the worker has to know.
    """

    def __init__(self, plan: Plan) -> None:
        ours, theirs = socket.socketpair()
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {**os.environ, "PYTHONPATH": path}
        # One thread for each product of numpy's: other streams use the other cores.
        env.setdefault("OMP_NUM_THREADS", str(plan.threads))
        env.setdefault("MALLOC_ARENA_MAX", str(ARENAS))
        with theirs:
            command = [sys.executable, "-m", "tracker.serve.process", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=2
            )
        self._link = Connection(ours.detach())
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.place = f"process {self._process.pid}"
        threading.Thread(target=self._write, name="siamtrack-to-worker", daemon=True).start()
        self.send(pack("plan", plan.to_dict()))

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def _write(self) -> None:
        while (message := self._out.get()) is not None:
            try:
                self._link.send_bytes(message)
            except OSError:
                return

    def send(self, message: bytes) -> None:
        self._out.put(message)

    def receive(self) -> bytes | None:
        try:
            return self._link.recv_bytes()
        except (EOFError, OSError):
            return None

    def kill(self) -> None:
        self._out.put(None)
        self._process.kill()
        self._process.wait()


def main(fd: int) -> int:
    """The process: until "stop", SIGTERM or the end of the supervisor, all of which finish the recordings."""
    from tracker.serve.worker import Worker

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which then says "stop"
    link = Connection(fd)
    try:
        plan = Plan.from_dict(unpack(link.recv_bytes())[1])
        cv2.setNumThreads(plan.threads)
        sys.setswitchinterval(SWITCH_SECONDS)
        worker = Worker(plan)
        worker.warm_up()
        gc.freeze()  # what stays for good is not gone through again in every full collection, a tenth of a second long
    except SiamTrackError as error:
        link.send_bytes(pack("unable", {"text": str(error)}))
        return 2
    except (EOFError, OSError):
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: worker.handle(pack("stop")))
    threading.Thread(target=_listen, args=(link, worker.handle), name="siamtrack-orders", daemon=True).start()
    worker.start()
    gone = False
    while True:
        try:
            message = worker.outbox.get(timeout=0.5)
        except queue.Empty:
            if worker.over:
                return 1
            continue
        if not gone:
            try:
                link.send_bytes(message)
            except OSError:
                gone = True  # the recordings are still to be finished
        if is_kind(message, "bye"):
            return 0


def _listen(link: Connection, handle: object) -> None:
    assert callable(handle)
    try:
        while True:
            handle(link.recv_bytes())
    except (EOFError, OSError):
        handle(pack("stop"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    code = main(int(sys.argv[1]))
    logging.shutdown()
    os._exit(code)  # readers may hang in a network read of many seconds; all that is to be kept is written


def gpus() -> int:
    """CUDA devices of this machine, without starting CUDA where there is no driver."""
    if find_device()[0] != "cuda":
        return 0
    import torch

    return torch.cuda.device_count()


class Machine:
    """Hires processes of this machine.

    Args:
        config: What streams.yaml says.

    Attributes:
        count: How many workers there are to be.
    """

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        cards = gpus() if config.device == "auto" else 0
        self._devices = [f"cuda:{k}" for k in range(cards)] or [config.device]
        wanted = (
            config.workers.count
            or cards
            or (1 if config.device.startswith("cuda") else max(1, cores() // config.workers.threads))
        )
        # No more workers than streams: a process without one costs memory for nothing.
        self.count = max(1, min(wanted, len(config.streams) or wanted) if not config.control.address else wanted)
        self._turn = itertools.count()

    def hire(self) -> ProcessHandle:
        """Starts a process, on each GPU in turn."""
        device = self._devices[next(self._turn) % len(self._devices)]
        return ProcessHandle(plan_of(self._config, device))
