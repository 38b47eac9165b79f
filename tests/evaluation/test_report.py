"""Reports: numbers with intervals, losses, files, the page in a real browser, the command line."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import moving_square
from tracker.errors import OutputError, SourceError
from tracker.evaluation.report import plot_style, tables
from tracker.evaluation.report.build import ReportOptions, merge, write_report
from tracker.metrics.result_store import save_evaluation
from tracker.metrics.results import FAILURE, INIT, TRACKED, Evaluation, SequenceResult
from tracker.metrics.success import got10k_metrics, otb_metrics
from tracker.metrics.vot import vot_metrics

TOOL = Path(__file__).resolve().parents[2] / "tools" / "report.py"
PROVENANCE = {
    "date": "2026-01-01",
    "processor": "Test CPU",
    "cores": "2",
    "command": "evaluate.py --x <script>alert(1)</script>",
}


def make_result(
    tracker: str, sequence: str, folder: Path | None, shift: float, lose: slice | None = None, **changes: object
) -> SequenceResult:
    """A result on a moving square: boxes `shift` pixels off, and far away in `lose`."""
    count = 24
    images, truth = moving_square(count, seed=len(sequence))
    frames: tuple[str, ...] = ()
    if folder is not None:
        target = folder / sequence
        target.mkdir(parents=True, exist_ok=True)
        frames = tuple(str(target / f"{k}.jpg") for k in range(count))
        for path, image in zip(frames, images, strict=True):
            if not Path(path).exists():
                cv2.imwrite(path, image)
    boxes = truth + np.array([shift, 0, 0, 0])
    lost = np.zeros(count, dtype=bool)
    if lose is not None:
        boxes[lose] = [120, 5, 20, 20]
        lost[lose] = True
    values = {
        "tracker": tracker,
        "dataset": "Squares",
        "sequence": sequence,
        "boxes": boxes,
        "truth": truth,
        "valid": np.ones(count, dtype=bool),
        "times": np.full(count, 0.01),
        "decode_times": np.full(count, 0.002),
        "scores": np.full(count, np.nan),
        "lost": lost,
        "size": (160, 120),
        "attributes": {"fast motion": np.arange(count) > 12, "occlusion": np.arange(count) < 4},
        "object_class": sequence[0],
        "frames": frames,
        "fingerprint": f"{tracker}-key",
    }
    return SequenceResult(**{**values, **changes})  # type: ignore[arg-type]


def make_evaluation(
    folder: Path | None, trackers: tuple[str, ...] = ("good", "poor"), rules: str = "otb", sequences: int = 5
) -> Evaluation:
    results = []
    for t, tracker in enumerate(trackers):
        for k in range(sequences):
            lose = slice(8, 16) if t == 1 and k == 0 else slice(10, 24) if t == 1 and k == 1 else None
            results.append(make_result(tracker, f"{'ab'[k % 2]}-seq-{k}", folder, shift=1 + 2.5 * t + k, lose=lose))
    measure = got10k_metrics if rules == "got10k" else otb_metrics
    tables_ = tuple(measure(t, [r for r in results if r.tracker == t]) for t in trackers)
    primary = ("ao", "sr50", "sr75") if rules == "got10k" else ("auc", "precision20", "norm_precision20")
    return Evaluation("Squares & <b>more</b>", "ope", primary, tables_, tuple(results), PROVENANCE)


class Links(HTMLParser):
    """Everything on the page that a browser would fetch, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for key, value in attrs:
            if key in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.urls.append(value or "")
            if key == "id":
                self.ids.append(value or "")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    names = (
        "good",
        "poor",
        "a_tracker-with-a-very-long-name-indeed",
        "$x$",
        "_hidden",
        "six",
        "seven",
        "eight",
        "nine & <i>co</i>",
    )
    return write_report(make_evaluation(folder / "data", names), folder / "out", ReportOptions(samples=200))


