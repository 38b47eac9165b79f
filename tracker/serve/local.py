"""Workers on this machine: one process for each core, or for each GPU."""

from __future__ import annotations

import itertools

from tracker.runtime.processor import cores
from tracker.runtime.select import find_device
from tracker.serve.config import ServeConfig
from tracker.serve.plan import plan_of
from tracker.serve.process import ProcessHandle


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
