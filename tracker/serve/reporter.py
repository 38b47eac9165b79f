"""What a worker says to its supervisor: results, states, counters, and what a restart needs of the targets."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from typing import Any

from tracker.serve.messages import pack
from tracker.serve.stream import Stream

STATUS_SECONDS = 0.5
"""Between two signs of life."""
OUTBOX = 20_000
"""Messages that wait for the supervisor at most."""


class Reporter:
    """Puts messages into the outbox of a worker.

    Args:
        streams: The streams by name; the worker's own mapping.
        wait: Whether results wait for room in the outbox; else those that find none are counted as lost.
        save_every: Seconds between two times that all targets are saved.
        close: Ends a stream that is over.

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
        """A message; from any thread."""
        message = pack(kind, values, parts)
        try:
            self.outbox.put(message, block=self._wait and kind == "results")
        except queue.Full:
            self._lost_results += len(values.get("lines", ()))

    def event(self, stream: str | None, about: str, text: str) -> None:
        """A sentence that a user may want to read."""
        self.put("event", {"stream": stream, "about": about, "text": text})

    def forget(self, name: str) -> None:
        """A stream is new, or another one under its old name: its state is told again."""
        self._told.pop(name, None)

    def states(self, everything: bool = False) -> None:
        """Changed states at once, counters as a sign of life now and then, the targets' own state as often as the plan
        says."""
        for stream in self._streams.values():
            state = (stream.reader.state, stream.reader.text)
            if state[0] == "ended" and stream.reader.ready:  # its last frames are still to be looked at
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
        """What a restart needs of a stream's targets."""
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
