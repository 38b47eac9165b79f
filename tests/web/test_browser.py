"""The page in a real headless Chromium, served by the tool as a subprocess: a box is drawn with the mouse, and the
track follows."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.media.clips import write_clip
from tracker.media.sinks.video import count_frames
from tracker.media.sources.video import VideoFileSource

ROOT = Path(__file__).parents[2]
CHROMIUM, DRIVER = (
    shutil.which("chromium") or "/usr/bin/chromium",
    shutil.which("chromedriver") or "/usr/bin/chromedriver",
)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTH, HEIGHT, SIDE = 256, 192, 42
REST, FRAMES = 100, 300
"""The square rests for 4 seconds, so that there is time to draw, then goes round for 8; the clip is played in a
loop."""
PATIENCE = 30.0

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (Path(CHROMIUM).exists() and Path(DRIVER).exists()), reason="chromium or chromedriver is not installed"
    ),
]


def truth(index: int) -> np.ndarray:
    """The square (xywh) in frame `index` of the endless loop."""
    turn = 2 * np.pi * max(0, index % FRAMES - REST) / (FRAMES - REST)
    x, y = 30 + 70 * (1 - np.cos(turn)), 75 + 55 * np.sin(turn)
    return np.array([round(x), round(y), SIDE, SIDE], dtype=np.float64)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(3)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), (0, 0), 4)
    patch = np.kron(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), np.ones((SIDE // 6, SIDE // 6, 1), np.uint8))
    images = []
    for k in range(FRAMES):
        x, y = (int(v) for v in truth(k)[:2])
        image = ground.copy()
        image[y : y + SIDE, x : x + SIDE] = patch
        images.append(image)
    return write_clip(tmp_path_factory.mktemp("clip") / "square.mp4", images)


@pytest.fixture
def tool(clip: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """The tool with its page: process, address, folder of recordings."""
    folder = tmp_path / "recordings"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "web" / "standin.py"), str(clip), "--web", "127.0.0.1:0",
        "--save-dir", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            break
    else:
        pytest.fail(f"the tool did not start: {said}")
    try:
        yield process, found.group(), folder
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,560"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def wait(browser: Any, script: str) -> Any:
    """What the script returns, once that is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := browser.execute_script(f"return {script}"):
            return value
        time.sleep(0.05)
    raise AssertionError(f"never came: {script}")


def shown(browser: Any) -> int:
    """Index of the frame on screen."""
    return int(wait(browser, "document.querySelector('#view').dataset.index ?? ''"))


def draw(browser: Any) -> np.ndarray:
    """Draw a box around the resting square with the mouse; the box."""
    from selenium.webdriver import ActionChains

    canvas = browser.find_element("id", "view")
    width, height = browser.execute_script("return [arguments[0].clientWidth, arguments[0].clientHeight]", canvas)
    assert width / height > 1.2 * WIDTH / HEIGHT, "the window was to be so flat that bars stand beside the picture"
    scale = min(width / WIDTH, height / HEIGHT)
    box = truth(0)

    def at(x: float, y: float) -> tuple[int, int]:  # from the canvas' centre, as ActionChains counts
        return round((x - WIDTH / 2) * scale), round((y - HEIGHT / 2) * scale)

    for _ in range(8):
        end = time.monotonic() + PATIENCE
        while not shown(browser) % FRAMES < REST // 2 and time.monotonic() < end:
            time.sleep(0.02)
        hand = ActionChains(browser, duration=20).move_to_element_with_offset(canvas, *at(*box[:2])).click_and_hold()
        hand.move_to_element_with_offset(canvas, *at(*(box[:2] + box[2:]))).perform()
        if shown(browser) % FRAMES < REST:  # the picture is held: this is the one that is drawn on
            ActionChains(browser).release().perform()
            return box
        browser.execute_script(
            "document.querySelector('#view').dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))"
        )
        ActionChains(browser).release().perform()
    raise AssertionError("this machine is too busy to draw while the square rests")


