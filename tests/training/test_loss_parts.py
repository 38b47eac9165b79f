"""What losses are made of: labels, grids, candidates, mining, and the objective that adds them up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.training.standin import toy_match
from tests.training.test_losses import flat_match
from tracker.errors import ConfigError
from tracker.training.losses.labels import (
    IGNORED,
    POSITIVE,
    LabelRule,
    label_map,
    pool_template,
    response_grid,
    search_grid,
)
from tracker.training.losses.metric_samples import metric_samples
from tracker.training.losses.mining import PairMining, cross_negative_pairs, hardest
from tracker.training.losses.objective import Objective, build_loss


def test_labels_by_radius_by_share_and_for_targets_below_the_mesh() -> None:
    match, batch = flat_match(torch.zeros(2, 5, 5), [[8, 8, 12, 12], [9.9, 9.9, 10.1, 10.1]], [True, True])
    grid = response_grid(match)
    assert grid.xs.tolist() == [2, 6, 10, 14, 18]
    labels = label_map(grid, batch.box, batch.positive, LabelRule(radius=4.0, ignore=2.0))
    assert (labels[0] == POSITIVE).sum() == 5 and (labels[0] == IGNORED).sum() == 4
    labels = label_map(grid, torch.tensor([[4.0, 4.0, 16.0, 16.0]] * 2), batch.positive, LabelRule(inside=0.5))
    assert (labels[0] == POSITIVE).sum() == 1 and (labels[0] == IGNORED).sum() == 8
    assert (label_map(grid, batch.box, batch.positive, LabelRule(radius=0.01))[1] == POSITIVE).sum() == 1
    far = label_map(grid, torch.tensor([[80.0, 80, 90, 90]] * 2), batch.positive, LabelRule())
    assert (far == POSITIVE).sum() == 0


def test_grids_of_response_and_embedding_share_their_centre() -> None:
    match, _ = toy_match()
    response, search = response_grid(match), search_grid(match)
    assert float(response.xs.mean()) == float(search.xs.mean()) == 32.5
    assert float(search.xs[4]) == float(response.xs[0])


def test_the_template_is_pooled_over_its_target() -> None:
    template = torch.zeros(1, 1, 5, 5)
    template[0, 0, 1:4, 2] = 1.0
    assert float(pool_template(template, torch.tensor([[1.0, 1.0]]), 8)) == 1  # a tiny target: the central cell
    assert float(pool_template(template, torch.tensor([[16.0, 16.0]]), 8)) == pytest.approx(3 / 9)


def test_embedding_candidates_include_other_tracks_and_never_the_own_target() -> None:
    match, batch = toy_match()
    c = metric_samples(match, batch, "embedding", LabelRule(radius=4.0))
    assert c.similarity.shape == (3, 17 * 17 + 3)
    # Pair 2 is a negative pair: its target box shows nothing. Others are negatives of other tracks.
    assert c.label[:, -3:].tolist() == [[-1, 0, -1], [0, -1, -1], [0, 0, -1]]
    same = replace(batch, track=torch.tensor([5, 5, 6]))
    assert metric_samples(match, same, "embedding", LabelRule()).label[0, -3:].tolist() == [-1, 1, -1]
    with pytest.raises(ConfigError, match="energy or embedding"):
        build_loss("circle", compare="pixels")


def test_hardest_keeps_a_share_of_each_row() -> None:
    values = torch.tensor([[1.0, 5.0, 3.0, 4.0], [9.0, 1.0, 2.0, 0.0]])
    mask = torch.tensor([[True, True, True, True], [False, True, True, True]])
    assert hardest(values, mask, 0.5).tolist() == [[False, True, False, True], [False, True, True, False]]
    assert hardest(values, torch.zeros_like(mask), 0.5).sum() == 0


def test_pair_mining_weighs_hard_negative_pairs_more() -> None:
    losses, positive = torch.tensor([5.0, 1.0, 3.0, 2.0]), torch.tensor([True, False, False, False])
    weight = PairMining(negative_pair_temperature=1.0).weights(losses, positive)
    assert float(weight[0]) == 1 and weight[2] > weight[3] > weight[1] and float(weight[1:].mean()) == pytest.approx(1)
    assert PairMining(hard_share=0.5).weights(losses, positive).tolist() == [1, 0, 1, 0]
    assert PairMining().weights(losses, positive).tolist() == [1, 1, 1, 1]
    assert torch.isfinite(PairMining(negative_pair_temperature=0.01).weights(losses * 1000, positive)).all()


def test_cross_negative_pairs_pair_other_tracks_reproducibly() -> None:
    _, batch = toy_match(6)
    batch = replace(
        batch,
        search=torch.arange(6.0)[:, None],
        track=torch.tensor([0, 0, 1, 2, 3, 3]),
        positive=torch.ones(6, dtype=torch.bool),
    )
    made = cross_negative_pairs(batch, 0.5, step=4)
    assert int((~made.positive).sum()) == 3
    for i in range(6):
        j = int(made.search[i])
        assert (j == i) if made.positive[i] else batch.track[j] != batch.track[i]
        assert torch.equal(made.box[i], batch.box[j])
    assert torch.equal(cross_negative_pairs(batch, 0.5, step=4).search, made.search)
    alone = replace(batch, track=torch.zeros(6, dtype=torch.int64))
    assert bool(cross_negative_pairs(alone, 1.0, step=0).positive.all())


def test_the_objective_is_the_weighted_sum_of_its_parts() -> None:
    match, batch = toy_match()
    first, second = build_loss("logistic"), build_loss("giou")
    score = Objective([("a", 1.0, first), ("b", 0.5, second)])(match, batch)
    assert score.total == pytest.approx(float(first(match, batch)) + 0.5 * float(second(match, batch)))
    assert float(score.backward) == pytest.approx(score.total) and set(score.parts) == {"a", "b"}
    with pytest.raises(ConfigError, match="share a name"):
        Objective([("a", 1.0, first), ("a", 1.0, second)])
    with pytest.raises(ConfigError, match="no loss"):
        Objective([])
