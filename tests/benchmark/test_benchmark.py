"""tools/benchmark.py as a user runs it, on a tiny model."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cli.helpers import tiny_model, tool
from tests.evaluation.trees import otb_tree
from tracker.benchmark.many_targets import RADIUS, crowd
from tracker.benchmark.measure import Series, in_pairs, synthetic_clip
from tracker.benchmark.parts import in_motion, soak, windows
from tracker.benchmark.report import markdown
from tracker.config import Config, TrackingConfig
from tracker.datasets.base import has_area
from tracker.datasets.registry import load_dataset
from tracker.geometry import is_valid
from tracker.model_config import ModelConfig
from tracker.settings import changed


def test_all_parts_are_measured_and_written(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors")
    args = [
        "--frames",
        "12",
        "--threads",
        "1",
        "--targets",
        "1",
        "3",
        "--sizes",
        "360p",
        "720p",
        "--compare",
        "opencv:mil",
    ]
    done = tool("benchmark", "--model", model, *args, "--soak", "30", "--output", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert set(results["stages"]["1"]) >= {"decode", "crop", "network", "draw", "encode"}
    assert set(results["compare"]) == {"tiny", "opencv:mil"}
    assert set(results["targets"]["1"]) == {"1", "3"} and set(results["sizes"]) == {"360p", "720p"}
    assert results["network"]["reached"] > 0 and results["network"]["peak"] > 0
    assert results["soak"]["frames"] == 30 and results["soak"]["fresh_ms"] > 0 and results["rss_mb"] > 10
    assert all(row["wall_p10_ms"] > 0 for row in results["targets"]["1"].values()) and "states" in results["windows"]
    text = (tmp_path / "out" / "benchmark.md").read_text()
    assert text.strip() == done.stdout.strip()
    for title in (
        "Where a frame goes",
        "Beside others",
        "The network",
        "Several targets in a frame, 1 thread",
        "Size of the frame",
        "30 frames",
    ):
        assert title in text
    assert (tmp_path / "out" / "benchmark.png").read_bytes()[:4] == b"\x89PNG"
    again = tool("benchmark", "--model", model, "--output", tmp_path / "out", cwd=tmp_path)
    assert again.returncode == 2 and "exists already; give another name, or --overwrite" in again.stderr


def test_multiples_are_of_the_same_turn() -> None:
    pace = [1.0, 1.0, 3.0, 3.0, 3.0, 1.0]  # of a machine that is slow now and then
    ours = Series([2 * p for p in pace], [2 * p for p in pace], list(range(6)))
    rare = Series([8 * p for p in pace[::2]], [6 * p for p in pace[::2]], [0, 2, 4])
    rows = in_pairs({"ours": ours, "rare": rare}, skip=0)
    assert (rows["ours"]["wall_to_first"], rows["rare"]["wall_to_first"], rows["rare"]["cpu_to_first"]) == (
        1.0,
        4.0,
        3.0,
    )
    assert rows["rare"]["wall_median_ms"] == 24e3 and rows["ours"]["wall_median_ms"] == 4e3


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--parts", "speed"], "The part 'speed' is unknown"),
        (["--parts", "none"], "Nothing to measure"),
        (["--video", "clip.mp4"], "--video needs --box"),
        (["--box", "1,2,3,4"], "--box belongs to --video"),
        (["--sizes", "8K"], "The size '8K' is unknown"),
        (["--compare", "csrt"], "write opencv:NAME"),
        (["--compare", "opencv:nano"], "--model-dir"),
    ],
)
def test_mistakes_are_sentences(tmp_path: Path, args: list[str], words: str) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors")
    done = tool("benchmark", "--model", model, *args, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_targets_are_timed_on_one_thread_and_on_several(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors")
    args = ["--parts", "targets", "--frames", "12", "--targets", "1", "2", "--threads", "1", "2"]
    full = ["--set", "tracking.small_search.size=0", "--set", "tracking.states.enabled=false"]
    done = tool("benchmark", "--model", model, *args, *full, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (
        "Several targets in a frame, 1 thread\n",
        "Several targets in a frame, 2 threads\n",
        "px; states off.",
        "wall, first = 1",
    ):
        assert words in done.stdout


def test_what_is_said_of_the_windows_is_what_the_tracker_does() -> None:
    tracking = changed(TrackingConfig(), {"calibration.confidence": (0.0,) * 7, "small_search.size": 0})
    config = Config(name="m", model=ModelConfig(search_size=193), tracking=tracking)
    assert windows(config) == "windows of 193 px; states on"
    config = Config(
        name="m", model=config.model, tracking=changed(tracking, {"small_search.size": 145, "states.enabled": False})
    )
    assert windows(config) == "windows of 145 px for targets that hardly move, else 193 px; states off"
    wider = changed(config.tracking, {"small_search.middle": 177})
    said = "windows of 145 px for targets that hardly move, 177 px for those that move a little more, else 193 px"
    assert windows(Config(name="m", model=config.model, tracking=wider)) == f"{said}; states off"


def test_a_series_leaves_the_warm_up_out() -> None:
    series = Series(wall=[9.0] * 5 + [1.0, 2.0, 3.0], cpu=[9.0] * 5 + [1.0, 1.0, 4.0])
    assert series.summary()["wall_median_ms"] == 2000
    assert series.summary()["cpu_median_ms"] == 1000


def test_synthetic_targets_stay_inside() -> None:
    clip = synthetic_clip(40)
    assert is_valid(clip.box) and len(clip.images) == 40
    x, y, w, h = clip.box.astype(int)
    assert not np.array_equal(clip.images[0][y : y + h, x : x + w], clip.images[30][y : y + h, x : x + w])


def test_soak_sees_memory_that_grows() -> None:
    class Leaky:
        kept: list[mmap.mmap] = []  # noqa: RUF012

        def init(self, image: np.ndarray, box: np.ndarray) -> None:
            pass

        def update(self, image: np.ndarray) -> None:
            # Pages from the system: an array might come out of memory that an earlier test left to the allocator.
            block = mmap.mmap(-1, 163_840)
            block.write(b"x" * 163_840)
            self.kept.append(block)

    found = soak(Leaky(), synthetic_clip(10, 64, 48), 400)  # type: ignore[arg-type]
    assert found["rss_slope_bytes_per_frame"] > 50_000


def test_report_without_parts_is_still_a_report() -> None:
    facts = {
        "model": "m",
        "engine": "e",
        "command": "c",
        "clip": "s",
        "machine": {"date": "d"},
        "skip": "auto",
        "rss_mb": 1.0,
    }
    assert markdown(facts).startswith("# Speed of m")


class Stepping:
    """A tracker that needs so many seconds for a frame, and says LOST in every second one."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.clock, self.seconds, self.count = clock, seconds, 0

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        self.box, self.count = box, 0

    def update(self, image: np.ndarray) -> SimpleNamespace:
        self.count += 1
        lost = self.count % 2 == 0
        self.clock[0] += self.seconds * (3 if lost else 1)
        return SimpleNamespace(box=self.box, state=SimpleNamespace(value="lost" if lost else "tracking"))


