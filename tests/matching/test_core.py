"""Twins, energies and losses: tied by construction, the tracker's own formulas, and those of
pytorch-metric-learning."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.matching.material import classes, recipe
from tracker.errors import ConfigError
from tracker.matching.calibration import Calibration, calibrate
from tracker.matching.config import InputConfig, MatchModel, PartConfig, find_recipe, load_recipe
from tracker.matching.encoders import build_encoder, encoder_names
from tracker.matching.foreign import ModuleEncoder
from tracker.matching.losses import ScoreLoss, build_loss, build_miner
from tracker.matching.matcher import compare
from tracker.matching.metrics import pearson, ranks, spearman, threshold_at, verification, wilson
from tracker.matching.objective import MatchObjective, spread_of
from tracker.matching.strokes import draw
from tracker.matching.text import TextError, encode_texts, tokens
from tracker.matching.twins import Twins, pairwise

IMAGE = InputConfig(width=24, height=24)
TEXT = InputConfig(modality="text", buckets=500)
SMALL = PartConfig("cnn", {"channels": [4, 8], "dim": 6})


def small(**changes: object) -> MatchModel:
    return replace(MatchModel(input=IMAGE, encoder=SMALL), **changes)  # type: ignore[arg-type]


def test_gradients_of_both_twins_add() -> None:
    torch.manual_seed(0)
    twins = Twins(small()).eval()
    a, b = torch.randint(0, 255, (2, 3, 3, 24, 24), dtype=torch.uint8)
    weights = [p for p in twins.parameters() if p.requires_grad]
    x, y = twins(a, b)
    both = torch.autograd.grad((x * y.detach()).sum() + (x.detach() * y).sum(), weights)
    first = torch.autograd.grad((twins(a)[0] * y.detach()).sum(), weights)
    second = torch.autograd.grad((x.detach() * twins(b)[0]).sum(), weights)
    assert twins.tied and twins.side(0) is twins.side(1)
    for whole, one, other in zip(both, first, second, strict=True):
        torch.testing.assert_close(whole, one + other, rtol=1e-4, atol=1e-5)


def test_a_second_encoder_is_not_tied() -> None:
    twins = Twins(small(second=SMALL))
    a = torch.zeros(1, 3, 24, 24)
    twins(a, a)[0].sum().backward()
    assert not twins.tied
    assert all(p.grad is None for p in twins.side(1).parameters()) and any(
        p.grad is not None for p in twins.side(0).parameters()
    )


@pytest.mark.parametrize("energy", ["cosine", "euclidean", "dot"])
def test_pairwise_is_the_energy_of_each_pair_and_of_the_plain_product(energy: str) -> None:
    a, b = torch.randn(3, 5), torch.randn(4, 5)
    whole = pairwise(a, b, energy)
    formula = {
        "cosine": lambda p, q: float(torch.cosine_similarity(p, q, dim=0)),
        "euclidean": lambda p, q: -float((p - q).square().sum()),
        "dot": lambda p, q: float(p @ q),
    }[energy]
    for i in range(3):
        for j in range(4):
            assert float(whole[i, j]) == pytest.approx(formula(a[i], b[j]), abs=1e-4)
    np.testing.assert_allclose(compare(a.numpy(), b.numpy(), energy), whole.numpy(), atol=1e-4)


def test_every_encoder_of_the_registry_gives_vectors() -> None:
    assert {"cnn", "backbone", "lstm", "timm"} <= set(encoder_names())
    pictures = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    given = InputConfig(width=64, height=64)
    for options in (
        {"name": "cnn"},
        {"name": "cnn", "pool": "gem"},
        {"name": "backbone", "dim": 8},
        {"name": "backbone", "pool": "grid", "dim": 0},
    ):
        part = PartConfig(str(options["name"]), {key: value for key, value in options.items() if key != "name"})
        encoder = build_encoder(part, given).eval()
        assert encoder(pictures).shape == (2, encoder.out_dim)
        assert encoder.forward_map(pictures).ndim == 4
    lstm = build_encoder(PartConfig("lstm", {"width": 12, "hidden": 6, "pool": "both"}), TEXT).eval()
    assert lstm(encode_texts(["a b c", "d"], TEXT)).shape == (2, lstm.out_dim)


def test_any_module_is_an_encoder() -> None:
    module = nn.Conv2d(3, 7, 3)
    x = torch.randint(0, 255, (2, 3, 9, 9), dtype=torch.uint8)
    torch.testing.assert_close(ModuleEncoder(module)(x), module(x.flip(1).float() / 255).mean((2, 3)))
    with pytest.raises(ConfigError, match="an encoder gives"):
        ModuleEncoder(nn.Identity(), lambda x: torch.zeros(3))(x)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (PartConfig("cn"), "Did you mean 'cnn'"),
        (PartConfig("cnn", {"widht": 3}), "no option 'widht'"),
        (PartConfig("cnn", {"channels": [4] * 9}), "leave nothing of a picture"),
        (PartConfig("backbone", {"name": "resnet"}), "backbone 'resnet' is unknown"),
    ],
)
def test_an_encoder_that_cannot_be_is_one_sentence(part: PartConfig, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_encoder(part, IMAGE)


def test_a_text_does_not_depend_on_its_neighbours() -> None:
    encoder = build_encoder(PartConfig("lstm", {"width": 12, "hidden": 6}), TEXT).eval()
    alone = encoder(encode_texts(["a small dog"], TEXT))
    among = encoder(encode_texts(["a small dog", "some much longer sentence with many words in it"], TEXT))
    torch.testing.assert_close(alone[0], among[0])


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_becomes_rows_of_the_table(text: str) -> None:
    if tokens(text):
        rows = encode_texts([text], TEXT)
        assert (
            rows.dtype == torch.int64
            and int(rows.min()) >= 0
            and int(rows.max()) < TEXT.buckets
            and bool((rows[0, :, 0] > 0).all())
        )
    else:
        with pytest.raises(TextError, match="is empty"):
            encode_texts([text], TEXT)


def test_unknown_words_share_their_n_grams() -> None:
    a, b, c = encode_texts(["walking", "walked", "zebra"], TEXT)
    shared = lambda p, q: len(set(p.flatten().tolist()) & set(q.flatten().tolist()) - {0})  # noqa: E731
    assert shared(a, b) > shared(a, c)


@pytest.mark.parametrize(
    "name", ["contrastive", "triplet", "angular", "circle", "multi-similarity", "supcon", "ntxent"]
)
def test_every_loss_prefers_classes_that_are_apart(name: str) -> None:
    pytest.importorskip("pytorch_metric_learning")
    label = torch.arange(3).repeat_interleave(2)
    good = nn.functional.one_hot(label, 4).float() + 0.01 * torch.randn(6, 4)
    bad = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))
    loss = build_loss(name, {}, "cosine")
    assert float(loss(good, label)) < float(loss(bad, label))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: build_loss("tripplet", {}, "cosine"), "Did you mean 'triplet'"),
        (lambda: build_loss("circle", {}, "euclidean"), "made for unit vectors"),
        (lambda: build_loss("triplet", {"margn": 1}, "cosine"), "can't be built"),
        (lambda: build_miner(PartConfig("hardst"), "cosine"), "Did you mean 'hardest'"),
    ],
)
def test_a_loss_that_cannot_be_is_one_sentence(call: object, sentence: str) -> None:
    pytest.importorskip("pytorch_metric_learning")
    with pytest.raises(ConfigError, match=sentence):
        call()  # type: ignore[operator]


def test_the_ranking_loss_asks_for_the_order() -> None:
    loss = ScoreLoss("ranking")
    score = torch.tensor([0.1, 0.5, 0.9])
    right, wrong = torch.tensor([0.0, 0.4, 0.8]), torch.tensor([0.8, 0.4, 0.0])
    assert float(loss(right, score)) < 0.01 < float(loss(wrong, score))
    expected = math.log(
        1 + sum(math.exp(20 * (wrong[j] - wrong[i])) for i in range(3) for j in range(3) if score[i] > score[j])
    )
    assert float(loss(wrong, score)) == pytest.approx(expected, rel=1e-5)


def test_collapse_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pytorch_metric_learning")
    from tracker.matching.batches import MatchSource
    from tracker.matching.objective import PATIENCE

    config = recipe(classes(tmp_path))
    batch = MatchSource(config).batch(0)
    objective = MatchObjective(config, 16)
    point = torch.ones(len(batch.label), 16) + 0.001 * torch.randn(len(batch.label), 16)
    assert spread_of(point) < 0.1 < spread_of(torch.randn(200, 16))
    for _ in range(PATIENCE):
        objective((point, None), batch)
    assert "embeddings collapse" in caplog.text


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.lists(st.floats(-1, 1), min_size=2, max_size=30))
@settings(max_examples=80, deadline=None)
def test_error_rates_keep_their_word(genuine: list[float], impostor: list[float]) -> None:
    result = verification([*genuine, *impostor], [True] * len(genuine) + [False] * len(impostor))
    assert 0 <= result.eer <= 1 and 0 <= result.auc <= 1
    for rate in (0.5, 0.1):
        assert np.mean(np.array(impostor) >= threshold_at(impostor, rate)) <= rate
    if min(genuine) > max(impostor):
        assert result.eer == 0 and result.auc == 1


def test_figures_against_values_by_hand() -> None:
    assert ranks([10, 20, 20, 5]).tolist() == [2, 3.5, 3.5, 1]
    assert spearman([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1) and pearson([0, 1], [1, 0]) == pytest.approx(-1)
    assert verification([0.9, 0.8, 0.4, 0.6, 0.2, 0.1], [1, 1, 1, 0, 0, 0]).eer == pytest.approx(1 / 3)
    low, high = wilson(0.8, 400)
    assert low == pytest.approx(0.758, abs=0.001) and high == pytest.approx(0.836, abs=0.001)


def test_calibration_is_monotone_and_keeps_the_rate() -> None:
    rng = np.random.default_rng(0)
    similarity = np.concatenate([rng.normal(0.7, 0.1, 400), rng.normal(0.2, 0.15, 4000)])
    found = calibrate(similarity, np.arange(4400) < 400)
    p = found.probability(np.linspace(-1, 1, 50))
    assert (np.diff(p) >= 0).all() and p[0] < 0.05 and p[-1] > 0.95
    assert np.mean(similarity[400:] >= found.threshold(0.01)) == pytest.approx(0.01, abs=0.002)
    assert found.threshold(0.01) < found.threshold(0.005) < found.threshold(0.001)
    assert Calibration.from_dict(found.to_dict()) == found
    with pytest.raises(ConfigError, match="can't be estimated from 4000 impostor pairs"):
        found.threshold(1e-5)
    with pytest.raises(ConfigError, match="pairs of both kinds"):
        calibrate([0.1, 0.2, 0.3], [True, True, True])


def test_made_up_characters_repeat_and_differ() -> None:
    assert (draw(3, 1) == draw(3, 1)).all() and (draw(3, 1) != draw(3, 2)).any() and (draw(3, 1) != draw(4, 1)).any()
    assert (draw(3, 1) < 128).mean() > 0.005


def test_every_shipped_recipe_is_readable() -> None:
    names = ["match-omniglot", "match-faces", "match-sentences", "match-thermal", "match-objects", "match-koch"]
    for name in names:
        config = load_recipe(name)
        assert config.name == name and find_recipe(name).is_file()
        assert Twins(
            replace(
                config.model,
                encoder=replace(config.model.encoder, options={**config.model.encoder.options, **_plain(config)}),
            )
        )
    with pytest.raises(ConfigError, match="Did you mean 'match-faces'"):
        find_recipe("match-face")


def _plain(config: object) -> dict[str, bool]:
    return {"imagenet": False} if "imagenet" in config.model.encoder.options else {}  # type: ignore[attr-defined]
