"""The last frames, kept while somebody draws a box: the target is taken from the very picture that was drawn on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tracker.types import Frame

KEEP = 8
"""Frames kept when nobody draws: a browser shows a picture that is a few frames old."""
SHOWN = 90
"""Frames kept at most for a browser that is slow to show what it was sent (3 seconds of usual video)."""
HOLD_SECONDS = 30.0


@dataclass(frozen=True)
class Kept:
    """A frame and its number in the order in which the worker saw it."""

    seq: int
    frame: Frame


class History:
    """Recent frames in bounded memory.

    Args:
        budget: Bytes of pictures. When somebody draws for so long that it is used up, every other frame is dropped.
        clock: Seconds; for the tests.
    """

    def __init__(self, budget: int = 96 << 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget, self._clock = budget, clock
        self._frames: list[Kept] = []
        self._holds: dict[int, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def nbytes(self) -> int:
        """Bytes of pictures held."""
        return sum(kept.frame.image.nbytes for kept in self._frames)

    def hold(self, client: int, seq: int) -> None:
        """Keep everything from frame `seq` on until `release`, or for half a minute."""
        self._holds[client] = (seq, self._clock() + HOLD_SECONDS)

    def release(self, client: int) -> None:
        """The client no longer draws."""
        self._holds.pop(client, None)

    def add(self, seq: int, frame: Frame, shown: int | None = None) -> None:
        """Remember the newest frame and forget what nobody needs.

        Args:
            seq: Its number.
            frame: The frame.
            shown: Number of the oldest frame that some browser still shows: the next box may be drawn on it.
        """
        self._frames.append(Kept(seq, frame))
        now = self._clock()
        self._holds = {client: hold for client, hold in self._holds.items() if hold[1] > now}
        held = {hold[0] for hold in self._holds.values()}
        floor = min([seq - KEEP + 1, max(seq if shown is None else shown, seq - SHOWN + 1), *held])
        self._frames = [kept for kept in self._frames if kept.seq >= floor]
        while self.nbytes > self._budget and len(self._frames) > 1:
            before = len(self._frames)
            if held or shown is not None:
                self._frames = [
                    kept for k, kept in enumerate(self._frames) if k % 2 == 0 or kept.seq in (held | {shown, seq})
                ]
            if len(self._frames) == before:
                self._frames = self._frames[1:]

    def since(self, seq: int) -> list[Frame]:
        """Frame `seq` and what is left of the later ones; empty if it is gone."""
        frames = [kept for kept in self._frames if kept.seq >= seq]
        return [kept.frame for kept in frames] if frames and frames[0].seq == seq else []