def test_motion_counts_whole_sequences_and_tells_lost_frames_apart(tmp_path: Path) -> None:
    otb_tree(tmp_path)
    sequences = load_dataset("otb", tmp_path).sequences
    clock, told = [0.0], []
    trackers = {"ours": Stepping(clock, 0.01), "other": Stepping(clock, 0.02)}
    found = in_motion(trackers, sequences, lambda: clock[0], told.append)
    ours, other = found["total"]["ours"], found["total"]["other"]
    assert ours["frames"] == sum(len(s) - 1 - int(np.argmax(has_area(s.truth))) for s in sequences)
    assert other["to_first"] == pytest.approx(2) and ours["to_first"] == 1
    assert ours["followed_ms"] == pytest.approx(10) and ours["lost_ms"] == pytest.approx(30)
    assert ours["auc"] == other["auc"] and 0 < ours["lost_share"] <= 0.5
    assert set(found["sequences"]) == {s.name for s in sequences} and len(told) == len(sequences)


def test_the_part_motion_by_command(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors")
    otb_tree(tmp_path / "otb")
    args = ["--model", model, "--parts", "motion", "--compare", f"model:{model}@torch"]
    done = tool("benchmark", *args, "--dataset", "otb", "--root", tmp_path / "otb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "In motion" in done.stdout
        and "- tracking.skip: off" in done.stdout
        and "flags:" in done.stdout
        and "@torch" in done.stdout
    )
    wrong = tool("benchmark", *args, cwd=tmp_path)
    assert wrong.returncode == 2 and "--dataset NAME and --root DIR" in wrong.stderr


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_what_targets_cost_beside_the_network(engine: str, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors")
    options = ["--parts", "overhead", "--targets", "1", "12", "--frames", "12", "--engine", engine, "--device", "cpu"]
    done = tool("benchmark", "--model", model, *options, "--output", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "benchmark.json").read_text())["overhead"]
    assert list(rows) == ["1", "12"] and all(0 < row["p10_ms"] <= row["p95_ms"] for row in rows.values())
    assert rows["12"]["target_us"] == pytest.approx(rows["12"]["mean_ms"] / 12 * 1e3)
    assert "beside cutting and network" in done.stdout and "a target, us" in done.stdout


def test_the_part_device_tells_where_frames_go_and_what_is_in_the_slow_ones(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors")
    args = ["--device", "cpu", "--engine", "torch", "--targets", "1", "11", "--frames", "10", "--parts", "device"]
    args += ["--set", "tracking.states.enabled=false"]  # an untrained model loses things, and a search takes long
    done = tool("benchmark", "--model", model, *args, "--output", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "benchmark.json").read_text())["device"]
    assert list(rows["one"]) == ["tiny, torch"] and list(rows["several"]) == ["1", "11"]
    for row in (*rows["one"].values(), *rows["several"].values()):
        assert 0 < row["engine_ms"] < row["median_ms"] <= row["p95_ms"] <= row["max_ms"] and 0 < row["engine_share"] < 1
        assert all(0 <= share <= 1 for name in row["happened"].values() for share in name.values())
    eleven = rows["several"]["11"]
    assert eleven["per_second"] == pytest.approx(11e3 / eleven["mean_ms"]) and "Engine and host" in done.stdout


def test_the_targets_of_the_part_device_fit_in_its_picture_and_go_round() -> None:
    images, boxes = crowd()
    assert len(boxes) >= 400 and (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= np.array(images[0].shape[1::-1])).all()
    x, y, w, h = boxes[7].astype(int)
    thing = images[0][y : y + h, x : x + w]
    assert not np.array_equal(images[len(images) // 2][y : y + h, x : x + w], thing)
    x, y = x - 2 * RADIUS, y
    assert np.array_equal(images[len(images) // 2][y : y + h, x : x + w], thing)
