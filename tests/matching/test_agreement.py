"""The tracker's dense losses against pytorch-metric-learning's: on single vectors (embedding mode) they are the same
numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.objective import build_loss as dense

pytest.importorskip("pytorch_metric_learning")

from pytorch_metric_learning import distances, losses, miners, reducers

N, WIDTH = 6, 5
ROWS = torch.arange(N)
UNIT = distances.LpDistance(normalize_embeddings=True, p=2, power=1)


def vectors(seed: int = 1) -> tuple[Tensor, Tensor]:
    """N templates and their N targets, as leaves."""
    generator = torch.Generator().manual_seed(seed)
    a, x = torch.randn(2, N, WIDTH, dtype=torch.float64, generator=generator)
    return a.requires_grad_(), (
        x + a.detach()
    ).requires_grad_()  # related, so that some negatives are easy and some hard


def ours(a: Tensor, x: Tensor, name: str, **options: Any) -> Tensor:
    """A dense loss on maps of one cell: every template against its own target and against those of the other tracks."""
    match = Match(torch.zeros(N, 1, 1, 1, dtype=torch.float64), None, a[:, :, None, None], x[:, :, None, None], 8, 9)
    batch = PairBatch(
        template=torch.zeros(N, 3, 9, 9),
        search=torch.zeros(N, 3, 9, 9),
        template_size=torch.full((N, 2), 9.0),
        box=torch.tensor([[0.0, 0.0, 9.0, 9.0]]).repeat(N, 1),
        positive=torch.ones(N, dtype=torch.bool),
        track=ROWS,
    )
    return dense(name, **options)(match, batch)


def apart() -> tuple[Tensor, Tensor]:
    """(template, target) of different tracks, row by row."""
    pairs = [(i, j) for i in range(N) for j in range(N) if i != j]
    return torch.tensor([i for i, _ in pairs]), torch.tensor([j for _, j in pairs])


def contrastive(a: Tensor, x: Tensor) -> Tensor:
    """The library's terms d and max(0, margin - d), squared and halved as Hadsell et al. have them."""
    left, right = apart()
    loss = losses.ContrastiveLoss(0, 1.1, distance=UNIT, reducer=reducers.DoNothingReducer())
    found = loss(a, ROWS, (ROWS, ROWS, left, right), x, ROWS.clone())
    pull, push = found["pos_loss"]["losses"], found["neg_loss"]["losses"]
    return (pull.square() / 2).mean() + (push.square() / 2).mean()


def triplet_all(a: Tensor, x: Tensor) -> Tensor:
    left, right = apart()
    loss = losses.TripletMarginLoss(margin=0.3, distance=UNIT, reducer=reducers.MeanReducer())
    return loss(a, ROWS, (left, left, right), x, ROWS.clone())


def triplet_hardest(a: Tensor, x: Tensor) -> Tensor:
    loss = losses.TripletMarginLoss(margin=0.3, distance=UNIT, reducer=reducers.MeanReducer())
    return loss(a, ROWS, miners.BatchHardMiner(distance=UNIT)(a, ROWS, x, ROWS.clone()), x, ROWS.clone())


def triplet_semi_hard(a: Tensor, x: Tensor) -> Tensor:
    """The library mines all negatives farther than the positive; FaceNet takes the nearest of them, or the farthest
    of the others."""
    distance = UNIT(a, x).detach()
    mined = miners.TripletMarginMiner(margin=10.0, type_of_triplets="semihard", distance=UNIT)(a, ROWS, x, ROWS.clone())
    farther: dict[int, list[int]] = {i: [] for i in range(N)}
    for anchor, _, negative in zip(*(part.tolist() for part in mined), strict=True):
        farther[anchor].append(negative)
    chosen = [
        min(farther[i], key=lambda n: float(distance[i, n]))
        if farther[i]
        else max((n for n in range(N) if n != i), key=lambda n: float(distance[i, n]))
        for i in range(N)
    ]
    assert any(farther.values()) and not all(len(f) == N - 1 for f in farther.values())  # both kinds are there
    loss = losses.TripletMarginLoss(margin=0.3, distance=UNIT, reducer=reducers.MeanReducer())
    return loss(a, ROWS, (ROWS, ROWS, torch.tensor(chosen)), x, ROWS.clone())


def angular(a: Tensor, x: Tensor) -> Tensor:
    """The library takes the negatives as they come, so they come as unit vectors."""
    a, x = F.normalize(a, dim=1), F.normalize(x, dim=1)
    loss = losses.AngularLoss(alpha=40, reducer=reducers.MeanReducer())
    return loss(a, ROWS, None, x, ROWS.clone())


def circle(a: Tensor, x: Tensor) -> Tensor:
    left, right = apart()
    loss = losses.CircleLoss(m=0.25, gamma=8, reducer=reducers.SumReducer())
    return loss(torch.cat([a, x]), torch.arange(2 * N), (ROWS, ROWS + N, left, right + N)) / N


CASES = {
    "contrastive": (contrastive, {"compare": "embedding", "margin": 1.1}),
    "triplet-all": (triplet_all, {"compare": "embedding", "mining": "all", "margin": 0.3}),
    "triplet-hardest": (triplet_hardest, {"compare": "embedding", "mining": "hardest", "margin": 0.3}),
    "triplet-semi-hard": (triplet_semi_hard, {"compare": "embedding", "mining": "semi-hard", "margin": 0.3}),
    "angular": (angular, {"angle": 40.0}),
    "circle": (circle, {"compare": "embedding", "gamma": 8.0, "margin": 0.25}),
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_are_the_librarys(case: str) -> None:
    theirs, options = CASES[case]
    a, x = vectors()
    expected = theirs(a, x)
    value = ours(a, x, case.split("-")[0] if case.startswith("triplet") else case, **options)
    assert value.item() == pytest.approx(expected.item(), abs=1e-6) and math.isfinite(value.item()) and value.item() > 0
    for mine, reference in zip(torch.autograd.grad(value, (a, x)), torch.autograd.grad(expected, (a, x)), strict=True):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-6)