def test_the_report_is_complete(report: Path) -> None:
    folder = report.parent
    for name in ("report.md", "report.json", "metrics.csv", "sequences.csv", "attributes.csv"):
        assert (folder / name).stat().st_size > 100, name
    for name in ("success", "precision", "norm_precision", "attributes", "sequences", "speed"):
        picture = cv2.imread(str(folder / "plots" / f"{name}.png"))
        assert picture is not None and picture.shape[1] > 600 and picture.std() > 5
        assert (folder / "plots" / f"{name}.svg").read_text().lstrip().startswith("<?xml")
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    auc = next(r for r in rows if r["tracker"] == "good" and r["metric"] == "auc")
    table = json.loads((folder / "report.json").read_text())
    assert table["trackers"][0]["metrics"]["auc"]["low"] == float(auc["low"]) < float(auc["value"])
    assert table["bootstrap"] == {"level": 0.95, "samples": 200, "seed": 0, "unit": "sequence"}
    assert len(list(csv.DictReader((folder / "sequences.csv").open()))) == 9 * 5
    text = (folder / "report.md").read_text()
    assert "| good | 0." in text and "## Protocol" in text and "date: 2026-01-01" in text
    assert not list(folder.rglob("*.part"))


def test_the_page_is_self_contained_and_safe(report: Path) -> None:
    text = report.read_text()
    page = Links()
    page.feed(text)
    assert "script" not in page.tags, "no scripts, and names from outside are escaped"
    assert "&lt;b&gt;more&lt;/b&gt;" in text and "&lt;i&gt;co" in text
    assert all(u.startswith(("data:", "#")) for u in page.urls), page.urls
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", text)
    assert len(page.ids) == len(set(page.ids))
    assert {u[1:] for u in page.urls if u.startswith("#")} <= set(page.ids)
    assert "{{" not in text and not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", text))


def test_the_page_says_what_was_measured(report: Path) -> None:
    text = report.read_text()
    for words in (
        "One pass",
        "21 thresholds",
        "percentile bootstrap",
        "at least 5 counted frames",
        "Test CPU",
        "good-key",
        "2026-01-01",
    ):
        assert words in text, words


def test_the_same_numbers_give_the_same_files(report: Path, tmp_path: Path) -> None:
    evaluation = make_evaluation(None, ("good", "poor"), rules="got10k")
    first = write_report(evaluation, tmp_path / "a", ReportOptions(samples=100, strips=0))
    second = write_report(evaluation, tmp_path / "b", ReportOptions(samples=100, strips=0))
    for path in sorted(first.parent.rglob("*.*")):
        assert path.read_bytes() == (second.parent / path.relative_to(first.parent)).read_bytes(), path.name


@pytest.mark.parametrize(("sequences", "said"), [(3, False), (5, True)])
def test_intervals_are_explained_only_where_there_are_any(sequences: int, said: bool, tmp_path: Path) -> None:
    write_report(make_evaluation(None, sequences=sequences), tmp_path / "out", ReportOptions(samples=50))
    assert ("In brackets: " in (tmp_path / "out" / "report.md").read_text()) is said
    page = (tmp_path / "out" / "report.html").read_text()
    assert ("In small print: " in page) is said and ("Too few sequences for intervals." in page) is not said


def test_an_existing_report_is_kept(report: Path) -> None:
    with pytest.raises(OutputError, match="--overwrite"):
        write_report(make_evaluation(None), report.parent)
    with pytest.raises(SourceError, match="nothing to report"):
        write_report(replace(make_evaluation(None), trackers=()), report.parent / "other")


