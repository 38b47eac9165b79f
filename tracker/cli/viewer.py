"""What the live loop and a view of it say to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tracker.types import Box, Frame, Image, Track


@dataclass(frozen=True)
class Answer:
    """What the user wants after seeing a picture.

    Attributes:
        quit: End.
        boxes: Follow these from now on; none: go on as before.
        frame: The frame on which they were drawn.
    """

    quit: bool = False
    boxes: Sequence[Box] = ()
    frame: Frame | None = None


@dataclass
class Status:
    """Numbers of a live run: `latency` in seconds from the arrival of a frame to its tracks."""

    state: str = "live"
    dropped: int = 0
    damaged: int = 0
    reconnects: int = 0
    fps: float = 0.0
    latencies: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Last, largest, and sum."""
    frames: int = 0

    def add(self, latency: float) -> None:
        """Count a frame."""
        self.frames += 1
        self.latencies = [latency, max(latency, self.latencies[1]), self.latencies[2] + latency]

    def line(self) -> str:
        """For the screen."""
        line = f"{self.fps:.0f} fps | latency {1000 * self.latencies[0]:.0f} ms | dropped {self.dropped}"
        return f"{line} | damaged {self.damaged}" if self.damaged else line

    def summary(self) -> list[str]:
        """For the last line."""
        mean = self.latencies[2] / max(self.frames, 1)
        parts = [f"{self.dropped} dropped", f"latency {1000 * mean:.0f} ms (at most {1000 * self.latencies[1]:.0f})"]
        parts += [f"{self.damaged} damaged and left out"] * bool(self.damaged)
        return parts + ([f"reconnected {self.reconnects} times"] if self.reconnects else [])


class Viewer(Protocol):
    """Where a live picture is shown and the user answers: a window here, a browser page elsewhere."""

    def show(self, frame: Frame, picture: Image, tracks: Sequence[Track], status: Status, several: bool) -> Answer:
        """Show a picture.

        Args:
            frame: The frame itself; boxes in the answer are in its pixels.
            picture: The frame with its tracks drawn; shared with the video that is written, so it must not be changed.
            tracks: Empty before the first box.
            status: Numbers to show.
            several: Whether more than one box may be drawn (files of one-target formats allow one).
        """

    def wait(self, status: Status) -> Answer:
        """No new frame came for a moment: keep the view alive."""

    def close(self) -> None:
        """Give it back."""
