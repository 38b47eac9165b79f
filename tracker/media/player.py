"""Playback in a window: speed, pause, step and seek, with the frames that were shown kept in memory."""

from __future__ import annotations

import time
from collections import deque

import cv2
import numpy as np

from tracker.media.draw import DARK, put_label
from tracker.media.images import encode_image, fit_into
from tracker.media.window import Window
from tracker.types import Image

PAST_BYTES = 192 << 20
"""Memory for displayed frames, compressed: some hundreds of large ones, thousands of small ones."""
SIDE = 1440
"""Longer side in pixels at which they are kept; the window shows no more."""
SEEK_SECONDS = 2.0
SLOWEST, FASTEST = 0.125, 8.0
WAIT_MS = 40


class Past:
    """Frames that were shown, newest last, as JPEG within a memory limit."""

    def __init__(self, limit: int = PAST_BYTES) -> None:
        self._kept: deque[bytes] = deque()
        self._limit, self._bytes = limit, 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, image: Image) -> None:
        """Adds a frame; the oldest are dropped."""
        scale = SIDE / max(image.shape[:2])
        if scale < 1:
            image = fit_into(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        self._kept.append(encode_image(image, quality=92))
        self._bytes += len(self._kept[-1])
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= len(self._kept.popleft())

    def back(self, frames: int) -> Image:
        """The frame `count` before the newest."""
        data = np.frombuffer(self._kept[-1 - frames], np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


class Player:
    """Shows frame after frame under the user's control.

    Going back shows earlier frames again, while the tracker waits. Going beyond the newest frame continues tracking
    without delay.

    Args:
        window: The window.
        rate: Frames per second of the source.
        paced: False: as fast as frames are available, until a speed is chosen.

    Attributes:
        speed: Relative to the source's own.
        paused: Whether playback is paused.
        behind: Number of frames between the displayed one and the newest.
    """

    def __init__(self, window: Window, rate: float, paced: bool = True) -> None:
        self._window, self._rate, self._paced = window, rate, paced
        self.speed, self.paused, self.behind = 1.0, False, 0
        self._skip, self._due = 0, 0.0
        self._past = Past()

    def present(self, image: Image) -> str:
        """Shows a new frame, and earlier ones on request, until the next is wanted.

        Returns:
            "quit", "redraw" or "".
        """
        self._past.add(image)
        if self._skip > 0:
            self._skip -= 1
            if self._skip % 8 == 0:
                self._window.show(self._labelled(image))
            if self._skip:
                return "quit" if self._window.key(1) in ("q", "esc") or self._window.closed else ""
        self._due = max(self._due + self._interval, time.perf_counter())
        while not self._window.closed:
            self._window.show(self._labelled(image if not self.behind else self._past.back(self.behind)))
            left = max(1, int(1000 * (self._due - time.perf_counter())))
            key = self._window.key(WAIT_MS if self.paused else left)
            if key in ("q", "esc"):
                return "quit"
            if key == "r":
                self.behind, self.paused = 0, False
                return "redraw"
            if key and self._obey(key):
                return ""
            if not self.paused and time.perf_counter() >= self._due - 0.0005:
                if not self.behind:
                    return ""
                self.behind -= 1
                self._due = time.perf_counter() + (self._interval or 1 / self._rate)
        return "quit"

    @property
    def _interval(self) -> float:
        return 1 / (self._rate * self.speed) if self._paced else 0.0

    def _obey(self, key: str) -> bool:
        """Handles a key; returns whether the next frame is wanted at once."""
        seek = max(1, round(SEEK_SECONDS * self._rate))
        if key == "space":
            self.paused = not self.paused
        elif key in ("+", "=", "-", "_"):
            self.speed = min(max(self.speed * (2 if key in "+=" else 0.5), SLOWEST), FASTEST)
            self._paced = True
        elif key == ",":
            self.paused, self.behind = True, min(self.behind + 1, len(self._past) - 1)
        elif key == "left":
            self.behind = min(self.behind + seek, len(self._past) - 1)
        elif key == "." and self.behind:
            self.paused, self.behind = True, self.behind - 1
        elif key == ".":
            self.paused = True
            return True
        elif key == "right":
            self._skip = max(seek - self.behind, 0)
            self.behind = max(self.behind - seek, 0)
            return self._skip > 0
        if not self.paused:
            self._due = time.perf_counter() + (self._interval or 1 / self._rate)
        return False

    def _labelled(self, image: Image) -> Image:
        said = [f"speed {self.speed:g}x"] if self.speed != 1 else []
        if self.behind:
            said.insert(0, f"{self.behind} frame{'s' * (self.behind != 1)} back")
        if self.paused:
            said = ["paused", *said, "space: go on", ", .: step", "arrows: seek", "r: draw again", "q: quit"]
        if not said:
            return image
        shown = image.copy()
        put_label(shown, "  |  ".join(said), (0, 0), DARK)
        return shown
