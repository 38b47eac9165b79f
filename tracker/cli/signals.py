"""Ctrl-C and SIGTERM while a server runs: it is asked to stop, and the exit code says which it was."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tracker.cli.common import DONE, INTERRUPTED, TERMINATED


@dataclass
class Stopped:
    """What ended a server.

    Attributes:
        code: Exit code for the signal that came; 0: none has come.
    """

    code: int = DONE

    @property
    def word(self) -> str:
        """The signal, for a sentence."""
        return "Ctrl-C" if self.code == INTERRUPTED else "SIGTERM"


@contextmanager
def stop_on_signal(stop: Callable[[], object]) -> Iterator[Stopped]:
    """Within the block SIGINT and SIGTERM call `stop`; the handlers from before are back after it.

    Args:
        stop: Called in the main thread, between two of its instructions: it should set an event and no more.
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
