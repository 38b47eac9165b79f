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

ROOT = Path(__file__).resolve().parents[1]
STEPS = "45"


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.training_standin", str(folder), "--steps", STEPS, *options]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def finish(folder: Path, *options: str) -> None:
    process = start(folder, *options)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 0, text


def curve(folder: Path) -> list[list[str]]:
    with open(folder / "log.csv", newline="") as file:
        rows = list(csv.reader(file))
    return [row[:-1] for row in rows]  # the last column is pairs per second


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until log.csv shows a step."""
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        try:
            last = (folder / "log.csv").read_text().splitlines()[-1].split(",")[0]
        except (OSError, IndexError):
            last = ""
        if last.isdigit() and int(last) >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"step {step} never came")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run, with dropout."""
    folder = tmp_path_factory.mktemp("whole")
    finish(folder)
    return folder


@pytest.mark.timeout(200)
def test_kill_9_at_a_random_step(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    process = start(folder, "--workers", "2", "--slow")
    wait_for_step(folder, random.randint(9, 30), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    reached = torch.load(folder / "last.pt", weights_only=True)["step"]
    assert 7 <= reached < int(STEPS) and reached % 7 == 0
    # As if the power had failed in the middle of a line, beyond the last checkpoint.
    with open(folder / "log.csv", "a") as file:
        file.write("44,0.1,0.")
    finish(folder, "--resume")
    assert curve(folder) == curve(whole)
    a, b = (torch.load(f / "last.pt", weights_only=True) for f in (whole, folder))
    for key in ("model", "random"):
        assert torch.equal(
            torch.cat([v.flatten().double() for v in _tensors(a[key])]), torch.cat([v.flatten().double() for v in _tensors(b[key])])
        )
    assert all(torch.equal(v, b["ema"]["weights"][k]) for k, v in a["ema"]["weights"].items())


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []


@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_writes_a_checkpoint_at_the_step_in_hand(whole: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "stopped"
    process = start(folder, "--slow")
    wait_for_step(folder, 9, process)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 128 + number, text
    assert 9 <= torch.load(folder / "last.pt", weights_only=True)["step"] < int(STEPS)
    finish(folder, "--resume")
    assert curve(folder) == curve(whole)


@pytest.mark.timeout(200)
def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    folder = tmp_path / "small"
    finish(folder, "--max-steps", "7")
    before = (folder / "last.pt").read_bytes()
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        f"sys.argv = ['x', {str(folder)!r}, '--resume', '--steps', '{STEPS}'];"
        "from tests.training_standin import main; main()"
    )
    assert len(before) > 20000 and resource.RLIMIT_FSIZE
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert "OutputError" in done.stderr and "the disk is full; the one before it is kept" in done.stderr
    assert (folder / "last.pt").read_bytes() == before
