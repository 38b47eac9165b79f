"""The window: shows frames, reads keys, and lets the user draw boxes. The only module that uses OpenCV's GUI."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import TypeVar

import cv2
import numpy as np

from tracker.errors import SiamTrackError
from tracker.media.draw import COLOURS, DARK, put_label, stroke
from tracker.types import Box, Image

S = TypeVar("S")

KEYS = {13: "enter", 10: "enter", 27: "esc", 32: "space", 8: "backspace", 127: "backspace"}
ARROWS = {
    # Codes of X11 and Qt, of Windows and of macOS, as `cv2.waitKeyEx` gives them.
    **dict.fromkeys((0xFF51, 0x250000, 0xF702), "left"),
    **dict.fromkeys((0xFF53, 0x270000, 0xF703), "right"),
    **dict.fromkeys((0xFF52, 0x260000, 0xF700), "up"),
    **dict.fromkeys((0xFF54, 0x280000, 0xF701), "down"),
}
LARGEST, SMALLEST = (1440, 810), (640, 360)
"""Images are scaled down to fit the first size, and up to at least the second, so that boxes are easy to draw."""

PROBE = """
import cv2, os
cv2.namedWindow("probe", cv2.WINDOW_AUTOSIZE)
cv2.destroyWindow("probe")
if os.fork():
    os._exit(0)
