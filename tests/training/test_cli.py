"""`tools/train.py` as a user runs it: a recipe on a synthetic data set, resume, preview, mistakes as sentences."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from tests.conftest import moving_square
from tracker.cli.common import entry
from tracker.training.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "train.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips in the GOT-10k layout and three photos."""
    root = tmp_path_factory.mktemp("data")
    names = ["a-square", "b-square"]
    for seed, name in enumerate(names):
        images, boxes = moving_square(frames=8, seed=seed)
        folder = root / "got" / "train" / name
        folder.mkdir(parents=True)
        for k, image in enumerate(images):
            cv2.imwrite(str(folder / f"{k + 1:08d}.jpg"), image)
        np.savetxt(folder / "groundtruth.txt", boxes, fmt="%.4f", delimiter=",")
    (root / "got" / "train" / "list.txt").write_text("\n".join(names))
    photos = root / "photos"
    photos.mkdir()
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
        cv2.imwrite(str(photos / f"{seed}.jpg"), cv2.GaussianBlur(noise, (0, 0), 4))
    return root


@pytest.fixture
def recipe(tmp_path: Path, data: Path) -> Path:
    """The baseline's network, three steps of two pairs."""
    clips = {"kind": "clips", "path": "got/train", "weight": 1.0}
    content = {
        "name": "toy",
        "model": {
            "backbone": "siamfc-alexnet",
            "neck_channels": 0,
            "energy": "dot",
            "head": "classic",
            "template_size": 127,
            "search_size": 255,
            "response_scale": 0.001,
        },
        "train": {
            "steps": 3,
            "batch_size": 2,
            "precision": "fp32",
            "device": "cpu",
            "workers": 0,
            "threads": 1,
            "log_every": 1,
            "checkpoint_every": 2,
            "ema_decay": 0.0,
            "tensorboard": False,
            "optim": {"name": "sgd", "learning_rate": 0.001},
            "data": {
                "negative_pairs": 0.5,
                "use_cache": False,
                "material": {"root": str(data), "scenery": "photos", "sources": [clips]},
            },
            "validation": {"path": "got/train", "names": ["a-*"], "max_frames": 3, "engine": "torch"},
        },
    }
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def steps(folder: Path) -> list[str]:
    with open(folder / "log.csv", newline="") as file:
        return [row["step"] for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_train_validate_stop_resume_and_load(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tracker.model.checkpoint import load_model

    folder = tmp_path / "run"
    arguments = ["--config", str(recipe), "--output", str(folder), "train.validate_every=2", "--max-steps", "2"]
    assert entry("train", arguments) == 0
    text = capsys.readouterr().out
    assert (
        "stopped at --max-steps at step 2 of 3: 4 pairs" in text
        and "best validation: auc" in text
        and "--resume" in text
    )
    assert entry("train", ["--output", str(folder), "--resume"]) == 0
    assert "finished at step 3 of 3: 6 pairs" in capsys.readouterr().out and steps(folder) == ["1", "2", "3"]
    state = read_checkpoint(folder / "last.pt")
    assert state["step"] == 3 and state["config"]["model"]["backbone"] == "siamfc-alexnet"
    model = load_model(folder / "last.safetensors")
    assert model.name == "toy" and torch.equal(
        model.module.state_dict()["backbone.conv1.0.weight"], state["model"]["backbone.conv1.0.weight"]
    )
    assert (folder / "best.safetensors").is_file() and (folder / "validation.csv").read_text().startswith("step,auc,ao")
    # A run that is there is not lost by accident.
    assert entry("train", arguments) == 2 and "--resume" in capsys.readouterr().err
    assert entry(
        "train", [*arguments, "--overwrite", "--quiet", "--init", str(folder / "last.safetensors")]
    ) == 0 and steps(folder) == [
        "1",
        "2",
    ]
    assert capsys.readouterr().out == ""


def test_preview_writes_contact_sheets(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        entry("train", ["--config", str(recipe), "--output", str(tmp_path / "run"), "--preview", "train.batch_size=3"])
        == 0
    )
    sheets = sorted((tmp_path / "run").glob("preview-*.png"))
    assert len(sheets) == 2 and all(cv2.imread(str(sheet)).shape[1] > 300 for sheet in sheets)
    assert str(sheets[0]) in capsys.readouterr().out and not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Which recipe"),
        (["--config", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["--config", "RECIPE", "train.stps=3"], "Did you mean 'steps'"),
        (["--config", "RECIPE", "train.losses=[{name: focl}]"], "Did you mean 'focal'"),
        (["--config", "RECIPE", "--resume", "--output", "none"], "no last.pt to resume from"),
        (["--config", "RECIPE", "train.data.material.root=gone"], "gone does not exist"),
        (["--config", "RECIPE", "train.device=cuda"], "train.device=cpu"),
        (["--config", "RECIPE", "train.validate_every=1", "train.validation.path=''"], "validation.path"),
        (["--config", "RECIPE", "--init-parts", "trunk", "--init", "siamtrack-s"], "'trunk' is not a part of a model"),
        (["--config", "RECIPE", "--init-parts", "neck"], "--init imagenet is none"),
    ],
)
def test_mistakes_are_sentences(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    if "train.device=cuda" in arguments and torch.cuda.is_available():
        pytest.skip("CUDA is there")
    monkeypatch.chdir(tmp_path)
    assert entry("train", [str(recipe) if text == "RECIPE" else text for text in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_help_needs_no_torch() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['train.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(TOOL)!r}, run_name='__main__')\n"
        "except SystemExit:\n"
        "    assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout and "torchrun" in done.stdout
