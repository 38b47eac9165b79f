"""The status page in headless Chromium: the table, the live picture, and a phone's width."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import tiny_model
from tests.serve.test_serve import TOKEN, live_stream, serving

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"),
]


@pytest.fixture
def driver() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def test_the_status_page(tmp_path: Path, driver: Any) -> None:
    tiny_model(tmp_path / "tiny.safetensors")
    with live_stream(rate=10) as port:
        streams = {
            "gate": {"source": f"tcp://127.0.0.1:{port}", "targets": {"car": [100, 60, 40, 40]}},
            "a-camera-with-a-long-name-that-is-down": {"source": "tcp://127.0.0.1:9", "timeout": 1},
        }
        config = {"streams": streams, "workers": {"count": 1}, "control": {"address": "127.0.0.1:0"}}
        with serving(tmp_path, config) as service:
            service.until(lambda: service.results("gate"))
            base = service.until(lambda: service.said.split("status page: ")[1].split("?")[0])

            def until(done: Any) -> None:
                end = time.monotonic() + 60
                while not done():
                    assert time.monotonic() < end, driver.page_source
                    time.sleep(0.2)

            def text(where: str) -> str:
                return str(driver.execute_script(f"return document.getElementById('{where}').innerText"))

            def picture() -> str:
                return str(driver.execute_script("return document.getElementById('picture').src"))

            driver.set_window_size(1200, 900)
            driver.get(f"{base}?token={TOKEN}")
            until(lambda: text("summary") == "1 of 2 streams live, 1 worker")
            until(lambda: "down" in text("streams") and "car " in text("streams"))
            assert "token" not in driver.current_url
            overflow = "return document.documentElement.scrollWidth > innerWidth"
            assert not driver.execute_script(overflow)
            driver.execute_script("document.querySelector('#streams button').click()")
            until(picture)
            first = picture()
            until(lambda: picture() != first)
            assert driver.execute_script("return document.getElementById('picture').naturalWidth") == 320
            driver.set_window_size(500, 844)
            assert not driver.execute_script(overflow)
            problems = [line["message"] for line in driver.get_log("browser") if line["level"] == "SEVERE"]
            assert not problems
