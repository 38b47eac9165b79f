"""Outputs of results, each with a queue and a thread of its own, so that a slow one loses lines, which are counted, and
slows nothing else."""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tracker.errors import OutputError
from tracker.serve.config import MqttConfig, ResultsConfig

if TYPE_CHECKING:
    import paho.mqtt.client as client

logger = logging.getLogger(__name__)

Line = tuple[str, bytes]
"""Name of the stream, and the JSON object as bytes."""
MOST_AT_ONCE = 256


class Listener(threading.Thread, ABC):
    """One output of results.

    Args:
        name: For counts and messages.
        size: Greatest number of queued lines.
        wait: Whether `put` waits when the queue is full; if not, the line is dropped and counted.

    Attributes:
        place: Its name.
        written, missed: Numbers of lines.
        problem: The current problem, or "".
        broken: Whether nothing will be written any more.
        reader_gone: Whether that is because the reader closed the pipe (`| head`).
    """

    def __init__(self, name: str, size: int, wait: bool = False) -> None:
        super().__init__(name=f"siamtrack-results-{name}", daemon=True)
        self.place, self.written, self.missed = name, 0, 0
        self.problem, self.broken, self.reader_gone = "", False, False
        self._queue: queue.Queue[Line | None] = queue.Queue(size)
        self._wait = wait

    def put(self, line: Line) -> None:
        """Queues a line."""
        while not self.broken:
            try:
                return self._queue.put(line, block=self._wait, timeout=0.5)
            except queue.Full:
                if not self._wait:
                    break
        self.missed += 1

    def finish(self, timeout: float) -> None:
        """Writes the queued lines, then ends; what isn't written in time is dropped and counted."""
        end = time.monotonic() + timeout
        if self.is_alive():
            try:
                self._queue.put(None, timeout=timeout)
            except queue.Full:
                self.broken = True
            self.join(max(0.0, end - time.monotonic()))

    def run(self) -> None:
        while True:
            lines, ended = self._some()
            if lines:
                try:
                    self.write(lines)
                    self.written += len(lines)
                except OSError as error:
                    self.missed += len(lines)
                    self.reader_gone = isinstance(error, BrokenPipeError)
                    self.problem, self.broken = (
                        f"Writing results to {self.place} failed: {error.strerror or error}.",
                        True,
                    )
                    if not self.reader_gone:
                        logger.warning("%s Nothing more is written there.", self.problem)
            if ended or self.broken:
                return self.close()

    def _some(self) -> tuple[list[Line], bool]:
        lines: list[Line] = []
        item = self._queue.get()
        while item is not None and len(lines) < MOST_AT_ONCE:
            lines.append(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return lines, False
        if item is not None:
            lines.append(item)
        return lines, item is None

    @abstractmethod
    def write(self, lines: list[Line]) -> None:
        """Writes lines; OSError ends the listener."""

    def close(self) -> None:
        """The last call."""


class FileListener(Listener):
    """Writes JSON lines to a file (appending) or to standard output.

    Raises:
        OutputError: The file can't be written.
    """

    def __init__(self, path: str | None, size: int, wait: bool) -> None:
        super().__init__("stdout" if path is None else "file", size, wait)
        try:
            self._file: IO[bytes] = sys.stdout.buffer if path is None else open(Path(path).expanduser(), "ab")
        except OSError as error:
            raise OutputError(f"Can't write results to {path}: {error.strerror or error}.") from None
        self._own = path is not None

    def write(self, lines: list[Line]) -> None:
        self._file.write(b"".join(data + b"\n" for _, data in lines))
        self._file.flush()

    def close(self) -> None:
        if self._own:
            self._file.close()


class Results:
    """All outputs of a run.

    Args:
        config: Their configuration.

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
        """Passes one result or event to all outputs."""
        data = json.dumps(line, allow_nan=False, separators=(",", ":")).encode()
        for listener in self.listeners:
            listener.put((str(line.get("stream") or ""), data))
        for call in self.more:
            call(line)

    def finish(self, timeout: float = 5.0) -> None:
        """Writes the queued lines, then ends."""
        for listener in self.listeners:
            listener.finish(timeout)

    def counts(self) -> dict[str, dict[str, Any]]:
        """name -> written, missed and problem of each output."""
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
        """Whether there were outputs and none is left."""
        return bool(self.listeners) and all(one.broken for one in self.listeners)


PASSWORD = "SIAMTRACK_MQTT_PASSWORD"
LAST_WORDS = 1.0
"""Seconds at the end in which queued messages may still be sent."""


class MqttListener(Listener):
    """Publishes each line on TOPIC/STREAM.

    It reconnects to a broker by itself, after one second, then two, up to eight; lines in between are dropped and
    counted, since results are useful mainly when they are new. A broker that is slower than the results loses lines,
    without delaying them.

    Args:
        config: Where the broker is.
        size: Greatest number of queued lines.

    Raises:
        OutputError: paho-mqtt is not installed.
    """

    def __init__(self, config: MqttConfig, size: int) -> None:
        super().__init__("mqtt", size)
        try:
            import paho.mqtt.client as mqtt
        except ImportError:
            raise OutputError(
                "Results to MQTT need the package paho-mqtt; `pip install paho-mqtt` adds it (the extra `serve` "
                "holds it)."
            ) from None
        self._config, self._connected, self._size = config, False, size
        self._client: client.Client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if config.username:
            self._client.username_pw_set(config.username, os.environ.get(PASSWORD))
        if config.tls:
            self._client.tls_set()
        self._client.reconnect_delay_set(1, 8)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.max_queued_messages_set(min(size, 1000))
        self.problem = f"mqtt: no connection to {config.host} port {config.port} yet"
        self._client.connect_async(config.host, config.port, keepalive=15)
        self._client.loop_start()

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._connected = not reason.is_failure
        self.problem = "" if self._connected else f"mqtt: {self._config.host} refused the connection: {reason}"

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._connected = False
        self.problem = f"mqtt: the connection to {self._config.host} port {self._config.port} is lost; tried again"

    def write(self, lines: list[Line]) -> None:
        for stream, line in lines:
            sent = (
                self._connected
                and self._client.publish(f"{self._config.topic}/{stream or 'events'}", line, self._config.qos).rc == 0
            )
            if not sent:
                self.missed += 1
                self.written -= 1  # `run` counts all of them as written

    def close(self) -> None:
        import time

        end = time.monotonic() + LAST_WORDS
        while self._connected and self._client.want_write() and time.monotonic() < end:
            time.sleep(0.01)
        self._client.disconnect()
        self._client.loop_stop()
