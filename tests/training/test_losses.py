"""Losses: values worked out by hand, gradients against finite differences, registry, labels, mining."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.standin import toy_match
from tracker.config import load_config
from tracker.errors import ConfigError
from tracker.training.config import train_config
from tracker.training.data.batch import Match, PairBatch
from tracker.training.losses.base import options_of
from tracker.training.losses.box import box_iou
from tracker.training.losses.objective import build_loss, loss_names

METRIC = {"contrastive", "triplet", "angular", "circle"}
BOX = {"iou", "giou", "box-l1"}


def flat_match(
    score: torch.Tensor, box: list[list[float]], positive: list[bool], **more: torch.Tensor
) -> tuple[Match, PairBatch]:
    """An answer with the given (B, H, W) logits, stride 4, on a search crop that the grid fills."""
    batch, side = score.shape[0], score.shape[-1]
    empty = torch.zeros(batch, 1, dtype=score.dtype)
    match = Match(
        score[:, None],
        more.get("boxes"),
        more.get("template", torch.zeros(batch, 2, 1, 1, dtype=score.dtype)),
        more.get("search", torch.zeros(batch, 2, side, side, dtype=score.dtype)),
        4,
        4 * side,
    )
    size = torch.full((batch, 2), 4.0, dtype=score.dtype)
    pairs = PairBatch(
        empty, empty, size, torch.tensor(box, dtype=score.dtype), torch.tensor(positive), torch.arange(batch)
    )
    return match, pairs


def test_registry_holds_every_loss_of_the_issue() -> None:
    maps, metric, boxes = (
        {"logistic", "focal", "gaussian-focal"},
        {"contrastive", "triplet", "angular", "circle"},
        {"iou", "giou", "box-l1"},
    )
    assert maps | metric | boxes | {"distillation", "peer-score", "peer-box"} == set(loss_names())


@pytest.mark.parametrize("name", loss_names())
def test_every_option_can_be_written_in_yaml(name: str, tmp_path: Path) -> None:
    """`on`, `off`, `yes` and their like are booleans in yaml 1.1, also as keys."""
    options = options_of(type(build_loss(name)))
    file = tmp_path / "recipe.yaml"
    lines = "".join(f"        {key}: {'null' if value is None else value}\n" for key, value in options.items())
    file.write_text(f"train:\n  losses:\n    - name: {name}\n      options:\n{lines}")
    (loss,) = train_config(load_config(file).train).losses
    assert loss.options == options
    build_loss(loss.name, **loss.options)


def test_unknown_names_and_options_get_a_hint() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'contrastive'"):
        build_loss("contrastiv")
    with pytest.raises(ConfigError, match=r"no option 'gama'\. Did you mean 'gamma'"):
        build_loss("focal", gama=1.0)
    with pytest.raises(ConfigError, match="not in \\(0, 1\\]"):
        build_loss("logistic", hard_share=0.0)
    with pytest.raises(ConfigError, match="reduction 'median'"):
        build_loss("giou", reduction="median")
    with pytest.raises(ConfigError, match="mining 'soft'"):
        build_loss("triplet", mining="soft")


@pytest.mark.parametrize("name", sorted({"logistic", "focal", "gaussian-focal", *METRIC, *BOX}))
def test_reductions_agree(name: str) -> None:
    match, batch = toy_match()
    rows = build_loss(name, reduction="none")(match, batch)
    assert rows.shape == (3,) and torch.isfinite(rows).all()
    assert torch.allclose(build_loss(name, reduction="sum")(match, batch), rows.sum())
    below = build_loss(name).terms(match, batch)[1]
    assert torch.allclose(build_loss(name)(match, batch), rows.sum() / below.sum().clamp(min=1))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("logistic", {"radius": 6.0}),
        ("focal", {"inside": 0.7}),
        ("gaussian-focal", {}),
        ("contrastive", {"radius": 6.0}),
        ("contrastive", {"compare": "embedding", "margin": 1.2, "radius": 6.0}),
        ("triplet", {"mining": "semi-hard", "radius": 6.0}),
        ("triplet", {"mining": "hardest", "squared": True, "compare": "embedding", "radius": 6.0}),
        ("triplet", {"mining": "all", "margin": 0.0, "radius": 6.0}),
        ("angular", {"radius": 6.0}),
        ("iou", {}),
        ("giou", {}),
        ("box-l1", {}),
    ],
)
def test_gradients_match_finite_differences(name: str, options: dict[str, object]) -> None:
    match, batch = toy_match()
    loss = build_loss(name, **options)

    def value(score: torch.Tensor, boxes: torch.Tensor, template: torch.Tensor, search: torch.Tensor) -> torch.Tensor:
        return loss(replace(match, score=score, boxes=boxes, template=template, search=search), batch)

    assert match.boxes is not None
    inputs = [v.clone().requires_grad_(True) for v in (match.score, match.boxes, match.template, match.search)]
    assert float(value(*inputs).detach()) > 0
    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)
    assert any(v.grad is not None and bool(v.grad.abs().sum() > 0) for v in inputs) or _has_gradient(
        value(*inputs), inputs
    )


def _has_gradient(value: torch.Tensor, inputs: list[torch.Tensor]) -> bool:
    return any(g is not None and bool(g.abs().sum() > 0) for g in torch.autograd.grad(value, inputs, allow_unused=True))


def test_logistic_weighs_target_and_ground_half_each() -> None:
    score = torch.full((1, 5, 5), -2.0, dtype=torch.float64)
    score[0, 2, 2] = 3.0
    match, batch = flat_match(score, [[8, 8, 12, 12]], [True])
    expected = 0.5 * math.log1p(math.exp(-3)) + 0.5 * math.log1p(math.exp(-2))
    assert float(build_loss("logistic", radius=2.0)(match, batch)) == pytest.approx(expected)
    # A negative pair: the half of the ground is left, scaled as asked.
    match, batch = flat_match(torch.zeros(1, 5, 5, dtype=torch.float64), [[8, 8, 12, 12]], [False])
    assert float(build_loss("logistic", negative_pair_weight=3.0)(match, batch)) == pytest.approx(1.5 * math.log(2))


def test_logistic_with_hard_cells_is_larger() -> None:
    match, batch = toy_match()
    assert build_loss("logistic", hard_share=0.1)(match, batch) > build_loss("logistic")(match, batch)


def test_focal_closed_form_and_cross_entropy_at_gamma_zero() -> None:
    score = torch.zeros(1, 3, 3, dtype=torch.float64)
    match, batch = flat_match(score, [[4, 4, 8, 8]], [True])
    # One target cell and eight ground cells, p = 1/2 everywhere.
    assert float(build_loss("focal", radius=1.0)(match, batch)) == pytest.approx((0.25 + 8 * 0.75) * 0.25 * math.log(2))
    assert float(build_loss("focal", radius=1.0, gamma=0.0, alpha=0.5)(match, batch)) == pytest.approx(
        0.5 * 9 * math.log(2)
    )


def test_gaussian_focal_peaks_in_the_nearest_cell() -> None:
    match, batch = flat_match(
        torch.zeros(2, 5, 5, dtype=torch.float64), [[8, 8, 12, 12], [8, 8, 12, 12]], [True, False]
    )
    target = build_loss("gaussian-focal").target(match, batch)  # type: ignore[operator]
    assert float(target[0, 2, 2]) == 1 and int((target == 1).sum()) == 1 and float(target[1].max()) == 0
    # sigma is half a stride: one cell away the bump is exp(-2).
    assert float(target[0, 2, 3]) == pytest.approx(math.exp(-2))
    good = replace(match, score=torch.where(target[:, None] == 1, 6.0, -6.0))
    assert build_loss("gaussian-focal")(good, batch) < 0.05 * build_loss("gaussian-focal")(match, batch)


def test_contrastive_closed_form_on_the_energy() -> None:
    score = torch.full((1, 3, 3), 0.0, dtype=torch.float64)
    score[0, 1, 1] = 2.0
    match, batch = flat_match(score, [[4, 4, 8, 8]], [True])
    near, far = math.log1p(math.exp(-2)), math.log(2)
    expected = near**2 / 2 + (1 - far) ** 2 / 2
    assert float(build_loss("contrastive", margin=1.0, radius=1.0)(match, batch)) == pytest.approx(expected)


def test_triplet_mining_chooses_as_the_papers_say() -> None:
    # Distances from logits: d = softplus(-v), so v = -log(exp(d) - 1).
    distance = torch.tensor([[0.5, 0.3, 0.6], [0.4, 0.5, 2.0], [0.9, 2.0, 2.0]], dtype=torch.float64)
    distance[1, 1] = 0.45  # the target
    match, batch = flat_match(-torch.log(torch.expm1(distance))[None], [[4, 4, 8, 8]], [True])
    loss = {
        m: float(build_loss("triplet", mining=m, margin=0.2, radius=1.0)(match, batch))
        for m in ("semi-hard", "hardest", "all")
    }
    assert loss["hardest"] == pytest.approx(0.45 - 0.3 + 0.2)
    assert loss["semi-hard"] == pytest.approx(0.45 - 0.5 + 0.2)
    assert loss["all"] == pytest.approx((0.15 + 0.35 + 0.05 + 0.25) / 8)
    smooth = float(build_loss("triplet", mining="hardest", margin=0.0, radius=1.0)(match, batch))
    assert smooth == pytest.approx(math.log1p(math.exp(0.15)))


def test_semi_hard_falls_back_to_the_farthest_nearer_negative() -> None:
    distance = torch.full((3, 3), 0.2, dtype=torch.float64)
    distance[0, 0], distance[1, 1] = 0.4, 1.0
    match, batch = flat_match(-torch.log(torch.expm1(distance))[None], [[4, 4, 8, 8]], [True])
    assert float(build_loss("triplet", margin=0.1, radius=1.0)(match, batch)) == pytest.approx(1.0 - 0.4 + 0.1)


def test_angular_closed_form_with_one_negative() -> None:
    search = torch.zeros(1, 2, 1, 2, dtype=torch.float64)
    search[0, :, 0, 0] = torch.tensor([1.0, 0.0])  # the target's cell
    search[0, :, 0, 1] = torch.tensor([0.0, 1.0])
    template = torch.tensor([0.6, 0.8], dtype=torch.float64).view(1, 2, 1, 1)
    match = Match(torch.zeros(1, 1, 1, 2, dtype=torch.float64), None, template, search, 4, 8)
    size = torch.tensor([[4.0, 4.0]], dtype=torch.float64)
    empty = torch.zeros(1, 1)
    batch = PairBatch(empty, empty, size, torch.tensor([[0.0, 0.0, 4.0, 8.0]]), torch.tensor([True]), torch.tensor([0]))
    batch = replace(batch, box=torch.tensor([[0.5, 0.5, 3.5, 3.5]], dtype=torch.float64))
    tan2 = math.tan(math.radians(40)) ** 2
    expected = math.log1p(math.exp(4 * tan2 * 0.8 - 2 * (1 + tan2) * 0.6))
    assert float(build_loss("angular", angle=40.0, radius=2.9)(match, batch)) == pytest.approx(expected)


def test_circle_value_and_gradient_are_the_papers() -> None:
    score = torch.full((1, 3, 3), -1.0, dtype=torch.float64)
    score[0, 1, 1] = 0.5
    match, batch = flat_match(score, [[4, 4, 8, 8]], [True])
    m, g = 0.25, 8.0
    sp, sn = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(1.0))
    ap, an = 1 + m - sp, sn + m
    total = 8 * math.exp(g * an * (sn - m)) * math.exp(-g * ap * (sp - 1 + m))
    v = score.clone().requires_grad_(True)
    loss = build_loss("circle", margin=m, gamma=g, radius=1.0)(replace(match, score=v[:, None]), batch)
    assert float(loss.detach()) == pytest.approx(math.log1p(total))
    loss.backward()
    assert v.grad is not None
    # Equation 10: the weights are constants, so d loss / d sp = -Z g ap with Z = total / (1 + total).
    assert float(v.grad[0, 1, 1]) == pytest.approx(-total / (1 + total) * g * ap * sp * (1 - sp))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_box_overlap_agrees_with_the_numpy_one(seed: int) -> None:
    import numpy as np

    from tracker.geometry import iou, xyxy_to_xywh

    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 10, (2, 5, 2)), rng.uniform(0, 10, (2, 5, 2))
    a, b = np.concatenate([a[0], a[0] + a[1]], 1), np.concatenate([b[0], b[0] + b[1]], 1)
    overlap, general = box_iou(torch.from_numpy(a), torch.from_numpy(b))
    assert np.allclose(overlap.numpy(), iou(xyxy_to_xywh(a), xyxy_to_xywh(b)))
    assert bool((general <= overlap + 1e-12).all()) and bool((general >= -1).all())


def test_giou_closed_form_for_boxes_that_do_not_touch() -> None:
    overlap, general = box_iou(torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([3.0, 0.0, 4.0, 1.0]))
    assert float(overlap) == 0 and float(general) == pytest.approx(-0.5)


def test_box_losses_count_target_cells_of_genuine_pairs_only() -> None:
    match, batch = toy_match()
    assert match.boxes is not None
    truth = batch.box[:, :, None, None].expand(-1, -1, 9, 9)
    for name in BOX:
        assert float(build_loss(name)(replace(match, boxes=truth.clone()), batch)) == pytest.approx(0, abs=1e-9)
    assert build_loss("giou").terms(match, batch)[1].tolist() == [1, 1, 0]
    with pytest.raises(ConfigError, match="needs boxes"):
        build_loss("iou")(replace(match, boxes=None), batch)


@pytest.mark.parametrize("name", sorted({*METRIC, *BOX, "logistic", "focal"}))
def test_a_batch_of_negative_pairs_alone_gives_finite_gradients(name: str) -> None:
    match, batch = toy_match()
    batch = replace(batch, positive=torch.zeros(3, dtype=torch.bool))
    assert match.boxes is not None
    score, boxes = match.score.requires_grad_(True), match.boxes.requires_grad_(True)
    search = match.search.requires_grad_(True)
    loss = build_loss(name)(replace(match, score=score, boxes=boxes, search=search), batch)
    loss.backward()
    for v in (score, boxes, search):
        assert v.grad is None or torch.isfinite(v.grad).all()
    if name in BOX or name in {"triplet", "angular", "circle"}:
        assert float(loss) == 0


def test_extreme_logits_stay_finite() -> None:
    match, batch = toy_match(dtype=torch.float32)
    for name in set(loss_names()) - {"distillation", "peer-score", "peer-box"}:  # which need a teacher
        score = (match.score * 1e4).requires_grad_(True)
        loss = build_loss(name)(replace(match, score=score), batch)
        loss.backward() if loss.requires_grad else None
        assert torch.isfinite(loss) and (score.grad is None or torch.isfinite(score.grad).all()), name