def test_supervised_and_crashed_results_are_reported_too(tmp_path: Path) -> None:
    codes = np.full(24, TRACKED, dtype=np.int8)
    codes[0] = INIT
    results = [make_result("t", f"s{k}", None, 2.0, codes=codes.copy()) for k in range(4)]
    codes[9] = FAILURE
    results[0] = replace(results[0], codes=codes, error="ValueError in frame 9: no")
    table = vot_metrics("t", results, (5, 20))
    evaluation = Evaluation("VOT", "supervised", ("eao", "accuracy", "robustness"), (table,), tuple(results), {})
    assert tables.headline(evaluation, samples=100).rows[0].values["accuracy"].known
    page = write_report(evaluation, tmp_path / "vot", ReportOptions(samples=100)).read_text()
    assert (
        "Expected average overlap" in page and "5 frames after each failure" in page and "ValueError in frame 9" in page
    )


def test_evaluations_are_merged_only_where_they_compare() -> None:
    first, second = make_evaluation(None, ("poor2",)), make_evaluation(None, ("good",))
    worse = replace(first, trackers=(replace(first.trackers[0], overall={**first.trackers[0].overall, "auc": 0.1}),))
    merged = merge([worse, second])
    assert [t.tracker for t in merged.trackers] == ["good", "poor2"] and len(merged.results) == 10
    with pytest.raises(SourceError, match="another label"):
        merge([second, second])
    with pytest.raises(SourceError, match="don't compare"):
        merge([first, replace(second, dataset="Circles")])
    with pytest.raises(SourceError, match="other sequences"):
        merge([first, make_evaluation(None, ("good",), sequences=4)])


def test_lines_of_many_trackers_differ() -> None:
    styles = [plot_style.style(k) for k in range(24)]
    assert len(set(styles)) == 24


def run_tool(*args: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, args)], capture_output=True, text=True, env=env, timeout=300
    )


def test_the_tool_draws_saved_evaluations(tmp_path: Path) -> None:
    for name in ("good", "poor"):
        save_evaluation(tmp_path / name, make_evaluation(None, (name,)))
    done = run_tool(
        tmp_path / "good", tmp_path / "poor", "--output", tmp_path / "both", "--title", "Two squares", "--samples", 100
    )
    assert done.returncode == 0, done.stderr
    assert "<h1>Two squares</h1>" in (tmp_path / "both" / "report.html").read_text()
    again = run_tool(tmp_path / "good", "--output", tmp_path / "both")
    assert again.returncode == 2 and "--overwrite" in again.stderr and "Traceback" not in again.stderr
    missing = run_tool(tmp_path / "nothing")
    assert missing.returncode == 2 and "evaluation" in missing.stderr


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.browser
@pytest.mark.skipif(not (CHROMIUM and shutil.which("chromedriver")), reason="needs Chromium and chromedriver")
def test_the_page_fits_phone_and_desktop_in_a_real_browser(report: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        grounds = set()
        for width, scheme in ((360, "light"), (1280, "dark")):
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            )
            driver.get(report.as_uri())
            state = driver.execute_script(BROWSER_CHECK)
            assert state["wide"] <= width, state
            assert state["outside"] == [] and state["broken"] == 0 and state["requests"] == [], state
            assert state["smallest"] >= 9, "text that is too small to read"
            assert state["images"] >= 8 and state["plots"] == 4
            grounds.add(state["ground"])
        assert len(grounds) == 2, "light and dark differ"
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    finally:
        driver.quit()


BROWSER_CHECK = """
const all = [...document.querySelectorAll('body *')];
const inside = e => e.closest('.scroll, .film, svg');
return {
  wide: document.documentElement.scrollWidth,
  outside: all.filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !inside(e))
      .map(e => e.tagName + '.' + e.className),
  broken: [...document.images].filter(i => !i.complete || i.naturalWidth === 0).length,
  images: document.images.length,
  plots: document.querySelectorAll('figure svg[role=img]').length,
  requests: performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith('data:')),
  smallest: Math.min(...all.filter(e => !e.closest('svg') && e.children.length === 0 && e.textContent.trim())
    .map(e => parseFloat(getComputedStyle(e).fontSize))),
  ground: getComputedStyle(document.body).backgroundColor,
};
"""
