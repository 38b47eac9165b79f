"""The windows of track and live under Xvfb: draw with the mouse, accept, pause, draw anew, quit."""

from __future__ import annotations

import csv
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import ROOT, environment, tiny_model, write_video
from tests.conftest import moving_square
from tests.displays import xvfb

pytestmark = [pytest.mark.display, pytest.mark.slow]
PATIENCE = 120.0
"""Seconds; the machine that runs the tests may be busy."""


@pytest.fixture
def display() -> Iterator[str]:
    with xvfb("1024x768", polled=True) as name:
        yield name


class User:
    """Someone at the display: starts a tool, moves the mouse, presses keys, looks."""

    def __init__(self, display: str, folder: Path, name: str, *args: object) -> None:
        self.env, self.folder = environment(DISPLAY=display, QT_LOGGING_RULES="*=false"), folder
        command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, args)]
        self.process = subprocess.Popen(
            command, cwd=folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def do(self, *args: object) -> str:
        done = subprocess.run(
            ["xdotool", *map(str, args)], env=self.env, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout.strip()

    def wait_for(self, what: Callable[[], Any], name: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if result := what():
                return result
            if self.process.poll() is not None:
                out, err = self.process.communicate()
                pytest.fail(f"{name}: the tool ended with {self.process.returncode}: {out} {err}")
            time.sleep(0.2)
        pytest.fail(f"{name}: nothing after {PATIENCE} s")

    def wait_for_window(self) -> None:
        self.wait_for(lambda: self.do("search", "--onlyvisible", "--name", "SiamTrack"), "window")
        time.sleep(1)

    def drag(self, x0: int, y0: int, x1: int, y1: int) -> None:
        self.do("mousemove", x0, y0)
        self.do("mousedown", 1)
        for share in (0.4, 0.8, 1.0):
            time.sleep(0.15)
            self.do("mousemove", round(x0 + share * (x1 - x0)), round(y0 + share * (y1 - y0)))
        time.sleep(0.15)
        self.do("mouseup", 1)
        time.sleep(0.3)

    def key(self, name: str) -> None:
        self.do("key", name)
        time.sleep(0.2)

    def look(self, name: str) -> None:
        """A screenshot for a person to look at, where ImageMagick is there."""
        if shutil.which("import"):
            subprocess.run(
                ["import", "-window", "root", str(self.folder / f"{name}.png")], env=self.env, check=False, timeout=30
            )

    def rows(self) -> list[dict[str, str]]:
        path = self.folder / "out.csv"
        if not path.exists():
            return []
        with path.open() as file:
            return [row for row in csv.DictReader(file) if row["state"]]

    def drawn(self) -> list[list[float]]:
        """The boxes in the file that a person drew: their score is exactly 1."""
        return [[float(row[key]) for key in "xywh"] for row in self.rows() if row["score"] == "1.0000"]

    def stands_still(self) -> bool:
        before = len(self.rows())
        time.sleep(1.0)
        return before > 0 and len(self.rows()) == before

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@pytest.fixture
def start(display: str, tmp_path: Path) -> Iterator[Callable[..., User]]:
    users: list[User] = []

    def begin(name: str, *args: object) -> User:
        users.append(User(display, tmp_path, name, *args))
        return users[-1]

    yield begin
    for user in users:
        if user.process.poll() is None:
            user.process.kill()
            user.process.communicate()


def near(box: list[float], *wanted: float) -> bool:
    return all(abs(a - b) <= 3 for a, b in zip(box, wanted, strict=True))


def test_draw_pause_draw_anew_and_quit(start: Callable[..., User], tmp_path: Path) -> None:
    images, _ = moving_square(60, 640, 480, 42)
    write_video(tmp_path / "long.mp4", images * 40)
    model = tiny_model(tmp_path / "tiny.safetensors")
    user = start("track", "long.mp4", "--model", model, "--save-boxes", "out.csv")
    user.wait_for_window()
    user.drag(20, 30, 62, 72)
    user.look("1-draw")
    user.key("Return")
    user.wait_for(lambda: len(user.rows()) > 5, "tracking")
    assert near(user.drawn()[0], 20, 30, 42, 42)
    user.key("space")
    user.wait_for(user.stands_still, "pause")
    user.look("2-paused")
    count = len(user.rows())
    user.key("period")
    user.wait_for(lambda: len(user.rows()) == count + 1, "a step")
    for name in ("comma", "Left", "period"):  # the past is looked at; nothing new is tracked
        user.key(name)
    user.look("2-past")
    assert user.stands_still() and len(user.rows()) == count + 1
    for name in ("Right", "Right"):
        user.key(name)
    user.wait_for(lambda: len(user.rows()) > count + 20, "two seconds ahead")
    user.wait_for(user.stands_still, "still paused")
    user.key("minus")
    user.key("plus")
    user.key("space")
    count = len(user.rows())
    user.wait_for(lambda: len(user.rows()) > count + 3, "going on")
    user.look("3-tracking")
    user.key("r")
    user.wait_for(user.stands_still, "drawing anew")
    user.drag(100, 130, 150, 190)
    user.look("4-draw-anew")
    user.key("Return")
    user.wait_for(lambda: len(user.drawn()) == 2, "second box")
    assert near(user.drawn()[1], 100, 130, 50, 60)
    user.key("q")
    code, out, err = user.end()
    assert code == 0 and "Traceback" not in err
    assert out.splitlines()[-1].startswith(f"{len(user.rows())} frames")
    assert len(user.rows()) < 2400


def test_escape_cancels(start: Callable[..., User], tmp_path: Path) -> None:
    images, _ = moving_square(3, 640, 480, 42)
    write_video(tmp_path / "clip.mp4", images)
    user = start("track", "clip.mp4", "--model", tiny_model(tmp_path / "tiny.safetensors"), "--save", "out.mp4")
    user.wait_for_window()
    user.drag(20, 30, 62, 72)
    user.key("Escape")
    code, _, err = user.end()
    assert code == 2 and "No box was drawn" in err
    assert not (tmp_path / "out.mp4").exists()


def test_live_draw_pause_and_quit(start: Callable[..., User], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "tests.media.stream_server", "http", str(port)], cwd=ROOT)
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:  # the server takes one client after the other, so only the tool may connect
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        model = tiny_model(tmp_path / "tiny.safetensors")
        user = start("live", f"http://127.0.0.1:{port}/", "--model", model, "--save-boxes", "out.csv")
        user.wait_for_window()
        user.do("mousemove", 60, 60)  # without a window manager keys go to the window under the mouse
        user.look("1-live")
        user.key("r")
        time.sleep(1)
        user.drag(20, 30, 120, 100)
        user.look("2-draw")
        user.key("Return")
        user.wait_for(lambda: len(user.rows()) > 5, "tracking")
        user.look("3-tracking")
        user.key("space")
        user.wait_for(user.stands_still, "pause")
        user.key("space")
        count = len(user.rows())
        user.wait_for(lambda: len(user.rows()) > count, "going on")
        user.key("q")
        code, out, err = user.end()
        assert code == 0, err
        assert "dropped" in out and "latency" in out
        times = [float(row["timestamp"]) for row in user.rows()]
        assert times == sorted(times) and times[-1] > times[0]
    finally:
        server.kill()
        server.wait()
