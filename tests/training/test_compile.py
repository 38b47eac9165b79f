"""`train.compile`: the same curve with it, a sentence where the compiler fails, off where it lacks what it needs."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.standin import toy_run
from tracker.errors import TrainingError
from tracker.training.compiling import compiles


def with_backend(monkeypatch: pytest.MonkeyPatch, backend: str | Callable[..., Any]) -> None:
    """torch.compile with a backend that needs no C compiler."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: real(model, backend=backend))


def curve(folder: Path) -> list[float]:
    with open(folder / "log.csv", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_a_compiled_run_has_the_curve_of_a_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_backend(monkeypatch, "aot_eager")
    for name in ("on", "off"):
        (tmp_path / name).mkdir()
        toy_run(tmp_path / name, steps=9, compile=name)
    assert np.allclose(curve(tmp_path / "on"), curve(tmp_path / "off"), rtol=1e-4)
    states = [torch.load(tmp_path / name / "last.pt", weights_only=True)["model"] for name in ("on", "off")]
    assert states[0].keys() == states[1].keys()


def test_a_compiler_that_fails_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("cc: not found")

    with_backend(monkeypatch, broken)
    with pytest.raises(TrainingError, match=r"cc: not found.*train\.compile=off"):
        toy_run(tmp_path, steps=9, compile="on")


def test_auto_is_for_cuda_where_a_compiler_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cpu, card = torch.device("cpu"), torch.device("cuda")
    assert not compiles("auto", cpu) and compiles("on", cpu) and not compiles("off", card)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert not compiles("auto", card)
    assert "a C compiler is missing" in caplog.text or "and a C compiler" in caplog.text
