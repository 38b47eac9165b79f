"""The interface between the live loop and its display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker.types import Box, Frame


@dataclass(frozen=True)
class UserReaction:
    """The user's reaction to a displayed frame.

    Attributes:
        quit: End the program.
        boxes: Track these from now on; none: continue.
        frame: The frame on which they were drawn.
    """

    quit: bool = False
    boxes: Sequence[Box] = ()
    frame: Frame | None = None


@dataclass
class Status:
    """Numbers of a live run: `latency` is in seconds from the arrival of a frame to its tracks."""

    state: str = "live"
    dropped: int = 0
    damaged: int = 0
    reconnects: int = 0
    fps: float = 0.0
    latencies: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Last, largest, and sum."""
    frames: int = 0

    def add(self, latency: float) -> None:
        """Counts a frame."""
        self.frames += 1
        self.latencies = [latency, max(latency, self.latencies[1]), self.latencies[2] + latency]

    def line(self) -> str:
        """Text for the display."""
        line = f"{self.fps:.0f} fps | latency {1000 * self.latencies[0]:.0f} ms | dropped {self.dropped}"
        return f"{line} | damaged {self.damaged}" if self.damaged else line

    def summary(self) -> list[str]:
        """Text for the final summary."""
        mean = self.latencies[2] / max(self.frames, 1)
        parts = [f"{self.dropped} dropped", f"latency {1000 * mean:.0f} ms (at most {1000 * self.latencies[1]:.0f})"]
        parts += [f"{self.damaged} damaged and left out"] * bool(self.damaged)
        return parts + ([f"reconnected {self.reconnects} times"] if self.reconnects else [])
