"""Box files with calm boxes: frames are written some frames late, smoothed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tracker.measure.smooth import FixedLag
from tracker.media.sinks.base import Sink
from tracker.types import Box, Frame, Track

EMPTY = np.zeros((1, 1, 3), np.uint8)


class SmoothSink(Sink):
    """A sink around another one: what it is given comes out `lag` frames later, with calm boxes; the rest at the end.

    Args:
        sink: Where boxes go.
        lag: See `FixedLag`. The pictures aren't kept, so the inner sink must not need them.
    """

    def __init__(self, sink: Sink, lag: int) -> None:
        self._sink, self._lag, self.path = sink, lag, sink.path
        self._held: deque[tuple[Frame, list[Track]]] = deque()
        self._smoothers: dict[int, FixedLag] = {}
        self._ready: dict[int, deque[Box | None]] = {}
        self._closed = False

    def write(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Take a frame; write those whose boxes are settled."""
        self._held.append((replace(frame, image=EMPTY), list(tracks)))
        for track in tracks:
            smoother = self._smoothers.setdefault(track.target_id, FixedLag(self._lag))
            self._ready.setdefault(track.target_id, deque()).extend(smoother.push(track.box if track.visible else None))
        self._write()

    def _write(self) -> None:
        while self._held and all(self._ready[t.target_id] for t in self._held[0][1]):
            frame, tracks = self._held.popleft()
            calm = []
            for track in tracks:
                box = self._ready[track.target_id].popleft()
                calm.append(track if box is None else replace(track, box=box))
            self._sink.write(frame, calm)

    @property
    def where(self) -> Path:
        """Where the inner sink's rows are now."""
        return self._sink.where

    def close(self, complete: bool = True) -> None:
        """Write what is held, and close the inner sink; safe to call twice."""
        if not self._closed:
            self._closed = True
            for number, smoother in self._smoothers.items():
                self._ready[number].extend(smoother.flush())
            try:
                self._write()
            finally:
                self._sink.close(complete)
