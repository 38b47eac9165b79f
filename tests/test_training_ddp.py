"""Two processes train as one: same losses, same weights, within rounding."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def launch(folder: Path, processes: int, *options: str) -> None:
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command += ["tests.training_standin", str(folder), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]


def curve(folder: Path) -> np.ndarray:
    with open(folder / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(value) for key, value in row.items() if key != "pairs_per_second"] for row in rows])


@pytest.mark.timeout(200)
def test_two_gloo_processes_equal_one(tmp_path: Path) -> None:
    # Metric losses compare pairs of both processes, mining ranks pairs of both, BatchNorm averages over both.
    launch(tmp_path / "one", 1, "--steps", "12", "--metric")
    launch(tmp_path / "two", 2, "--steps", "12", "--metric")
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert one.shape == two.shape and np.allclose(one, two, rtol=2e-3, atol=1e-5), np.abs(one - two).max(0)
    assert np.allclose(one[0], two[0], rtol=1e-4, atol=1e-6)
    a, b = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("one", "two"))
    assert a["pairs"] == b["pairs"] == 12 * 8
    for name, value in a["model"].items():
        assert torch.allclose(value.float(), b["model"][name].float(), rtol=0.02, atol=5e-3), name


@pytest.mark.timeout(200)
def test_two_processes_resume_as_if_nothing_had_happened(tmp_path: Path) -> None:
    launch(tmp_path / "whole", 2, "--steps", "9")
    launch(tmp_path / "parts", 2, "--steps", "9", "--max-steps", "4")
    launch(tmp_path / "parts", 2, "--steps", "9", "--resume")
    assert np.array_equal(curve(tmp_path / "whole"), curve(tmp_path / "parts"))
