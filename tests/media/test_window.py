"""The window: no crash without a display, boxes by mouse events, and the real thing under Xvfb."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.displays import xvfb
from tracker.media.window import LARGEST, BoxDrawer, fitting_scale

ROOT = Path(__file__).parents[2]
OPEN = (
    "from tracker.media.window import Window, DisplayError\ntry:\n    Window()\nexcept DisplayError as error:\n  "
    "  print(error)"
)


def image(width: int = 320, height: int = 240) -> np.ndarray:
    return np.full((height, width, 3), 60, np.uint8)


def drag(drawer: BoxDrawer, *points: tuple[float, float]) -> None:
    drawer.press(*points[0])
    for point in points[1:]:
        drawer.move(*point)
    drawer.release(*points[-1])


def test_dragging_in_any_direction_gives_a_box_inside_the_frame() -> None:
    drawer = BoxDrawer(image())
    drag(drawer, (100, 90), (40, 60), (20, 30))
    assert [b.tolist() for b in drawer.boxes] == [[20, 30, 80, 60]]
    drag(drawer, (300, 200), (900, -50))
    assert [b.tolist() for b in drawer.boxes] == [[300, 0, 20, 200]]  # drawing again replaces, and is cut at the border
    drag(drawer, (50, 50), (51, 51))
    assert len(drawer.boxes) == 1  # a slip of the hand changes nothing
    drawer.release(5, 5)
    assert len(drawer.boxes) == 1


def test_several_boxes_and_undo() -> None:
    drawer = BoxDrawer(image(), several=True)
    drag(drawer, (10, 10), (40, 50))
    drag(drawer, (100, 100), (150, 150))
    assert len(drawer.boxes) == 2
    drawer.undo()
    assert [b.tolist() for b in drawer.boxes] == [[10, 10, 30, 40]]
    drawer.undo()
    drawer.undo()
    assert drawer.boxes == []


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_picture_shows_the_box_and_a_hint(scale: float) -> None:
    base = image()
    drawer = BoxDrawer(base)
    empty = drawer.picture(scale)
    drag(drawer, (100, 100), (200, 180))
    drawn = drawer.picture(scale)
    assert drawn.shape == (round(240 * scale), round(320 * scale), 3)
    assert (drawn[round(140 * scale), round(100 * scale)] != 60).any()
    assert (empty[:20] != drawn[:20]).any() and (empty[3, 3] != 60).any()
    assert (base == 60).all()


def test_scale_fits_the_screen() -> None:
    assert fitting_scale(image(640, 480)) == 1
    assert fitting_scale(image(160, 120)) == 3
    big = fitting_scale(image(3840, 2160))
    assert 3840 * big <= LARGEST[0] + 1 and 2160 * big <= LARGEST[1] + 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are named like this on Linux only")
@pytest.mark.parametrize(
    ("display", "says"), [("", "neither DISPLAY nor WAYLAND_DISPLAY"), (":4711", "display :4711 can't be opened")]
)
def test_without_a_display_there_is_one_sentence(display: str, says: str) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")} | (
        {"DISPLAY": display} if display else {}
    )
    done = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    if "headless" not in done.stdout:
        assert says in done.stdout
    assert "--box" in done.stdout and len(done.stdout.splitlines()) == 1


SESSION = """
import sys
import cv2
from tracker.media.window import Window
image = cv2.imread(sys.argv[1])
with Window("draw here") as window:
    print("ready", flush=True)
    print("boxes", [b.tolist() for b in window.select(image, several=sys.argv[2] == "several")], flush=True)
    while not window.closed:
        window.show(image)
        key = window.key(20)
        if key:
            print("key", key, flush=True)
        if key == "q":
            break
