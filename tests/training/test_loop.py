"""The run: learns, validates, keeps the best, stops on what is broken, survives a full disk."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.standin import SETTINGS, ToyMatcher, ToySource, toy_run
from tracker.errors import ConfigError, SourceError, TrainingError
from tracker.training.checkpoint import read_checkpoint
from tracker.training.config import train_config
from tracker.training.data.batch import as_match
from tracker.training.data.loader import batches
from tracker.training.losses.labels import LabelRule
from tracker.training.trainer import Trainer
from tracker.training.visualize.pairs import draw_pairs


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def trainer(folder: Path, source: Any = None, validate: Any = None, export: Any = None, **changes: Any) -> Trainer:
    config = train_config({**SETTINGS, **changes})
    torch.manual_seed(0)
    return Trainer(
        ToyMatcher(), source or ToySource(config.batch_size), config, folder, validate=validate, export=export
    )


def peak_quality(model: nn.Module) -> tuple[float, float]:
    """Share of genuine pairs whose peak lies on the target; area under the ROC of peak values, genuine against negative
    pair."""
    batch = ToySource(48, seed=123).batch(0, 0, 1)
    model.eval()
    with torch.no_grad():
        match = as_match(model(batch.template, batch.search, batch.template_size), model)  # type: ignore[arg-type]
    flat = match.score.flatten(1)
    peak, place = flat.max(1)
    side = match.score.shape[-1]
    x, y = match.offset + 4 * (place % side), match.offset + 4 * (place // side)
    centre = (batch.box[:, :2] + batch.box[:, 2:]) / 2
    hit = ((x - centre[:, 0]).abs() < 7) & ((y - centre[:, 1]).abs() < 7)
    genuine, negative_pair = peak[batch.positive], peak[~batch.positive]
    return float(hit[batch.positive].float().mean()), float((genuine[:, None] > negative_pair[None]).float().mean())


def test_a_tiny_matcher_learns_the_toy_task(tmp_path: Path) -> None:
    losses = [{"name": "logistic", "options": {"radius": 4.0}}]
    run = trainer(
        tmp_path,
        steps=120,
        losses=losses,
        optim={"name": "adamw", "learning_rate": 0.02},
        checkpoint_every=1000,
        log_every=10,
    )
    before = peak_quality(run.model)
    result = run.run()
    after = peak_quality(run.model)
    loss = [float(row["loss"]) for row in rows(tmp_path / "log.csv")]
    assert result.stopped == "finished" and result.pairs == 120 * 8
    assert loss[-1] < 0.5 * loss[0]
    assert after[0] > 0.85 and after[1] > max(0.7, before[1] + 0.1), (before, after)


@pytest.mark.parametrize(
    "changes",
    [{"precision": "bf16"}, {"workers": 2}, {"workers": 2, "worker_kind": "process"}, {"channels_last": False}],
)
def test_variants_give_the_same_curve(tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    toy_run(tmp_path / "a", steps=6, log_every=1)
    toy_run(tmp_path / "b", steps=6, log_every=1, **changes)
    a, b = ([float(row["loss"]) for row in rows(tmp_path / name / "log.csv")] for name in "ab")
    if "workers" in changes:
        assert a == b
    else:
        assert np.allclose(a, b, rtol=0.03 if "precision" in changes else 1e-4)


def test_log_has_every_loss_and_two_identical_runs_are_identical(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        toy_run(tmp_path / name, steps=12, dropout=0.3)
    a, b = rows(tmp_path / "a" / "log.csv"), rows(tmp_path / "b" / "log.csv")
    assert list(a[0]) == [
        "step",
        "loss",
        "logistic",
        "giou",
        "learning_rate",
        "gradient_norm",
        "pairs",
        "pairs_per_second",
    ]
    assert [row["step"] for row in a] == ["3", "6", "9", "12"]
    for x, y in zip(a, b, strict=True):
        assert {k: v for k, v in x.items() if k != "pairs_per_second"} == {
            k: v for k, v in y.items() if k != "pairs_per_second"
        }
    row = a[0]
    assert float(row["loss"]) == pytest.approx(float(row["logistic"]) + 0.2 * float(row["giou"]))


def test_validation_keeps_the_best_and_exports(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    scores = {4: 0.3, 8: 0.7, 12: 0.5, 14: 0.6}

    def validate(model: nn.Module, step: int) -> dict[str, float]:
        assert not model.training and not torch.is_grad_enabled()
        return {"auc": scores[step], "precision": 0.1}

    def export(model: nn.Module, name: str, facts: dict[str, Any]) -> None:
        seen.append((name, facts["step"]))

    result = trainer(tmp_path, validate=validate, export=export, steps=14, validate_every=4).run()
    assert seen == [("best", 4), ("best", 8), ("last", 14)]
    assert result.best == {"auc": 0.7, "precision": 0.1, "step": 8} and result.metrics["auc"] == 0.6
    assert [(row["step"], row["auc"]) for row in rows(tmp_path / "validation.csv")] == [
        ("4", "0.3"),
        ("8", "0.7"),
        ("12", "0.5"),
        ("14", "0.6"),
    ]
    (tmp_path / "b").mkdir()
    with pytest.raises(TrainingError, match="auc, precision"):
        trainer(tmp_path / "b", validate=validate, steps=8, validate_every=4, best_metric="ao").run()


def test_validation_does_not_change_the_training(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    trainer(tmp_path / "a", steps=9).run()
    trainer(
        tmp_path / "b", steps=9, validate_every=2, validate=lambda model, step: {"auc": float(torch.rand(()))}
    ).run()
    assert [r["loss"] for r in rows(tmp_path / "a" / "log.csv")] == [
        r["loss"] for r in rows(tmp_path / "b" / "log.csv")
    ]


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_the_batch(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 5 is not finite.*bad-step-00000005-rank0\.pt.*learning_rate"):
        trainer(tmp_path, source=ToySource(8, break_at=5)).run()
    kept = read_checkpoint(tmp_path / "bad-step-00000005-rank0.pt")
    assert kept["step"] == 5 and torch.isnan(kept["batch"]["search"]).all() and kept["batch"]["box"].shape == (8, 4)
    assert all(torch.isfinite(v).all() for v in kept["model"].values() if v.is_floating_point())


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone(tmp_path: Path) -> None:
    class Explodes(ToyMatcher):
        def __init__(self) -> None:
            super().__init__()
            self.scale.register_hook(lambda grad: grad * float("inf"))

    run = Trainer(Explodes(), ToySource(8), train_config(SETTINGS), tmp_path)
    with pytest.raises(TrainingError, match="The gradient of step 0"):
        run.run()
    assert all(bool(torch.isfinite(v).all()) for v in run.model.state_dict().values())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_users_error_in_a_worker_arrives_whole(workers: int, kind: str) -> None:
    stream = batches(Broken(), 0, 5, workers, kind, 1)
    assert next(stream)[0] == 0
    with pytest.raises(SourceError, match=r"^The image a\.jpg of step 1 can't be read\.$"):
        next(stream)


class Broken(ToySource):
    def batch(self, step: int, rank: int, world: int) -> Any:
        if step == 1:
            raise SourceError("The image a.jpg of step 1 can't be read.")
        return super().batch(step, rank, world)


def test_limits_of_steps_and_time(tmp_path: Path) -> None:
    result = toy_run(tmp_path, max_steps=4)
    assert (result.step, result.stopped) == (4, "max-steps")
    (tmp_path / "b").mkdir()
    result = toy_run(tmp_path / "b", max_minutes=1e-6)
    assert (result.step, result.stopped) == (1, "max-minutes") and read_checkpoint(tmp_path / "b" / "last.pt")[
        "step"
    ] == 1


def test_frozen_then_thawed(tmp_path: Path) -> None:
    run = trainer(tmp_path, freeze=[{"pattern": "backbone.*", "until": 4}], steps=8)
    start = run.model.backbone[0].weight.detach().clone()
    run.run(max_steps=4)
    assert torch.equal(run.model.backbone[0].weight, start)
    run.run()
    assert not torch.equal(run.model.backbone[0].weight, start)


def test_mining_options_reach_the_objective(tmp_path: Path) -> None:
    mining = {"cross_negative_pairs": 0.25, "hard_share": 0.5, "negative_pair_temperature": 0.5}
    assert toy_run(tmp_path, steps=6, mining=mining).step == 6
    with pytest.raises(ConfigError, match="hard_share is 2; it must be a finite number above 0 to 1"):
        toy_run(tmp_path, mining={"hard_share": 2.0})


def test_tensorboard_gets_scalars_and_pictures(tmp_path: Path) -> None:
    event = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    toy_run(tmp_path, steps=6, tensorboard=True, image_every=3)
    board = event.EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert "train/loss" in board.Tags()["scalars"] and board.Tags()["images"] == ["responses"]
    assert len(board.Images("responses")) == 2


def test_pairs_are_drawn_with_their_labels() -> None:
    batch = ToySource(6).batch(0, 0, 1)
    model = ToyMatcher()
    match = as_match(model(batch.template, batch.search, batch.template_size), model)
    sheet = draw_pairs(batch, match, rule=LabelRule(radius=6.0))
    plain = draw_pairs(batch, None)
    assert (
        sheet.dtype == np.uint8
        and sheet.ndim == 3
        and sheet.shape[0] * sheet.shape[1] > plain.shape[0] * plain.shape[1]
    )
    assert bool((sheet == (80, 220, 60)).all(-1).any())
