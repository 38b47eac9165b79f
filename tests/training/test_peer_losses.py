"""What the losses ask of another tracker's answers, and where it is believed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from tracker.errors import ConfigError
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.mining import cross_negative_pairs
from tracker.training.losses.objective import build_loss


def _batch(score: torch.Tensor, box: list[float], truth: list[float], positive: bool = True) -> PairBatch:
    nothing = torch.zeros(1, 1)
    return PairBatch(
        nothing,
        nothing,
        torch.ones(1, 2),
        torch.tensor([truth]),
        torch.tensor([positive]),
        torch.arange(1),
        peer_score=score[None],
        peer_box=torch.tensor([box]),
    )


def _match(score: torch.Tensor, box: list[float]) -> Match:
    boxes = torch.tensor(box)[:, None, None].expand(4, *score.shape)
    return Match(score[None, None], boxes[None], torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 5, 5), 8, 40)


TRUTH = [12.0, 12.0, 28.0, 28.0]


def test_losses_are_nil_where_the_model_says_the_same() -> None:
    score = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    said = score.clone()
    said[0] = torch.nan  # not covered by the peer's map
    batch, match = _batch(said, [13.0, 12.0, 30.0, 29.0], TRUTH), _match(score + 3, [13.0, 12.0, 30.0, 29.0])
    for name in ("peer-score", "peer-box"):
        assert float(build_loss(name)(match, batch)) == pytest.approx(0, abs=1e-6), name
    apart = _match(torch.zeros(5, 5), TRUTH)
    for name in ("peer-score", "peer-box"):
        assert float(build_loss(name)(apart, batch)) > 0.01, name


def test_score_is_drawn_to_the_peers_peak_and_not_outside_its_map() -> None:
    said = torch.zeros(5, 5)
    said[2, 3], said[0] = 6.0, torch.nan
    score = torch.zeros(5, 5, requires_grad=True)
    build_loss("peer-score")(_match(score, TRUTH), _batch(said, TRUTH, TRUTH)).backward()
    assert score.grad is not None
    assert score.grad.argmin() == 2 * 5 + 3 and score.grad[2, 3] < 0
    assert not score.grad[0].any() and (score.grad[1] > 0).all()


@pytest.mark.parametrize(
    ("box", "positive"),
    [([30.0, 30.0, 40.0, 40.0], True), ([torch.nan] * 4, True), (TRUTH, False)],
)
def test_a_peer_that_is_wrong_or_silent_does_not_count(box: list[float], positive: bool) -> None:
    batch = _batch(torch.randn(5, 5), box, TRUTH, positive)
    for name in ("peer-score", "peer-box"):
        score = torch.zeros(5, 5, requires_grad=True)
        values, counts = build_loss(name).terms(_match(score, [0.0, 0.0, 9.0, 9.0]), batch)
        assert values.tolist() == [0] and counts.tolist() == [0], name


def test_turned_pairs_forget_it() -> None:
    rows = [_batch(torch.randn(5, 5), TRUTH, TRUTH)] * 4
    fields: dict[str, Any] = {
        field.name: torch.cat([getattr(row, field.name) for row in rows])
        for field in dataclasses.fields(PairBatch)
        if isinstance(getattr(rows[0], field.name), torch.Tensor)
    }
    batch = PairBatch(**{**fields, "track": torch.arange(4)})
    turned = cross_negative_pairs(batch, 0.5, step=1)
    assert turned.peer_box is not None and turned.peer_score is not None
    assert torch.isfinite(turned.peer_box).all(1).equal(turned.positive)
    assert torch.isfinite(turned.peer_score).flatten(1).all(1).equal(turned.positive)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("peer-score", {"temperature": 0.0}, "temperature=0"),
        ("peer-box", {"agree": 1.5}, "agree=1.5"),
        ("peer-score", {}, r"train\.data\.cache\.peer"),
    ],
)
def test_mistakes_of_a_recipe_are_named(name: str, options: dict[str, float], said: str) -> None:
    batch = dataclasses.replace(_batch(torch.zeros(5, 5), TRUTH, TRUTH), peer_score=None)
    with pytest.raises(ConfigError, match=said):
        build_loss(name, **options)(_match(torch.zeros(5, 5), TRUTH), batch)
    other = _batch(torch.zeros(6, 6), TRUTH, TRUTH)
    with pytest.raises(ConfigError, match="36 cells, the model has 25"):
        build_loss("peer-score")(_match(torch.zeros(5, 5), TRUTH), other)
