"""Adapting a model to a few clips: nothing leaks from the held-out part, nothing worse is saved; and the command
itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.runtime.models import untrained_file
from tests.training.material import MODEL, own_clips
from tracker.cli import finetune
from tracker.cli.common import entry
from tracker.datasets.clips import read_clip
from tracker.datasets.tracks import AnnotatedTrack, DataError
from tracker.model.checkpoint import HEADER, load_model
from tracker.training.finetune import FinetuneConfig, FinetuneScores, embed_samples, split, train_on

TINY = [
    "--groups",
    "4",
    "--steps",
    "3",
    "--batch-size",
    "4",
    "--max-frames",
    "4",
    "--threads",
    "1",
    "--engine",
    "torch",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_file(tmp_path_factory.mktemp("model") / "tiny.safetensors", MODEL)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_clips(tmp_path_factory.mktemp("clips"), ("a",), frames=24)


def run(model: Path, clips: Path, output: Path, *more: str) -> int:
    return entry(
        "finetune",
        [str(clips / "a.mp4"), "--model", str(model), "--output", str(output), "--hold-out", "0.45", *TINY, *more],
    )


def test_the_end_of_a_clip_is_held_out() -> None:
    boxes = np.tile([5.0, 5, 10, 10], (40, 1))
    boxes[3:7] = 0
    track = AnnotatedTrack("a", tuple(Path(f"{k}.jpg") for k in range(40)), boxes)
    (first,), (last,) = split([track], 0.3)
    assert not set(first.frames) & set(last.frames) and len(first.frames) + len(last.frames) == 40
    assert len(first.present) == 25 and len(last.present) == 11
    with pytest.raises(DataError, match="shows its target in 36 frames; to train on 35 and measure on 1"):
        split([track], 0.02)


def test_the_backbone_stays_and_the_rest_moves(model: Path, clips: Path, tmp_path: Path) -> None:
    loaded = load_model(model)
    matcher, adapt = loaded.module, FinetuneConfig(groups=3, steps=3, batch_size=4, threads=1)
    tracks = read_clip(clips / "a.mp4", clips / "a.txt", tmp_path / "frames")
    ticks: list[int] = []
    samples = embed_samples(matcher, loaded.config, tracks, adapt, lambda: ticks.append(1))
    assert len(ticks) == 3 and samples.view("searches", 0, 0).shape == (112, 9, 9)
    before = {name: value.clone() for name, value in matcher.state_dict().items()}
    folder = tmp_path / "run"
    folder.mkdir()
    train_on(matcher, samples, adapt, folder)
    after = matcher.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any(name.startswith("backbone.") for name in changed)
    assert "neck.weight" in changed and not matcher.training


def test_a_model_that_is_better_is_saved_and_one_that_is_not_is_refused(
    model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tracker.training import finetune as adapt

    figures = iter([(0.5,), (0.6,), (0.5,), (0.5,), (0.5,), (0.4,)])
    monkeypatch.setattr(adapt, "measure_clips", lambda *_: next(figures))
    better, same, forced = (tmp_path / f"{n}.safetensors" for n in ("better", "same", "forced"))
    assert run(model, clips, better) == 0
    said = capsys.readouterr().out
    assert "a        0.500  0.600  +0.100" in said or "0.500  0.600  +0.100" in said
    assert "13 frames to train on, 11 held out" in said
    assert run(model, clips, same) == 2 and not same.exists()
    assert (
        "Not saved: on the held-out frames the adapted model is no better (+0.000 AUC); stay with tiny"
        in capsys.readouterr().err
    )
    assert run(model, clips, forced, "--keep-worse") == 0 and "although it tracks no better" in capsys.readouterr().out
    from safetensors import safe_open

    with safe_open(forced, framework="np") as file:
        assert '"adapted_from": "tiny"' in file.metadata()[HEADER]
    assert load_model(better).config.model == MODEL


def test_it_measures_by_tracking(model: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(model, clips, tmp_path / "out.safetensors", "--keep-worse")
    assert code == 0, capsys.readouterr().err
    assert "AUC on 4 held-out frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--output", "x.pt"], "must end in .safetensors"),
        (["--output", "nowhere/x.safetensors"], "does not exist"),
        (["--hold-out", "2"], "--hold-out is 2"),
        (["--boxes", "one.txt", "two.txt"], "1 clips and 2 box files"),
        (["--boxes", "missing.txt"], "missing.txt does not exist"),
        (["--model", "nonsense"], "neither a shipped model"),
    ],
)
def test_mistakes_are_found_before_work(
    model: Path,
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(model, clips, tmp_path / "o.safetensors", *change) == 2
    assert sentence in capsys.readouterr().err


def test_an_existing_output_stays(model: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "kept.safetensors"
    output.write_bytes(b"precious")
    assert run(model, clips, output) == 2 and "--overwrite" in capsys.readouterr().err
    assert output.read_bytes() == b"precious"


def test_the_table() -> None:
    text = finetune.table(FinetuneScores(("a", "long-name"), (0.5, 0.7), (0.6, 0.6), 20))
    assert "mean" in text.splitlines()[-1] and text.splitlines()[-1].endswith("+0.000")