"""


@pytest.fixture
def display() -> Iterator[str]:
    with xvfb("800x600") as name:
        yield name


class Session:
    """The script above on a display, driven by xdotool."""

    def __init__(self, display: str, folder: Path, mode: str) -> None:
        cv2.imwrite(str(folder / "image.png"), image(640, 400))
        self.env = {**os.environ, "DISPLAY": display}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SESSION, str(folder / "image.png"), mode],
            env=self.env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"
        self.window = ""
        deadline = time.monotonic() + 10
        while not self.window and time.monotonic() < deadline:
            self.window = self.do("search", "--onlyvisible", "--name", "draw here").strip().split("\n")[-1]
            time.sleep(0.1)
        where = dict(row.split("=") for row in self.do("getwindowgeometry", "--shell", self.window).split())
        self.x, self.y = int(where["X"]), int(where["Y"])

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def do(self, *words: str) -> str:
        return subprocess.run(["xdotool", *words], env=self.env, capture_output=True, text=True, check=False).stdout

    def drag(self, x0: int, y0: int, x1: int, y1: int) -> None:
        self.do("mousemove", str(self.x + x0), str(self.y + y0), "mousedown", "1")
        for k in (0.5, 1.0):
            time.sleep(0.1)
            self.do("mousemove", str(self.x + round(x0 + k * (x1 - x0))), str(self.y + round(y0 + k * (y1 - y0))))
        time.sleep(0.1)
        self.do("mouseup", "1")
        time.sleep(0.2)

    def key(self, name: str) -> None:
        self.do("key", "--window", self.window, name)
        time.sleep(0.2)

    def end(self) -> int:
        try:
            return self.process.wait(timeout=10)
        finally:
            self.process.kill()


@pytest.mark.display
def test_draw_a_box_redraw_and_quit(display: str, tmp_path: Path) -> None:
    session = Session(display, tmp_path, "one")
    session.key("Return")  # nothing drawn yet: it waits
    session.drag(50, 60, 150, 120)
    session.drag(300, 200, 220, 100)
    session.key("Return")
    assert session.line() == "boxes [[220.0, 100.0, 80.0, 100.0]]"
    for key in ("space", "r", "q"):
        session.key(key)
    assert [session.line() for _ in range(3)] == ["key space", "key r", "key q"]
    assert session.end() == 0


@pytest.mark.display
def test_several_boxes_undo_and_cancel(display: str, tmp_path: Path) -> None:
    session = Session(display, tmp_path, "several")
    session.drag(50, 60, 150, 120)
    session.drag(200, 60, 250, 120)
    session.drag(300, 60, 350, 120)
    session.key("BackSpace")
    session.key("space")
    assert session.line() == "boxes [[50.0, 60.0, 100.0, 60.0], [200.0, 60.0, 50.0, 60.0]]"
    session.key("q")
    session.line()
    assert session.end() == 0
    session = Session(display, tmp_path, "one")
    session.drag(50, 60, 150, 120)
    session.key("Escape")
    assert session.line() == "boxes []"
    session.key("q")
    session.line()
    assert session.end() == 0


CLOSE = """
import ctypes, sys
x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype = ctypes.c_void_p
x.XInternAtom.restype = ctypes.c_ulong
d = ctypes.c_void_p(x.XOpenDisplay(None))
class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send", ctypes.c_int),
                ("display", ctypes.c_void_p),
                ("window", ctypes.c_ulong), ("message", ctypes.c_ulong), ("format", ctypes.c_int),
                ("data", ctypes.c_long * 5),
                ("pad", ctypes.c_long * 16)]
m = Message(type=33, window=int(sys.argv[1]), message=x.XInternAtom(d, b"WM_PROTOCOLS", 0), format=32)
m.data[0] = x.XInternAtom(d, b"WM_DELETE_WINDOW", 0)
x.XSendEvent(d, ctypes.c_ulong(m.window), 0, ctypes.c_long(0), ctypes.byref(m))
x.XFlush(d)
x.XSync(d, 0)
"""


@pytest.mark.display
@pytest.mark.parametrize("after", ["", "Return"])
def test_the_x_of_the_window_ends_it(display: str, tmp_path: Path, after: str) -> None:
    session = Session(display, tmp_path, "one")
    if after:
        session.drag(50, 60, 150, 120)
        session.key(after)
        assert session.line() == "boxes [[50.0, 60.0, 100.0, 60.0]]"
    done = subprocess.run(
        [sys.executable, "-c", CLOSE, session.window], env=session.env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        session.process.kill()
        pytest.skip("libX11 is not at hand to press the X")
    if not after:
        assert session.line() == "boxes []"
    assert session.end() == 0
