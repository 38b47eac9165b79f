"""Ctrl-C and SIGTERM, asked politely: the step in hand is finished and a checkpoint written.

A second one stops at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """Remembers the first signal while it is entered; `with Interrupt() as interrupt: ... interrupt.number`.

    Outside of the main thread, where Python delivers no signals, it remembers nothing.

    Args:
        listen: False leaves the process's handlers alone, and nothing is remembered.

    Attributes:
        number: SIGINT or SIGTERM once it came, else 0.
    """

    def __init__(self, listen: bool = True) -> None:
        self.number, self._listen = 0, listen
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if self._listen and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
