"""Ctrl-C and SIGTERM while a server runs: they request a stop, and the exit code says which one it was."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tracker.cli.common import DONE, INTERRUPTED, TERMINATED


@dataclass
class Stopped:
    """The signal that ended a server.

    Attributes:
        code: Exit code for the received signal; 0: none.
    """

    code: int = DONE

    @property
    def word(self) -> str:
        """The signal, for a sentence."""
        return "Ctrl-C" if self.code == INTERRUPTED else "SIGTERM"


@contextmanager
def stop_on_signal(stop: Callable[[], object]) -> Iterator[Stopped]:
    """Context manager: SIGINT and SIGTERM call `stop`; the previous handlers are restored afterwards.

    Args:
        stop: Called in the main thread between two of its instructions: it should only set an event.
    """
    stopped = Stopped()

    def handle(number: int, frame: object) -> None:
        stopped.code = INTERRUPTED if number == signal.SIGINT else TERMINATED
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
