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

from tests.training.standin import METRIC, toy_run

ROOT = Path(__file__).resolve().parents[2]


def launch(folder: Path, *options: str) -> None:
    """Two processes of torchrun with gloo."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "tests.training.standin",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(folder), *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "deprecated" not in done.stderr, done.stderr[-3000:]


def curve(folder: Path) -> np.ndarray:
    with open(folder / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(value) for key, value in row.items() if key != "pairs_per_second"] for row in rows])


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_gloo_processes_equal_one_and_either_resumes_the_other(tmp_path: Path) -> None:
    # Metric losses compare pairs of both processes, mining ranks pairs of both, BatchNorm averages over both.
    (tmp_path / "one").mkdir()
    toy_run(tmp_path / "one", steps=12, **METRIC)
    launch(tmp_path / "two", "--steps", "12", "--metric", "--max-steps", "7")
    assert torch.load(tmp_path / "two" / "last.pt", weights_only=True)["pairs"] == 7 * 8
    launch(tmp_path / "two", "--steps", "12", "--metric", "--resume", "--max-steps", "10")
    toy_run(tmp_path / "two", resume=True, steps=12, **METRIC)
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert one.shape == two.shape == (4, 9)
    assert np.allclose(one[0], two[0], rtol=1e-4, atol=1e-6), np.abs(one - two).max(0)
    assert np.allclose(one, two, rtol=2e-3, atol=1e-5), np.abs(one - two).max(0)
    a, b = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("one", "two"))
    assert a["pairs"] == b["pairs"] == 12 * 8
    for name, value in a["model"].items():
        assert torch.allclose(value.float(), b["model"][name].float(), rtol=0.02, atol=5e-3), name
