"""Cross-modal twins: edges that don't know which side is bright, the loss of places, views that share geometry and
nothing else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matching.material import recipe
from tests.matching.test_placing import picture
from tracker.errors import ConfigError
from tracker.matching.augment import vary
from tracker.matching.batches import MatchSource
from tracker.matching.config import InputConfig, MatchAugmentConfig, MatchConfig, PartConfig
from tracker.matching.encoders import OrientedGradients, build_encoder
from tracker.matching.losses import PlacingLoss
from tracker.matching.objective import MatchObjective
from tracker.model.energies import build_energy


def gray(seed: int) -> torch.Tensor:
    return torch.from_numpy(picture(seed).mean(2)[None, None].astype(np.float32))


@given(st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_a_negative_has_the_same_edges(seed: int) -> None:
    edges, x = OrientedGradients(6), gray(seed)
    torch.testing.assert_close(edges(255 - x), edges(x), rtol=1e-3, atol=1e-4)
    found = edges(x)
    assert found.shape == (1, 6, 60, 80) and float(found.min()) >= 0 and float(found.max()) <= 1.5
    assert float((edges(40 + x / 3) - found).abs().mean()) < 0.1  # contrast hardly counts


def test_edges_know_their_orientation() -> None:
    ramp = torch.arange(32.0).repeat(32, 1)[None, None] * 4
    upright, lying = (OrientedGradients(4)(x)[0, :, 8, 8] for x in (ramp, ramp.transpose(2, 3)))
    assert int(upright.argmax()) == 0 and int(lying.argmax()) == 2
    assert float(OrientedGradients(4)(torch.full((1, 1, 16, 16), 90.0)).abs().max()) < 1e-3


def test_edges_are_an_option_of_the_small_net() -> None:
    encoder = build_encoder(
        PartConfig("cnn", {"edges": 6, "channels": [8, 16], "dim": 0}), InputConfig(width=32, height=32, gray=True)
    )
    x = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    assert encoder.stride == 8 and encoder.forward_map(x).shape == (2, 16, 4, 4)
    with pytest.raises(ConfigError, match=r"model\.input\.gray=true"):
        build_encoder(PartConfig("cnn", {"edges": 6}), InputConfig())


def test_the_loss_is_the_softmax_over_all_places() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 4, 6, 7), torch.randn(2, 4, 6, 7)
    loss = PlacingLoss("cosine", stride=8, template=24, spacing=16, near=8, temperature=0.1)
    value, missed = loss(first, second)
    terms, wrong = [], 0
    for b in range(2):
        for i in range(0, 4, 2):
            for j in range(0, 5, 2):
                z = first[b : b + 1, :, i : i + 3, j : j + 3]
                energy = build_energy("cosine").window(z, second[b : b + 1])[0, 0] / 0.1
                near = torch.zeros(4, 5, dtype=torch.bool)
                near[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2] = True
                terms.append(-torch.log(F.softmax(energy.flatten(), 0)[near.flatten()].sum()))
                wrong += int(not near.flatten()[energy.argmax()])
    assert value.item() == pytest.approx(torch.stack(terms).mean().item(), abs=1e-5) and int(missed) == wrong
    same, none = loss(first, first)
    assert same < value and int(none) == 0
    more, _ = PlacingLoss("cosine", 8, 24, 16, 8, 0.1, others=True)(first, second)
    assert more > value  # further places to be wrong at


def aligned(folder: Path, size: tuple[int, int] = (96, 80)) -> dict[str, object]:
    for k in range(4):
        for name, image in (("one", picture(k, size)), ("two", 255 - picture(k, size))):
            (folder / name).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / name / f"{k}.png"), image)
    return {"kind": "aligned", "path": "one", "second": "two", "crop": 64, "step": 16}


def placing_recipe(folder: Path, **augment: float) -> MatchConfig:
    encoder = {"name": "cnn", "options": {"edges": 4, "channels": [8], "dim": 0, "pool": "flatten", "signed": True}}
    return recipe(
        folder,
        model={"input": {"width": 32, "height": 32, "gray": True}, "encoder": encoder, "second": encoder},
        data={"sources": [aligned(folder)], "classes": 3, "samples": 1, "augment": augment},
        loss={"name": "placing", "options": {"temperature": 0.1, "spacing": 16}},
    )


def test_aligned_views_share_their_geometry_and_nothing_else(tmp_path: Path) -> None:
    batch = MatchSource(placing_recipe(tmp_path, shift=0.1, flip=True)).batch(3)
    assert batch.second is not None and batch.first.shape == (3, 3, 64, 64)
    inner = batch.first[:, :, 12:-12, 12:-12].float() + batch.second[:, :, 12:-12, 12:-12].float()
    assert float((inner - 255).abs().max()) <= 2
    noisy = MatchSource(placing_recipe(tmp_path, noise=8)).batch(3)
    assert noisy.second is not None
    noise = (noisy.first.float() - (255 - noisy.second).float()).flatten()
    assert float(noise.std()) == pytest.approx(
        8 * 2**0.5, rel=0.15
    )  # two draws, not one: the same would cancel or double


def test_tones_are_curves() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    directions = set()
    for seed in range(20):
        view = vary(ramp, MatchAugmentConfig(tone=1.0), np.random.default_rng(seed))[0, :, 0].astype(int)
        steps = np.diff(view)
        assert (steps >= 0).all() or (steps <= 0).all()
        directions.add(bool(view[-1] > view[0]))
    assert directions == {True, False}


def test_places_are_learnt(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_metric_learning")
    from tracker.matching.train import run

    config = placing_recipe(tmp_path, flip=True)
    (tmp_path / "run").mkdir()
    result = run(config, tmp_path / "run")
    assert result.stopped == "finished"
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[1]) for row in rows]
    assert min(losses[-3:]) < losses[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": {"name": "placing", "miner": {"name": "hardest"}}}, "leave out loss.miner"),
        ({"loss": {"name": "placing", "options": {"temprature": 1}}}, "can't be built"),
        ({"loss": {"name": "placing", "options": {"template": 64}}}, "set a larger crop"),
    ],
)
def test_what_the_loss_cannot_do(changes: dict[str, object], sentence: str, tmp_path: Path) -> None:
    from tracker.config import merge

    config = merge(placing_recipe(tmp_path), changes)
    with pytest.raises(ConfigError, match=sentence):
        batch = MatchSource(config).batch(0)
        maps = torch.randn(3, 8 * 16 * 16)
        MatchObjective(config, 8, stride=4)((maps, maps), batch)


def test_angular_takes_unit_vectors(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_metric_learning")
    from tests.matching.material import classes

    config = recipe(classes(tmp_path), loss={"name": "angular"})
    batch = MatchSource(config).batch(0)
    x = torch.randn(len(batch.label), 16)
    one, other = (MatchObjective(config, 16)((v, None), batch).total for v in (x, 7 * x))
    assert one == pytest.approx(other, rel=1e-5)
