"""Workers on this machine, each in a process of its own, and their handles in the supervisor: messages over a socket
pair, no shared memory."""

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
"""Python's thread switch interval in a worker. With the default of 5 ms a decoder, which requests the interpreter lock
several times per frame, would wait for the batcher longer than it decodes."""

ARENAS = 2
"""Number of glibc malloc arenas for a worker's threads (mallopt(3), M_ARENA_MAX). The default is eight per core, and
each keeps what its own threads have freed: 40 MB more with 16 streams."""


class Handle(Protocol):
    """A worker, wherever it runs.

    Attributes:
        place: Where it runs, in words.
    """

    place: str

    def send(self, message: bytes) -> None:
        """Sends a message; never blocks."""

    def receive(self) -> bytes | None:
        """The next message, or None when the worker is gone; blocks."""

    def kill(self) -> None:
        """Kills it; safe to call twice."""

    @property
    def pid(self) -> int | None:
        """Its process id, if it runs on this machine."""


class ProcessHandle:
    """Starts `python -m tracker.serve.process` and communicates with it.

    Not `multiprocessing`: its processes start by importing the main program, which may not work for a service embedded
    in another program.

    Args:
        plan: The configuration of the worker.
    """

    def __init__(self, plan: Plan) -> None:
        ours, theirs = socket.socketpair()
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {**os.environ, "PYTHONPATH": path}
        # One thread for each matrix product of numpy: other streams use the other cores.
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
    """The process: runs until "stop", SIGTERM or the end of the supervisor; the recordings are finished in each
    case."""
    from tracker.serve.worker import StreamWorker

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the supervisor, which then sends "stop"
    link = Connection(fd)
    try:
        plan = Plan.from_dict(unpack(link.recv_bytes())[1])
        cv2.setNumThreads(plan.threads)
        sys.setswitchinterval(SWITCH_SECONDS)
        worker = StreamWorker(plan)
        worker.warm_up()
        gc.freeze()  # permanent objects are excluded from full collections, which take a tenth of a second
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
                gone = True  # the recordings still have to be finished
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
    os._exit(code)  # readers may block in a network read for many seconds; everything of value is written


def gpus() -> int:
    """CUDA devices of this machine, without initialising CUDA if there is no driver."""
    if find_device()[0] != "cuda":
        return 0
    import torch

    return torch.cuda.device_count()


class Machine:
    """Starts worker processes on this machine.

    Args:
        config: What streams.yaml says.

    Attributes:
        count: The number of workers.
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
        # No more workers than streams: an idle process costs memory for nothing.
        self.count = max(1, min(wanted, len(config.streams) or wanted) if not config.control.address else wanted)
        self._turn = itertools.count()

    def hire(self) -> ProcessHandle:
        """Starts a process, on each GPU in turn."""
        device = self._devices[next(self._turn) % len(self._devices)]
        return ProcessHandle(plan_of(self._config, device))
