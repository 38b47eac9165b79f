"""Checkpoints of a run: what they hold, a full disk, damaged ones."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from tests.training.standin import toy_run
from tests.training.test_loop import trainer
from tracker import files
from tracker.errors import OutputError, WeightsError
from tracker.training.checkpoint import read_checkpoint, write_checkpoint


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_out_of_disk_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "last.pt"
    write_checkpoint(file, {"format": 1, "step": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full; the one before it is kept"):
        write_checkpoint(file, {"format": 1, "step": 2})
    assert read_checkpoint(file)["step"] == 1 and [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("policy", ["stop", "continue"])
def test_out_of_disk_stops_or_goes_on_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    real, calls = files._sync, []

    def sometimes(path: Path) -> None:
        if path == tmp_path:
            calls.append(path)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(path)

    monkeypatch.setattr(files, "_sync", sometimes)
    run = trainer(tmp_path, steps=24, on_full_disk=policy)
    if policy == "stop":
        with pytest.raises(OutputError, match="disk is full"):
            run.run()
        assert run.step == 14
    else:
        assert run.run().step == 24 and len(calls) == 4
    assert read_checkpoint(tmp_path / "last.pt")["step"] in (14, 24)


def test_checkpoints_hold_everything_and_no_code(tmp_path: Path) -> None:
    toy_run(tmp_path, steps=10)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert {"model", "ema", "optimizer", "schedule", "step", "random", "config", "git", "pairs"} <= set(state)
    assert (
        state["step"] == 10
        and state["config"]["train"]["batch_size"] == 8
        and set(state["random"]) == {"torch", "cuda", "numpy", "python"}
    )


def test_damaged_and_foreign_checkpoints_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        read_checkpoint(tmp_path / "last.pt")
    toy_run(tmp_path, steps=8)
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="damaged"):
        toy_run(tmp_path, steps=8, resume=True)
    torch.save({"weights": 1}, tmp_path / "last.pt")
    with pytest.raises(WeightsError, match="not a training checkpoint"):
        toy_run(tmp_path, steps=8, resume=True)
    (tmp_path / "last.pt").write_bytes(whole)
    with pytest.raises(WeightsError, match="ema_decay"):
        toy_run(tmp_path, steps=8, resume=True, ema_decay=0.0)
    with pytest.raises(WeightsError, match="optimiser"):
        toy_run(tmp_path, steps=8, resume=True, optim={"layers": [{"pattern": "scale", "learning_rate": 0.5}]})
