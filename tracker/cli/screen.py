"""The windows of `track` and `live`: playback speed, keys (pause, step, seek, speed), and drawing of boxes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tracker.cli.viewer import UserReaction
from tracker.media.draw import DARK, RED, put_label
from tracker.media.images import fit_into
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
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        if done:
            self._kept.append(data.tobytes())
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