os.close(1), os.close(2)
os.read(0, 1)
os._exit(0)
"""
"""Opens a window; a copy of the process stays connected to the display until its input ends. An X server without other
clients (Xvfb without a window manager) starts anew when the last one leaves, and a window that is opened at that moment
ends its process."""
_connected: list[int] = []
"""The write end of that input, until a window is open; it ends with this process at the latest."""


class DisplayError(SiamTrackError):
    """There is no display for a window."""


@functools.lru_cache(maxsize=1)
def display_available() -> tuple[bool, str]:
    """Whether a window can be opened here, and if not, why.

    On Linux a short-lived process tries it first: without a display, Qt ends the process, and no exception is raised.

    Returns:
        (True, "") or (False, reason as the part of a sentence).
    """
    row = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "")
    if row.split(":", 1)[-1].strip().upper() in ("", "NONE"):
        return False, "this OpenCV is a build without windows (opencv-python-headless)"
    if not sys.platform.startswith("linux"):
        return True, ""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False, "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    name = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ended, end = os.pipe()
    _connected.append(end)
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], stdin=ended, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        _disconnect()
        return False, f"the display {name} does not answer"
    finally:
        os.close(ended)
    if done.returncode != 0:
        _disconnect()
        return False, f"the display {name} can't be opened"
    return True, ""


def _disconnect() -> None:
    """Ends the process that `PROBE` left behind."""
    while _connected:
        os.close(_connected.pop())


class BoxDrawer:
    """Boxes drawn with the mouse, independent of a GUI: events in, image out.

    Args:
        image: The frame to draw on, BGR uint8.
        several: Whether each drag adds a box; otherwise the last one replaces it.
    """

    def __init__(self, image: Image, several: bool = False) -> None:
        self._image, self._several = image, several
        self._from: tuple[float, float] | None = None
        self._to = (0.0, 0.0)
        self.boxes: list[Box] = []

    def press(self, x: float, y: float) -> None:
        """The button is pressed at x, y (pixels of the frame)."""
        self._from = self._to = (x, y)

    def move(self, x: float, y: float) -> None:
        """The mouse moves."""
        self._to = (x, y)

    def release(self, x: float, y: float) -> None:
        """The button is released; a drag of less than 3 pixels is ignored."""
        self._to = (x, y)
        box, self._from = self._current(), None
        if box is not None and min(box[2:]) >= 3:
            self.boxes = [*self.boxes, box] if self._several else [box]

    def undo(self) -> None:
        """Removes the last box."""
        self.boxes = self.boxes[:-1]

    def _current(self) -> Box | None:
        if self._from is None:
            return None
        height, width = self._image.shape[:2]
        xs = np.clip(sorted((self._from[0], self._to[0])), 0, width)
        ys = np.clip(sorted((self._from[1], self._to[1])), 0, height)
        return np.array([xs[0], ys[0], xs[1] - xs[0], ys[1] - ys[0]], dtype=np.float64)

    def picture(self, scale: float) -> Image:
        """The frame at this scale with the boxes and a hint for the next step."""
        image = _scaled(self._image, scale).copy()
        current = self._current()
        for k, box in enumerate([*self.boxes, *([] if current is None else [current])]):
            x0, y0, x1, y1 = (round(float(v)) for v in np.array([*box[:2], *(box[:2] + box[2:])]) * scale)
            colour = COLOURS[(k if self._several else 0) % len(COLOURS)]
            cv2.rectangle(image, (x0, y0), (x1, y1), DARK, stroke(image) + 2)
            cv2.rectangle(image, (x0, y0), (x1, y1), colour, stroke(image))
        if not self.boxes:
            hint = "Drag a box around " + ("each target" if self._several else "the target") + "  |  Esc: cancel"
        else:
            again = "drag: one more  |  Backspace: undo" if self._several else "drag: draw again"
            hint = f"Enter: track  |  {again}  |  Esc: cancel"
        put_label(image, hint, (0, 0), DARK, scale=0.5)
        return image


class Window:
    """A window of OpenCV's GUI.

    Args:
        title: Its title and name.

    Raises:
        DisplayError: There is no display; the sentence says why and what works without one.
    """

    def __init__(self, title: str = "SiamTrack") -> None:
        there, why = display_available()
        if not there:
            raise DisplayError(
                f"Can't open a window: {why}; pass the box with --box x,y,w,h and write files with --save instead."
            )
        self._title, self._scale = title, 1.0
        self._drawer: BoxDrawer | None = None
        self._open, self._shown = True, False
        try:
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
            cv2.setMouseCallback(title, self._on_mouse)
            _disconnect()
        except cv2.error as error:
            raise DisplayError(f"Can't open a window: {error}; pass the box with --box x,y,w,h instead.") from None

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the user closed the window by its X (or `close` was called)."""
        if self._open and self._shown:
            try:
                self._open = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
            except cv2.error:  # how some backends report that the window is gone
                self._open = False
        return not self._open

    def show(self, image: Image) -> None:
        """Shows a frame, scaled to a convenient size; does nothing once the window is closed."""
        if not self.closed:  # imshow would open it again
            self._scale = fitting_scale(image)
            cv2.imshow(self._title, _scaled(image, self._scale))

    def key(self, wait_ms: int = 1) -> str:
        """The key pressed since the last call: a lower-case character, "enter", "esc", "space", "backspace", an arrow
        ("left", "right", "up", "down"), or "" for none.

        Args:
            wait_ms: How long to wait for one; also the time in which the window redraws itself.
        """
        if not self._open:
            return ""
        code = cv2.waitKeyEx(max(1, wait_ms))
        self._shown = True
        if code < 0:
            return ""
        if code > 0xFF:  # no character: an arrow, or a key without function here (its last byte may look like "q")
            return ARROWS.get(code & 0xFFFFFF, "")
        return KEYS.get(code & 0xFF, chr(code & 0xFF).lower())

    def select(self, image: Image, several: bool = False) -> list[Box]:
        """Let the user draw one box, or several, on a frame.

        Args:
            image: BGR uint8.
            several: Whether more than one may be drawn.

        Returns:
            (4,) float64 xywh each, in pixels of `image`; empty if cancelled with Esc or by closing the window.
        """
        self._drawer = drawer = BoxDrawer(image, several)
        self._scale = fitting_scale(image)
        try:
            while not self.closed:
                cv2.imshow(self._title, drawer.picture(self._scale))
                key = self.key(20)
                if key in ("enter", "space") and drawer.boxes:
                    return drawer.boxes
                if key == "esc":
                    return []
                if key == "backspace":
                    drawer.undo()
            return []
        finally:
            self._drawer = None

    def _on_mouse(self, event: int, x: int, y: int, flags: int, data: object) -> None:
        if self._drawer is None:
            return
        at = (x / self._scale, y / self._scale)
        if event == cv2.EVENT_LBUTTONDOWN:
            self._drawer.press(*at)
        elif event == cv2.EVENT_MOUSEMOVE:
            self._drawer.move(*at)
        elif event == cv2.EVENT_LBUTTONUP:
            self._drawer.release(*at)

    def close(self) -> None:
        if not self.closed:
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
        self._open = False


def fitting_scale(image: Image) -> float:
    """The factor at which a frame is shown: down to fit LARGEST, up to SMALLEST by integers."""
    height, width = image.shape[:2]
    down = min(1.0, LARGEST[0] / width, LARGEST[1] / height)
    return down if down < 1 else float(max(1, min(SMALLEST[0] // width, SMALLEST[1] // height)))


def _scaled(image: Image, scale: float) -> Image:
    if scale == 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)
