"""The annotation page in a real headless Chromium: mouse, finger, keyboard, two windows, kill -9."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.annotate.browsing import SIZE, Page, Tool
from tests.annotate.clips import boxes, truth, walk
from tests.web.test_browser import CHROMIUM, DRIVER
from tracker.annotate import Project
from tracker.geometry import iou

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (Path(CHROMIUM).exists() and Path(DRIVER).exists()), reason="chromium or chromedriver is not installed"
    ),
]


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[Tool]:
    made = Tool(walk(tmp_path / "walk.mp4"), tmp_path / "p.jsonl", STANDIN_DELAY="0.002")
    yield made
    made.kill()


@pytest.fixture
def page(tool: Tool) -> Iterator[Page]:
    made = Page(tool.url, SIZE)
    yield made
    made.driver.quit()


def test_three_targets_by_mouse_finger_and_keyboard_with_corrections_undo_and_approval(
    tool: Tool, page: Page, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    page.box(truth(0, 0))
    page.until(lambda: page.boxes() and 1 in page.boxes() and page.boxes()[1]["key"])
    page.click("new")
    page.box(truth(1, 0), touch=True)
    page.until(lambda: 2 in page.boxes())
    page.idle()
    page.go(20)
    page.until(lambda: page.boxes()[2]["box"] and not page.boxes()[2]["key"])
    assert iou(page.boxes()[1]["box"], truth(0, 20)) > 0.8 and iou(page.boxes()[2]["box"], truth(1, 20)) > 0.8
    # By keyboard: t, Enter begins a box in the middle; arrows bring it somewhere; Enter accepts.
    page.keys("t", Keys.ENTER, *[Keys.ARROW_LEFT] * 3, Keys.ARROW_UP, Keys.ENTER)
    page.until(lambda: 3 in page.boxes() and page.boxes()[3]["key"])
    expected = (128 - 6, 96 - 2, 64, 48)
    assert np.allclose(page.boxes()[3]["box"], expected, atol=1)
    page.keys("z")
    page.until(lambda: 3 not in page.boxes() or not page.boxes()[3]["key"])
    page.keys("z")
    page.until(lambda: 3 not in page.boxes())
    # The first is lost behind the pillar: n goes there; a corner of a box is dragged, and the box becomes a key box.
    page.until(lambda: page.driver.execute_script("return !document.getElementById('doubt').disabled"))
    page.go(5)
    page.keys("n")
    page.until(lambda: int(page.driver.execute_script("return document.getElementById('view').dataset.frame")) > 20)
    page.go(50)
    page.keys("1")
    page.until(lambda: page.boxes()[1]["box"])
    x, y, w, h = page.boxes()[1]["box"]
    page.drag((x + w / 2, y + h / 2), (x + w / 2 + 1.5, y + h / 2 + 1.5))
    page.until(lambda: page.boxes()[1]["key"])
    page.idle()
    page.go(30)
    page.until(lambda: page.boxes()[1]["box"] is not None)
    assert page.boxes()[1]["flags"] & 1, "hidden, bridged between both sides of the pillar"
    page.keys("a")
    page.until(lambda: page.boxes()[1]["flags"] & 2)
    script = (
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('change'))"
    )
    page.driver.execute_script(script, "name", "the first")
    page.until(lambda: "the first" in page.text("targets"))
    page.driver.execute_script(
        "document.getElementById('speed').value = '8'; document.getElementById('speed').dispatchEvent(new "
        "Event('change'))"
    )
    page.go(0)
    page.click("play")
    page.until(lambda: page.driver.execute_script("return document.getElementById('view').dataset.frame") == "59")
    errors = [e["message"] for e in page.driver.get_log("browser") if e["level"] == "SEVERE"]
    assert not errors
    tool.kill()
    with Project(tmp_path / "p.jsonl") as project:
        first, second = project.clips[0].targets
        assert first.name == "the first" and first.approved[1:50].all() and sorted(first.keys) == [0, 50]
        assert iou(first.boxes, boxes(0)).min() > 0.6 and iou(second.boxes, boxes(1)).min() > 0.7


def test_a_small_target_is_drawn_from_close_by(tool: Tool, page: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    view = page.driver.find_element("id", "view")
    x, y = page.at(200, 100)
    middle = (view.rect["x"] + view.rect["width"] / 2, view.rect["y"] + view.rect["height"] / 2)
    origin = ScrollOrigin.from_element(view, round(x - middle[0]), round(y - middle[1]))
    ActionChains(page.driver).scroll_from_origin(origin, 0, -500).perform()
    page.until(lambda: page.driver.execute_script("return document.getElementById('view').dataset.zoom") == "4.000")
    scale = min(view.rect["width"] / SIZE[0], view.rect["height"] / SIZE[1])
    # The place under the wheel stays; twenty pixels of the frame are four times as far on the screen.
    end = (200 + 20 * 4, 100 + 16 * 4)
    page.drag((200, 100), end)
    page.until(lambda: page.boxes() and 1 in page.boxes() and page.boxes()[1]["key"])
    assert np.allclose(page.boxes()[1]["box"], (200, 100, 20, 16), atol=2.5 / scale)
    page.keys("f")
    page.until(lambda: page.driver.execute_script("return document.getElementById('view').dataset.zoom") == "1.000")
    page.keys("f")
    page.until(lambda: float(page.driver.execute_script("return document.getElementById('view').dataset.zoom")) > 3)
    assert not [e["message"] for e in page.driver.get_log("browser") if e["level"] == "SEVERE"]


def test_two_windows_and_a_kill_lose_nothing(tool: Tool, page: Page, tmp_path: Path) -> None:
    other = Page(tool.url, SIZE)
    try:
        page.box(truth(2, 0))
        other.until(lambda: other.boxes() and 1 in other.boxes())
        # The first window doesn't hear of what the second draws: its poll is cut off.
        page.driver.execute_script(
            "const f = window.fetch; window.fetch = (u, o) => String(u).includes('since') ? new Promise(() => {}) : "
            "f(u, o)"
        )
        page.driver.execute_script("return 0")
        time.sleep(0.5)
        other.go(10)
        other.until(lambda: other.boxes()[1]["box"])
        other.drag((truth(2, 10)[0] + 16, truth(2, 10)[1] + 16), (truth(2, 10)[0] + 19, truth(2, 10)[1] + 19))
        other.until(lambda: other.boxes()[1]["key"])
        kept = other.boxes()[1]["box"]
        stale = {"do": "key", "target": 1, "frame": 10, "box": [5, 5, 9, 9], "seen": 0}
        script = """const done = arguments[1]; fetch('api/do', {method: 'POST',
            headers: {'Content-Type': 'application/json'},
            body: JSON.stringify(arguments[0])}).then(async (a) => done([a.status, (await a.json()).error]))"""
        status, said = page.driver.execute_async_script(script, stale)
        assert status == 409 and "another window" in said
        foreign = page.driver.execute_async_script(
            "const done = arguments[0]; fetch('api/do', {method: 'POST', body: '{\"do\": \"undo\"}'}).then((a) => "
            "done(a.status))"
        )
        assert foreign == 403, "text/plain is what another site could send"
        tool.kill()
        tool.start()
        other.until(lambda: other.driver.execute_script("return fetch('api/state').then((a) => a.ok, () => false)"))
        other.driver.refresh()
        other.until(lambda: other.boxes() and 1 in other.boxes())
        other.go(10)
        assert other.boxes()[1]["box"] == kept
    finally:
        other.driver.quit()


DRAW = """
window.told = 0;
(async (first) => {
  for (let k = first; k < 60; k += 2) {
    const body = JSON.stringify({ do: "key", target: 1, frame: k, box: [k + 1, 20, 30, 30], seen: 0 });
    const answer = await fetch("api/do", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (answer.ok) window.told += 1;
  }
})(arguments[0]);
"""


def test_a_killed_browser_and_two_that_draw_at_once_lose_nothing(tool: Tool, page: Page, tmp_path: Path) -> None:
    page.box(truth(2, 0))
    page.until(lambda: page.boxes() and 1 in page.boxes())
    other = Page(tool.url, SIZE)
    told = 0
    try:
        page.driver.execute_script(DRAW, 2)
        other.driver.execute_script(DRAW, 1)
        page.until(lambda: page.driver.execute_script("return window.told") > 20)
        other.until(lambda: other.driver.execute_script("return window.told") > 0)
        told = other.driver.execute_script("return window.told")
    finally:
        other.kill()
    page.until(lambda: page.driver.execute_script("return window.told") == 29)
    tool.kill()
    with Project(tmp_path / "p.jsonl") as project:
        keys = project.target(1).keys
        assert set(range(0, 60, 2)) <= set(keys) and sum(k % 2 for k in keys) >= told
        assert all(box is not None and box.tolist() == [k + 1, 20, 30, 30] for k, box in keys.items() if k)
    # The next start shows all of it in a new browser.
    tool.start()
    page.driver.get(tool.url)
    page.until(lambda: page.boxes() and 1 in page.boxes())
    assert len([k for k in keys if page.key_at(1, k)]) == len(keys)
