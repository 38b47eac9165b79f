"""The window of `track`: pace, pause, and boxes drawn anew."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tracker.media.draw import DARK, put_label
from tracker.media.window import Window

if TYPE_CHECKING:
    from tracker.types import Box, Frame, Image, VideoInfo

DEFAULT_RATE = 25.0
"""Frames per second at which folders of images are shown."""


class Screen:
    """A window that plays no faster than the video, with its keys.

    Args:
        stack: Closes the window at the end.
        info: The source: its name and frame rate.
        note: Text for the title.
    """

    def __init__(self, stack: ExitStack, info: VideoInfo, title: str = "SiamTrack") -> None:
        self._window = stack.enter_context(Window(f"{title} - {info.source}"))
        self._interval = 0.0 if info.live else 1 / float(info.frame_rate or DEFAULT_RATE)
        self._due = 0.0
        self.idle = 0.0
        """Seconds spent paused, drawing, or waiting for the video's own speed."""

    def draw(self, frame: Frame, several: bool = True) -> list[Box]:
        """Let the user draw boxes; none if cancelled."""
        began = time.perf_counter()
        boxes = self._window.select(frame.image, several)
        self.idle += time.perf_counter() - began
        return boxes

    def present(self, image: Image) -> str:
        """Show a picture until the next is due.

        Returns:
            "quit", "redraw" or "". Pausing happens in here.
        """
        self._window.show(image)
        began = time.perf_counter()
        key = self._window.key(max(1, int(1000 * (self._due - began))))
        if key == "space":
            key = self._pause(image)
        now = time.perf_counter()
        if now - began > 0.002:  # showing it takes a millisecond or so in itself
            self.idle += now - began
        self._due = max(self._due + self._interval, now)
        if self._window.closed or key in ("q", "esc"):
            return "quit"
        return "redraw" if key == "r" else ""

    def _pause(self, image: Image) -> str:
        """Wait for a key that ends the pause, and return it ("" for the space bar)."""
        shown = image.copy()
        put_label(shown, "paused  |  space: go on  |  r: draw anew  |  q: quit", (0, 0), DARK)
        self._window.show(shown)
        while not self._window.closed:
            key = self._window.key(50)
            if key in ("space", "r", "q", "esc"):
                return "" if key == "space" else key
        return "q"

    def close(self) -> None:
        """Close the window; safe to call twice."""
        self._window.close()
