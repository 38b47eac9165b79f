"""The windows of `track` and `live`: their keys, and drawing of boxes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tracker.cli.viewer import UserReaction
from tracker.media.draw import DARK, RED, put_label
from tracker.media.player import Player
from tracker.media.window import Window
from tracker.types import Image

if TYPE_CHECKING:
    from tracker.cli.viewer import Status
    from tracker.media.window import Window
    from tracker.types import Box, Frame, Image, Track, VideoInfo

KEYS = "space: pause, r: draw again, q: quit"
PLAYER_KEYS = "space: pause, , and .: step, arrows: seek, + and -: speed, r: draw again, q: quit"
DEFAULT_RATE = 25.0
"""Frames per second at which folders of images are shown."""


def pause(window: Window, image: Image) -> str:
    """Waits for a key that ends the pause, and returns it ("" for the space bar)."""
    shown = image.copy()
    put_label(shown, "paused  |  space: go on  |  r: draw again  |  q: quit", (0, 0), DARK)
    window.show(shown)
    while not window.closed:
        key = window.key(50)
        if key in ("space", "r", "q", "esc"):
            return "" if key == "space" else key
    return "q"


class Screen:
    """A window with its keys.

    Args:
        stack: Closes the window at the end.
        info: The source: its name and frame rate.
        paced: False plays as fast as frames are available.
    """

    def __init__(self, stack: ExitStack, info: VideoInfo, paced: bool = True) -> None:
        self._window = stack.enter_context(Window(f"SiamTrack - {info.source}  ({PLAYER_KEYS})"))
        self._player = Player(self._window, float(info.frame_rate or DEFAULT_RATE), paced and not info.live)
        self.idle = 0.0
        """Seconds spent paused, drawing, or waiting for the video's own speed."""

    def draw(self, frame: Frame, several: bool = True) -> list[Box]:
        """Lets the user draw boxes; none if cancelled."""
        began = time.perf_counter()
        boxes = self._window.select(frame.image, several)
        self.idle += time.perf_counter() - began
        return boxes

    def present(self, image: Image) -> str:
        """Shows a frame until the next is due, or a key requests it.

        Returns:
            "quit", "redraw" or "". Pausing, stepping and seeking are handled here.
        """
        began = time.perf_counter()
        answer = self._player.present(image)
        now = time.perf_counter()
        if now - began > 0.002:  # showing it takes about a millisecond
            self.idle += now - began
        return answer

    def close(self) -> None:
        """Close the window; safe to call twice."""
        self._window.close()


class LiveWindow:
    """The window of `live`: shows a frame and returns the user's answer.

    Args:
        name: The source's name, for the title.
    """

    def __init__(self, name: str) -> None:
        self._window = Window(f"SiamTrack live - {name}  ({KEYS})")
        self._last: Image | None = None

    def show(
        self, frame: Frame, picture: Image, tracks: Sequence[Track], status: Status, several: bool
    ) -> UserReaction:
        """Shows the frame with its numbers; r draws, space freezes the display, q quits.

        Args:
            frame: The frame itself; boxes in the answer are in its pixels.
            picture: The frame with its tracks drawn; also written to the video, so it must not be changed.
            tracks: Empty before the first box.
            status: Numbers to show.
            several: Whether more than one box may be drawn (files in single-target formats allow one).
        """
        shown = picture.copy()
        put_label(shown, status.line(), (0, shown.shape[0]), DARK, above=True)
        if not tracks:
            put_label(shown, "r: draw a box  |  q: quit", (0, 0), DARK)
        self._window.show(shown)
        self._last = shown
        return self._answer(self._window.key(1), frame, several)

    def wait(self, status: Status) -> UserReaction:
        """No new frame arrived: says so on the last one."""
        if self._last is not None and status.state != "live":
            shown = self._last.copy()
            put_label(shown, f"{status.state} ...", (0, 0), RED)
            self._window.show(shown)
        return self._answer(self._window.key(1), None, False)

    def _answer(self, key: str, frame: Frame | None, several: bool) -> UserReaction:
        if key == "space" and self._last is not None:
            key = pause(self._window, self._last)
        if self._window.closed or key in ("q", "esc"):
            return UserReaction(quit=True)
        if key == "r" and frame is not None:
            return UserReaction(boxes=self._window.select(frame.image, several), frame=frame)
        return UserReaction()

    def close(self) -> None:
        """Close the window."""
        self._window.close()
