"""A user's case: three clips with boxes of one's own, by the commands of docs/training.md, at a tiny size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.material import own_clips

ROOT = Path(__file__).parents[2]
PREPARE = "python tools/prepare.py --config configs/own-clips.yaml train.data.material.root=clips"
TRAIN = (
    "python tools/train.py --config configs/own-clips.yaml train.data.material.root=clips --init siamtrack-s "
    "--output runs/mine"
)
FINETUNE = "python tools/finetune.py clips/a.mp4 clips/b.mp4 clips/c.mp4 --output my.safetensors"
TRACK = "python tools/track.py new.mp4 --model my.safetensors --box 100,80,40,30"
TINY = ["train.data.cache.groups=4", "train.data.cache.shard=4"]
RUN = [
    "train.steps=2",
    "train.batch_size=4",
    "train.tensorboard=false",
    "train.threads=1",
    "train.workers=0",
    "train.schedule.warmup_steps=1",
]


def shell(folder: Path, command: str, *more: str) -> subprocess.CompletedProcess[str]:
    """A command of the documentation, run in a folder of the user's with the tools of this clone."""
    words = [
        word.replace("tools/", f"{ROOT}/tools/").replace("configs/", f"{ROOT}/configs/") for word in command.split()
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words[1:], *more], cwd=folder, capture_output=True, text=True, env=environment, timeout=300
    )


def test_the_walk_through_has_these_commands() -> None:
    text = (ROOT / "docs" / "training.md").read_text()
    for command in (PREPARE, TRAIN, FINETUNE, TRACK):
        assert f"\n{command}\n" in text, command


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_clips_of_ones_own(tmp_path: Path) -> None:
    own_clips(tmp_path / "clips", ("a", "b", "c"), frames=24)
    (tmp_path / "new.mp4").write_bytes((tmp_path / "clips" / "a.mp4").read_bytes())

    prepared = shell(tmp_path, PREPARE, *TINY)
    assert prepared.returncode == 0, prepared.stderr
    trained = shell(tmp_path, TRAIN, *TINY, *RUN)
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "runs" / "mine" / "last.safetensors").is_file()

    effort = [
        "--hold-out",
        "0.45",
        "--groups",
        "6",
        "--steps",
        "4",
        "--batch-size",
        "4",
        "--max-frames",
        "5",
        "--threads",
        "1",
        "--keep-worse",
    ]
    adapted = shell(tmp_path, FINETUNE, *effort)
    assert adapted.returncode == 0, adapted.stderr
    assert "before  after" in adapted.stdout and "AUC on 15 held-out frames" in adapted.stdout

    for model in ("my.safetensors", "runs/mine/last.safetensors"):
        command = TRACK.replace("my.safetensors", model).replace("100,80,40,30", "20,30,28,28")
        tracked = shell(tmp_path, command, "--save-boxes", "out.csv", "--overwrite", "--max-frames", "4")
        assert tracked.returncode == 0, tracked.stderr
        assert len((tmp_path / "out.csv").read_text().splitlines()) >= 4