def test_draw_follow_record(tool: tuple[subprocess.Popen[str], str, Path], browser: Any) -> None:
    process, address, folder = tool
    browser.get(address)
    assert "Drag a box" in wait(
        browser, "!document.querySelector('#hint').hidden && document.querySelector('#hint').textContent"
    )

    # The drawn box is the box that is followed: the mapping from screen to frame is right, bars and all.
    box = draw(browser)
    size = [float(v) for v in wait(browser, "document.querySelector('#targets li')?.dataset.box").split(",")][2:]
    np.testing.assert_allclose(size, box[2:], atol=2)

    # It moves with the square, all the way round.
    browser.find_element("id", "record").click()
    wait(browser, "document.querySelector('#record').ariaPressed === 'true'")
    script = (
        "const t = document.querySelector('#targets li').dataset; return "
        "[document.querySelector('#index').value, t.box, t.state]"
    )
    places, end = [], time.monotonic() + PATIENCE
    while time.monotonic() < end and not (len(places) > 10 and np.ptp([p[0] for p in places]) > 100):
        index, found, state = browser.execute_script(script)
        assert state == "tracking"
        place = np.array([float(v) for v in found.split(",")])
        np.testing.assert_allclose(place, truth(int(index)), atol=3, err_msg=f"frame {index}")
        places.append(place)
        time.sleep(0.1)
    assert np.ptp([p[0] for p in places]) > 100
    assert (
        wait(
            browser, "!document.querySelector('#maps').hidden && Number(document.querySelector('.meter').ariaValueNow)"
        )
        > 0.8
    )

    # The recording: as many rows as frames, real time stamps, the box where the square is in the picture.
    browser.find_element("id", "record").click()
    links = wait(browser, "[...document.querySelectorAll('#recordings a')].map((a) => a.textContent)")
    assert len(links) == 2 and sorted(links) == sorted(p.name for p in folder.iterdir())
    video = next(folder.glob("*.mp4"))
    rows = list(csv.DictReader(video.with_suffix(".csv").open()))
    assert len(rows) == count_frames(video) > 20
    with VideoFileSource(video) as source:
        frames = list(source)
    np.testing.assert_allclose([f.timestamp for f in frames], [float(r["timestamp"]) for r in rows], atol=0.001)
    colour = frames[-1].image.astype(int)
    x, y, h = (int(float(rows[-1][k])) for k in "xyh")
    edge = colour[y + 3 : y + h - 3, x : x + 1].mean(axis=(0, 1))
    assert edge[1] > 120 and edge[1] > edge[2] + 30, f"no green line on the left edge of the box: {edge}"

    # Clearing, and the end of the tool: the page says so.
    browser.find_element("id", "clear").click()
    wait(browser, "!document.querySelector('#targets li')")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert "Trying again" in wait(
        browser,
        "document.querySelector('#link').dataset.state === 'broken' && document.querySelector('#veil').textContent",
    )
    noise = [
        entry
        for entry in browser.get_log("browser")
        if entry["level"] == "SEVERE" and "ERR_CONNECTION_REFUSED" not in entry["message"]
    ]
    assert not noise


def test_keyboard_and_small_clicks(tool: tuple[subprocess.Popen[str], str, Path], browser: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    _, address, _ = tool
    browser.get(address)
    shown(browser)
    canvas = browser.find_element("id", "view")
    ActionChains(browser).move_to_element(canvas).click().perform()
    assert "Drag from one corner" in wait(browser, "document.querySelector('.notice')?.textContent")
    ActionChains(browser).send_keys(Keys.ENTER, Keys.ARROW_LEFT, Keys.ARROW_LEFT).key_down(Keys.SHIFT).send_keys(
        Keys.ARROW_RIGHT
    ).key_up(Keys.SHIFT).send_keys(Keys.ENTER).perform()
    box = [float(v) for v in wait(browser, "document.querySelector('#targets li')?.dataset.box").split(",")]
    np.testing.assert_allclose(box[2:], [0.2 * WIDTH + 3, 0.2 * HEIGHT], atol=2)
    # On a phone nothing sticks out at the side.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 3, "mobile": True}
    )
    wait(browser, "innerWidth === 390 && document.querySelector('#view').width === 3 * 390")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
