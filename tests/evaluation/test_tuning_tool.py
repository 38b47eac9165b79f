"""`tools/tune.py` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.test_tuning import make_sequences
from tracker.config import load_config

TOOL = Path(__file__).resolve().parents[2] / "tools" / "tune.py"


def run_tool(*args: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, args)], capture_output=True, text=True, env=env, timeout=timeout
    )


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--dataset", "otb100", "--root", "."], "for testing"),
        (["--dataset", "got10k", "--root", ".", "--subset", "test"], "for testing"),
        (["--dataset", "lasot", "--root", "."], "for testing"),
        (["--dataset", "folder", "--root", ".", "--output", "x.json"], "must end in .yaml"),
        (["--dataset", "folder", "--root", ".", "--search", "size_lr=0.9:0.1"], "not below"),
        (["--dataset", "folder", "--root", ".", "--holdout", "1.5"], "not a share"),
        (["--dataset", "folder", "--root", ".", "--group", "("], "not a regular expression"),
    ],
)
def test_requests_that_are_refused(args: list[str], sentence: str) -> None:
    done = run_tool(*args)
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_tool_tunes_a_real_model(tmp_path: Path) -> None:
    from tracker.config import Config
    from tracker.model.checkpoint import save_model
    from tracker.model.siamese_network import SiameseNetwork
    from tracker.model_config import ModelConfig

    make_sequences(tmp_path / "clips", 4, frames=2)
    config = Config(
        name="tiny",
        model=ModelConfig(
            backbone="siamfc-alexnet", neck_channels=0, head="classic", energy="dot", template_size=127, search_size=191
        ),
    )
    save_model(tmp_path / "tiny.safetensors", SiameseNetwork(config.model), config)
    common = [
        "--dataset",
        "folder",
        "--root",
        tmp_path / "clips",
        "--model",
        tmp_path / "tiny.safetensors",
        "--device",
        "cpu",
        "--engine",
        "torch",
    ]
    common += [
        "--output",
        tmp_path / "tuned.yaml",
        "--search",
        "size_lr=0.1:1",
        "--holdout-sequences",
        "seq-03",
        "--workers",
        1,
    ]
    done = run_tool(*common, "--trials", 1)
    assert done.returncode == 0, done.stderr
    assert "trial   0" in done.stdout and "WARNING" in done.stdout
    again = run_tool(*common, "--trials", 2)
    assert again.returncode == 2 and "exists" in again.stderr
    assert load_config(tmp_path / "tuned.yaml").tracking.size_lr == config.tracking.size_lr, (
        "trial 0 is the start itself"
    )
    assert json.loads((tmp_path / "tuned.json").read_text())["trials"][0]["number"] == 0
