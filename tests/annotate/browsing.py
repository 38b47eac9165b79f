"""A person at the page of `annotate`: the tool that serves it, and a browser with mouse, fingers and keyboard."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.web.test_browser import CHROMIUM, DRIVER, FLAGS

ROOT = Path(__file__).parents[2]


PATIENCE = 60.0


SIZE = (320, 240)


class Tool:
    """The tool as a subprocess, which can be killed and started again."""

    def __init__(self, clip: Path, project: Path, **env: str) -> None:
        self.command = [
            sys.executable,
            str(ROOT / "tests" / "annotate" / "standin.py"),
            str(clip),
            "--project",
            str(project),
            "--no-open",
            "--web",
        ]
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", **env}
        self.port = "0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self.command, f"127.0.0.1:{self.port}"], stdout=subprocess.PIPE, text=True, env=self.env
        )
        assert self.process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", self.process.stdout.readline())
        assert found, "the tool did not start"
        self.url, self.port = found.group(), found.group(1)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Page:
    """A browser with the page."""

    def __init__(self, url: str, size: tuple[int, int]) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, "--window-size=1280,900"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver, self.size = webdriver.Chrome(options=options, service=Service(DRIVER)), size
        self.driver.get(url)
        self.until(lambda: self.boxes() is not None)

    def boxes(self) -> dict[int, Any] | None:
        text = self.driver.execute_script("return document.getElementById('view').dataset.boxes")
        return None if text is None else {item["id"]: item for item in json.loads(text)}

    def until(self, what: Any, seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return
            time.sleep(0.1)
        pytest.fail(f"waited in vain; the page says {self.text('work-text')!r}, {self.text('notices')!r}")

    def text(self, name: str) -> str:
        return str(self.driver.execute_script("return document.getElementById(arguments[0]).innerText", name))

    def click(self, name: str) -> None:
        self.driver.execute_script("document.getElementById(arguments[0]).click()", name)

    def at(self, x: float, y: float) -> tuple[int, int]:
        script = """const c = document.getElementById('view').getBoundingClientRect(), [w, h, x, y] = arguments;
            const s = Math.min(c.width / w, c.height / h);
            return [Math.round(c.left + (c.width - w * s) / 2 + x * s),
                    Math.round(c.top + (c.height - h * s) / 2 + y * s)]"""
        left, top = self.driver.execute_script(script, *self.size, x, y)
        return left, top

    def drag(self, start: tuple[float, float], end: tuple[float, float], touch: bool = False) -> None:
        from selenium.webdriver.common.actions.action_builder import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        a, b = self.at(*start), self.at(*end)
        actions = ActionBuilder(
            self.driver, mouse=PointerInput("touch" if touch else "mouse", "finger" if touch else "mouse")
        )
        pointer = actions.pointer_action
        pointer.move_to_location(*a).pointer_down().move_to_location(
            (a[0] + b[0]) // 2, (a[1] + b[1]) // 2
        ).move_to_location(*b).pointer_up()
        actions.perform()

    def box(self, box: tuple[float, ...], touch: bool = False) -> None:
        self.drag((box[0], box[1]), (box[0] + box[2], box[1] + box[3]), touch)

    def keys(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def go(self, frame: int) -> None:
        script = (
            "const f = document.getElementById('frame'); f.value = arguments[0]; f.dispatchEvent(new "
            "Event('change')); f.blur()"
        )
        self.driver.execute_script(script, frame)
        self.until(
            lambda: self.driver.execute_script("return document.getElementById('view').dataset.frame") == str(frame)
        )

    def key_at(self, number: int, frame: int) -> list[Any] | None:
        """[frame, box or None, revision] of a target's key box, as the server tells it."""
        script = "const done = arguments[0]; fetch('api/state').then((a) => a.json()).then(done)"
        targets = self.driver.execute_async_script(script)["clips"][0]["targets"]
        keys = next(t["keys"] for t in targets if t["id"] == number)
        return next((key for key in keys if key[0] == frame), None)

    def correct(self, number: int, box: tuple[float, ...]) -> None:
        """Drag the selected target's box in the shown frame to where it should be, or draw one where there is none."""
        self.until(lambda: number in (self.boxes() or {}))
        now = self.boxes()[number]["box"]  # type: ignore[index]
        if now is None:
            self.box(box)
        else:
            a, b = ((v[0] + v[2] / 2, v[1] + v[3] / 2) for v in (now, box))
            self.drag(a, b if max(abs(a[0] - b[0]), abs(a[1] - b[1])) > 2 else (a[0] + 3, a[1] + 3))
        self.until(lambda: self.boxes()[number]["key"])  # type: ignore[index]

    def kill(self) -> None:
        """End the browser as a crash would."""
        pid = int(self.driver.service.process.pid)
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
        for child in map(int, children):
            os.kill(child, signal.SIGKILL)
        self.driver.service.process.kill()
        self.driver.service.process.wait()

    def idle(self) -> None:
        self.until(lambda: "All tracked" in self.text("work-text"))
