"""Interrupted at any moment, a run goes on as if nothing had happened."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.standin import SETTINGS, ToyMatcher, ToySource, toy_run
from tracker.errors import OutputError
from tracker.training.config import train_config
from tracker.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
STEPS, DROPOUT = 45, 0.2


def curve(folder: Path) -> list[list[str]]:
    with open(folder / "log.csv", newline="") as file:
        rows = list(csv.reader(file))
    return [row[:-1] for row in rows]  # the last column is pairs per second


def finish(folder: Path) -> None:
    assert toy_run(folder, resume=True, steps=STEPS, dropout=DROPOUT).step == STEPS


def state(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the last checkpoint, by path."""
    found: dict[str, torch.Tensor] = {}

    def walk(value: object, path: str) -> None:
        if isinstance(value, torch.Tensor):
            found[path] = value
        elif isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{path}/{key}")
        elif isinstance(value, list | tuple):
            for k, item in enumerate(value):
                walk(item, f"{path}/{k}")

    walk(torch.load(folder / "last.pt", weights_only=True), "")
    return {key: value for key, value in found.items() if "/random/numpy" not in key}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run, with dropout."""
    folder = tmp_path_factory.mktemp("whole")
    assert toy_run(folder, steps=STEPS, dropout=DROPOUT).step == STEPS
    return folder


@pytest.mark.timeout(300)
def test_kill_9_at_a_random_step(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "tests.training.standin",
        str(folder),
        "--steps",
        str(STEPS),
        "--workers",
        "2",
        "--slow",
    ]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        aim, end = random.randint(9, 30), time.monotonic() + 240
        while time.monotonic() < end and process.poll() is None and _last_step(folder) < aim:
            time.sleep(0.02)
    finally:
        process.kill()
        _, text = process.communicate()
    assert process.returncode == -signal.SIGKILL, text
    reached = torch.load(folder / "last.pt", weights_only=True)["step"]
    assert 7 <= reached < STEPS and reached % 7 == 0
    # As if the power had failed in the middle of a line, beyond the last checkpoint.
    with open(folder / "log.csv", "a") as file:
        file.write("44,0.1,0.")
    finish(folder)
    assert curve(folder) == curve(whole)
    a, b = state(whole), state(folder)
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _last_step(folder: Path) -> int:
    try:
        last = (folder / "log.csv").read_text().splitlines()[-1].split(",")[0]
    except (OSError, IndexError):
        return 0
    return int(last) if last.isdigit() else 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_writes_a_checkpoint_at_the_step_in_hand(
    whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    source = ToySource(8)
    source.signal_at = (10, number)
    config = train_config({**SETTINGS, "steps": STEPS})
    torch.manual_seed(0)
    before = signal.getsignal(number)
    result = Trainer(ToyMatcher(DROPOUT), source, config, tmp_path, own_process=True).run()
    # Batch 10 is drawn while step 9 runs: its weights are the tenth.
    assert (result.stopped, result.signal, result.step) == ("signal", number, 10)
    assert signal.getsignal(number) == before and torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 10
    finish(tmp_path)
    assert curve(tmp_path) == curve(whole)


def test_a_crash_between_checkpoints_costs_nothing_but_time(whole: Path, tmp_path: Path) -> None:
    class Crash(ToySource):
        def batch(self, step: int, rank: int, world: int):  # type: ignore[no-untyped-def]
            if step == 26:
                raise ZeroDivisionError
            return super().batch(step, rank, world)

    torch.manual_seed(0)
    with pytest.raises(ZeroDivisionError):
        Trainer(
            ToyMatcher(DROPOUT), Crash(8), train_config({**SETTINGS, "steps": STEPS}), tmp_path, own_process=True
        ).run()
    assert curve(tmp_path)[-1][0] == "24" and torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 21
    finish(tmp_path)
    assert curve(tmp_path) == curve(whole)


def test_a_changed_recipe_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    toy_run(tmp_path, max_steps=7)
    toy_run(tmp_path, resume=True, max_steps=8, optim={"name": "adamw", "learning_rate": 0.5})
    assert "train.optim.learning_rate was 0.01, is 0.5" in caplog.text
    last = curve(tmp_path)[-1]
    assert last[0] == "6"
    toy_run(tmp_path, resume=True, max_steps=9, optim={"name": "adamw", "learning_rate": 0.5})
    assert float(curve(tmp_path)[-1][4]) == pytest.approx(0.5, rel=0.05)


def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    toy_run(tmp_path, max_steps=7)
    before = (tmp_path / "last.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OutputError, match="the disk is full; the one before it is kept"):
            toy_run(tmp_path, resume=True, max_steps=14)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "last.pt").read_bytes() == before and not list(tmp_path.glob("*.part"))
