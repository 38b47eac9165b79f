"""All places that the results of a run go to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tracker.serve.config import ResultsConfig
from tracker.serve.listeners import FileListener, Listener
from tracker.serve.mqtt import MqttListener


class Results:
    """All listeners of a run.

    Args:
        config: Which there are.

    Raises:
        OutputError: A file can't be written, or a package is missing.
    """

    def __init__(self, config: ResultsConfig) -> None:
        wait = config.when_full == "wait"
        self.listeners: list[Listener] = []
        if config.stdout:
            self.listeners.append(FileListener(None, config.queue, wait))
        if config.file:
            self.listeners.append(FileListener(config.file, config.queue, wait))
        if config.mqtt is not None:
            self.listeners.append(MqttListener(config.mqtt, config.queue))
        self.more: list[Callable[[Mapping[str, Any]], None]] = []
        for listener in self.listeners:
            listener.start()

    def put(self, line: Mapping[str, Any]) -> None:
        """Hands one result or event to all listeners."""
        data = json.dumps(line, allow_nan=False, separators=(",", ":")).encode()
        for listener in self.listeners:
            listener.put((str(line.get("stream") or ""), data))
        for call in self.more:
            call(line)

    def finish(self, timeout: float = 5.0) -> None:
        """Write what waits, then end."""
        for listener in self.listeners:
            listener.finish(timeout)

    def counts(self) -> dict[str, dict[str, Any]]:
        """name -> written, missed and problem of each listener."""
        return {
            one.place: {
                "written": one.written,
                "missed": one.missed,
                "problem": one.problem,
            }
            for one in self.listeners
        }

    @property
    def nobody(self) -> bool:
        """Whether there were listeners and none is left."""
        return bool(self.listeners) and all(one.broken for one in self.listeners)
