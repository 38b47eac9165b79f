"""Messages of a worker to its supervisor: results, states, counters, and the targets' state for a restart."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from typing import Any

from tracker.serve.messages import pack
from tracker.serve.stream import Stream

STATUS_SECONDS = 0.5
"""Interval of status messages."""
OUTBOX = 20_000
"""Greatest number of messages that wait for the supervisor."""


class Reporter:
    """Puts messages into the outbox of a worker.

    Args:
        streams: The streams by name; the worker's own mapping.
        wait: Whether results wait for room in the outbox; if not, results without room are dropped and counted.
        save_every: Seconds between two saves of all targets.
        close: Closes a stream that has ended.

    Attributes:
        outbox: The messages (`serve.messages`).
    """

    def __init__(
        self, streams: Mapping[str, Stream], wait: bool, save_every: float, close: Callable[[Stream], None]
    ) -> None:
        self.outbox: queue.Queue[bytes] = queue.Queue(OUTBOX)
        self._streams, self._wait, self._save_every, self._close = streams, wait, save_every, close
        self._told: dict[str, tuple[str, str]] = {}
        self._said = self._saved = 0.0
        self._lost_results = 0

    def put(self, kind: str, values: Mapping[str, Any], parts: Mapping[str, bytes] | None = None) -> None:
        """Queues a message; thread-safe."""
        message = pack(kind, values, parts)
        try:
            self.outbox.put(message, block=self._wait and kind == "results")
        except queue.Full:
            self._lost_results += len(values.get("lines", ()))

    def event(self, stream: str | None, about: str, text: str) -> None:
        """Queues a message for the user."""
        self.put("event", {"stream": stream, "about": about, "text": text})

    def forget(self, name: str) -> None:
        """A stream is new, or its name was reused: report its state again."""
        self._told.pop(name, None)

    def states(self, everything: bool = False) -> None:
        """Reports changed states at once, counters periodically, and the targets' state at the configured interval."""
        for stream in self._streams.values():
            state = (stream.reader.state, stream.reader.text)
            if state[0] == "ended" and stream.reader.ready:  # its last frames are not processed yet
                continue
            if self._told.get(stream.name) != state:
                self._told[stream.name] = state
                info, every = stream.reader.info, stream.reader.every
                if state[0] in ("ended", "failed"):
                    self.saved(stream)
                    self._close(stream)
                self.put(
                    "event",
                    {
                        "stream": stream.name, "about": "state", "state": state[0], "text": state[1],
                        "width": info.width, "height": info.height, "live": not every,
                    },
                )  # fmt: skip
        now = time.monotonic()
        if everything or now - self._said >= STATUS_SECONDS:
            self._said = now
            counters = {name: stream.counters.as_dict() for name, stream in self._streams.items()}
            self.put("status", {"streams": counters, "lost_results": self._lost_results})
        if now - self._saved >= self._save_every:
            self._saved = now
            for stream in self._streams.values():
                if not stream.closed:
                    self.saved(stream)

    def saved(self, stream: Stream) -> None:
        """The data of a stream's targets that a restart needs."""
        saved = stream.save()
        stream.saved_names = set(saved)
        if saved or stream.begun:
            values = {
                "stream": stream.name,
                "targets": {name: numbers for name, (numbers, _) in saved.items()},
                "begun": sorted(stream.begun),
                "frame": stream.latest[0].index if stream.latest else None,
            }
            self.put("saved", values, {name: views for name, (_, views) in saved.items()})
