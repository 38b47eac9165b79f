"""What is counted of a stream: frames in, dropped and tracked, and how long a frame took from its arrival to its
result."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

KEPT = 500
"""Latencies that quantiles are taken of: 20 seconds at 25 frames a second."""


@dataclass
class Counters:
    """Counts of one stream in one worker; each number is changed by one thread, or under the reader's lock.

    Attributes:
        frames: Frames that came.
        dropped: Frames that a newer one replaced before they were looked at.
        tracked: Frames that results were made of.
        missed_recording: Frames that the recording left out because the encoder was behind.
        reconnects: How often the source was opened again.
        latencies: Seconds from arrival to result, the newest ones.
    """

    frames: int = 0
    dropped: int = 0
    tracked: int = 0
    missed_recording: int = 0
    reconnects: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers; latencies as milliseconds at 50 and 95 per cent, or None before the first."""
        kept = list(self.latencies)
        p50, p95 = (round(1000 * float(q), 2) for q in np.quantile(kept, (0.5, 0.95))) if kept else (None, None)
        return {
            "frames": self.frames,
            "dropped": self.dropped,
            "tracked": self.tracked,
            "missed_recording": self.missed_recording,
            "reconnects": self.reconnects,
            "latency_ms": {"p50": p50, "p95": p95},
        }
