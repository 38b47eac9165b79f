"""The values that travel between the packages: frames in, tracks out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""BGR, uint8, H x W x 3."""

Box = NDArray[np.float64]
"""(4,) float64: x, y, w, h; 0-based, top-left corner, pixels of the original frame."""


class TrackState(str, Enum):
    """How certain the tracker is about the box that it reports."""

    TRACKING = "tracking"
    UNCERTAIN = "uncertain"
    LOST = "lost"


@dataclass(frozen=True)
class VideoInfo:
    """What a source knows about its frames before reading the first one.

    Attributes:
        source: What the user asked for, as text.
        width, height: Pixels, after rotation metadata was applied.
        frame_rate: Exact frames per second (30000/1001, not 29.97), or None where the source has none (folders,
            stills).
        frame_count: Number of frames if it is known without reading them all, else None.
        live: True for cameras and network streams: frames that aren't read in time are gone.
        pixel_aspect: Width to height of a pixel on the screen (64/45 for wide PAL); frames and boxes are in stored
            pixels.
    """

    source: str
    width: int
    height: int
    frame_rate: Fraction | None = None
    frame_count: int | None = None
    live: bool = False
    pixel_aspect: Fraction = Fraction(1)


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        image: BGR uint8 H x W x 3.
        index: 0-based position in the source (for a live source: counted since it was opened, drops included).
        timestamp: Seconds since the first frame (file) or since the source was opened (live), or None.
        name: The file's name for image folders, else "".
    """

    image: Image
    index: int
    timestamp: float | None = None
    name: str = ""


@dataclass(frozen=True)
class Timing:
    """Seconds spent on one update, by stage."""

    crop: float = 0.0
    network: float = 0.0
    decode: float = 0.0

    @property
    def total(self) -> float:
        return self.crop + self.network + self.decode

    def and_decode(self, seconds: float, share: float = 1.0) -> Timing:
        """A copy with additional decoding time; for several targets, one target's share."""
        return Timing(self.crop * share, self.network * share, (self.decode + seconds) * share)


@dataclass(frozen=True)
class Track:
    """The result of the tracker for one target in one frame.

    Attributes:
        box: (4,) float64 xywh in pixels of the frame; always finite and non-empty. In state LOST it is the best guess,
            which sinks must not report as a box (use `visible`).
        score: Confidence in [0, 1].
        state: TRACKING, UNCERTAIN or LOST.
        index: 0-based frame index.
        timestamp: Seconds, or None.
        target_id: 0-based id when several targets are followed.
        response: (H, W) float32 response map of the search window in [0, 1], or None where it was not kept.
        timing: Seconds by stage.
        skipped: Whether points moved the box in this frame and the network was not run; the score is then that of the
            last frame with the network.
    """

    box: Box
    score: float
    state: TrackState = TrackState.TRACKING
    index: int = 0
    timestamp: float | None = None
    target_id: int = 0
    response: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    timing: Timing = field(default_factory=Timing, repr=False, compare=False)
    skipped: bool = False

    @property
    def visible(self) -> bool:
        """Whether `box` is the current position of the target (False when LOST)."""
        return self.state is not TrackState.LOST

    @property
    def xyxy(self) -> Box:
        """(4,) left, top, right, bottom in pixels of the frame."""
        x, y, w, h = self.box
        return np.array([x, y, x + w, y + h], dtype=np.float64)

    def _repr_html_(self) -> str:
        """A row for notebooks; `tracker.interop.notebook.show` draws tracks over their frames."""
        names = ("frame", "target", "x", "y", "w", "h", "score", "state")
        where = [f"{float(value):.1f}" for value in self.box] if self.visible else [""] * 4
        cells = [str(self.index), str(self.target_id), *where, f"{self.score:.2f}", self.state.value]
        head, row = (
            "".join(f"<{tag}>{text}</{tag}>" for text in texts) for tag, texts in (("th", names), ("td", cells))
        )
        return f"<table><tr>{head}</tr><tr>{row}</tr></table>"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for json: all but the response map and the timing."""
        return {
            "index": self.index,
            "timestamp": self.timestamp,
            "id": self.target_id,
            "box": [float(value) for value in self.box],
            "score": float(self.score),
            "state": self.state.value,
        }
