"""The matcher: tied weights, full convolution, K templates, checkpoints."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tracker.errors import ConfigError
from tracker.model.backbones import BACKBONES, build_backbone, quartered
from tracker.model.heads import coverage, target_size
from tracker.model.siamese_network import SiameseNetwork
from tracker.model_config import ModelConfig

SMALL = ModelConfig(
    backbone="efficientnet-lite0-80", neck_channels=16, template_size=65, search_size=129, head_channels=16
)
CLASSIC = replace(SMALL, head="classic")
ALEXNET = ModelConfig(
    backbone="siamfc-alexnet",
    neck_channels=0,
    energy="dot",
    head="classic",
    template_size=103,
    search_size=151,
    response_scale=1e-3,
)
FINE = replace(SMALL, backbone="efficientnet-lite0-fine")
NORMED = replace(ALEXNET, backbone="siamfc-alexnet-normed")
CONFIGS = {
    "boxes": SMALL,
    "fine": FINE,
    "relative": replace(FINE, relative_boxes=True),
    "attention": replace(FINE, head="attention", relative_boxes=True, attention_layers=2),
    "classic": CLASSIC,
    "alexnet": ALEXNET,
    "normed": NORMED,
}


def build(config: ModelConfig, seed: int = 0) -> SiameseNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SiameseNetwork(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # a head that isn't at its start, where the last layers are zero
        for parameter in model.head.parameters():
            if parameter.dim() == 4 and parameter.abs().sum() == 0:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def pictures(
    config: ModelConfig, batch: int = 2, search: int | None = None, seed: int = 1
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = 255 * torch.rand(batch, 3, config.template_size, config.template_size, generator=generator)
    x = 255 * torch.rand(batch, 3, search or config.search_size, search or config.search_size, generator=generator)
    return z, x, torch.full((batch, 2), config.template_size / 2)


def test_every_backbone_of_the_registry_is_covered() -> None:
    assert {c.backbone for c in CONFIGS.values()} | {"efficientnet-lite0"} == set(BACKBONES)


def test_fine_cells_lie_at_and_right_below_their_coarse_cell() -> None:
    fine = torch.arange(2 * 5 * 7, dtype=torch.float32).reshape(1, 2, 5, 7)
    quarters = quartered(fine)
    assert quarters.shape == (1, 8, 3, 4)
    for channel, row, column, i, j in ((0, 0, 0, 0, 1), (1, 1, 2, 1, 0), (1, 0, 1, 1, 1)):
        assert quarters[0, 4 * channel + 2 * i + j, row, column] == fine[0, channel, 2 * row + i, 2 * column + j]
    assert quarters[0, 3, 2, 3] == 0  # beyond the border


def test_a_backbone_with_fine_channels_is_cut_where_these_are_at_hand() -> None:
    backbone = build_backbone("efficientnet-lite0-fine").eval()
    x = 255 * torch.rand(1, 3, 65, 65, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = backbone(x)
        assert whole.shape == (1, 112 + 160, 5, 5) == (1, backbone.out_channels + backbone.fine_channels, 5, 5)
        for stage in (2, 4, 6):
            assert torch.equal(backbone(backbone(x, end=stage), start=stage), whole)
        for cut in ({"end": 5}, {"start": 5}):
            with pytest.raises(ConfigError, match=r"cut at stage 5.*up to 4, or all 6"):
                backbone(x, **cut)
    with pytest.raises(ConfigError, match="take 'efficientnet-lite0' for it"):
        build(replace(FINE, head="classic"))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_shared_gradient_is_the_sum_of_two_twins(name: str) -> None:
    config = CONFIGS[name]
    shared = build(config).double()
    first, second = copy.deepcopy(shared), copy.deepcopy(shared)
    z, x, target = (t.double() for t in pictures(config))

    def loss(score: torch.Tensor, boxes: torch.Tensor | None) -> torch.Tensor:
        pattern = torch.linspace(-1, 1, score[0].numel(), dtype=torch.float64).reshape(score[0].shape)
        total = (score * pattern).sum()
        return total if boxes is None else total + 1e-3 * (boxes**2).mean()

    out = shared(z, x, target)
    loss(out.score, out.boxes).backward()
    loss(*first.match(first.embed_template(z, target), second.embed(x))).backward()
    compared = 0
    for part in ("backbone", "neck"):
        twins = zip(getattr(first, part).named_parameters(), getattr(second, part).parameters(), strict=True)
        own = dict(getattr(shared, part).named_parameters())
        for (key, a), b in twins:
            if own[key].grad is None:
                continue
            assert a.grad is not None and b.grad is not None
            scale = float(own[key].grad.abs().max()) + 1e-12
            assert torch.allclose(own[key].grad, a.grad + b.grad, atol=1e-8 * scale), key
            compared += int(float(a.grad.abs().max()) > 0 and float(b.grad.abs().max()) > 0)
    assert compared > 5


@pytest.mark.parametrize("name", CONFIGS)
def test_a_larger_search_gives_a_larger_map(name: str) -> None:
    config = CONFIGS[name]
    model = build(config)
    sizes = []
    with torch.inference_mode():
        z, x, target = pictures(config, 1)
        template = model.embed_template(z, target)
        for more in (0, 2, 5):
            side = config.search_size + more * model.stride
            score, boxes = model.match(template, model.embed(torch.nn.functional.interpolate(x, (side, side))))
            sizes.append(score.shape[-1])
            assert score.shape[-2:] == (sizes[0] + more,) * 2
            assert boxes is None or boxes.shape[-2:] == score.shape[-2:]


def test_a_shifted_search_shifts_the_map_exactly_without_padding() -> None:
    model = build(ALEXNET)
    z, x, target = pictures(ALEXNET, 1, search=ALEXNET.search_size + 16)
    with torch.inference_mode():
        template = model.embed_template(z, target)
        whole = model.match(template, model.embed(x))[0]
        moved = model.match(template, model.embed(x[:, :, 8:, 16:]))[0]
    assert torch.allclose(whole[..., 1:, 2:], moved, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (2, 0), (-1, 1), (1, -2)])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_shifted_target_moves_the_peak_by_shift_over_stride(name: str, dx: int, dy: int) -> None:
    config = replace(CONFIGS[name], energy="cosine", response_scale=10.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SiameseNetwork(config).eval()
    n, m, stride = config.template_size, config.search_size + 64, model.stride
    generator = torch.Generator().manual_seed(2)
    texture = torch.nn.functional.interpolate(
        255 * torch.rand(1, 3, 9, 9, generator=generator), (n, n), mode="bilinear"
    )
    search = torch.full((1, 3, m, m), 127.0)
    left, top = (m - n) // 2 + dx * stride, (m - n) // 2 + dy * stride
    search[..., top : top + n, left : left + n] = texture
    with torch.inference_mode():
        score = model(texture, search, torch.full((1, 2), n / 2)).score[0, 0]
    row, column = divmod(int(score.argmax()), score.shape[1])
    middle = (score.shape[0] - 1) // 2
    assert (row - middle, column - middle) == (dy, dx)


@pytest.mark.parametrize("name", CONFIGS)
def test_k_templates_against_one_search_are_k_matches(name: str) -> None:
    config = CONFIGS[name]
    model = build(config)
    z, x, target = pictures(config, 3)
    with torch.inference_mode():
        templates, search = model.embed_template(z, target), model.embed(x[:1])
        score, boxes = model.match(templates, search)
        for k in range(3):
            one, box = model.match(templates[k : k + 1], search)
            assert torch.allclose(score[k : k + 1], one, atol=1e-4)
            assert boxes is None or (box is not None and torch.allclose(boxes[k : k + 1], box, atol=1e-2))


def test_cells_stand_where_the_boxes_say() -> None:
    model = build(SMALL)
    with torch.no_grad():
        for part in model.head.boxes[-1].parameters():  # type: ignore[union-attr, index]
            part.zero_()
        z, x, target = pictures(SMALL, 1)
        boxes = model(z, x, target).boxes
    assert boxes is not None
    middle = boxes.shape[-1] // 2
    left, top, right, bottom = boxes[0, :, middle, middle].tolist()
    assert ((left + right) / 2, (top + bottom) / 2) == (SMALL.search_size / 2,) * 2
    assert (right - left, bottom - top) == (2.0 * model.stride,) * 2


def test_a_head_with_boxes_needs_padding() -> None:
    with pytest.raises(ConfigError, match="classic"):
        SiameseNetwork(replace(ALEXNET, head="boxes"))
    with pytest.raises(ConfigError, match="head 'attention' needs a padded backbone"):
        SiameseNetwork(replace(ALEXNET, head="attention"))


def test_the_channels_of_the_head_are_shared_out_to_the_heads_of_the_attention() -> None:
    with pytest.raises(ConfigError, match=r"head_channels is 16.*attention_heads 3"):
        replace(SMALL, head="attention", attention_heads=3)


def test_attention_starts_with_the_score_of_the_response_and_knows_no_place_in_the_search() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        boxes, attention = (SiameseNetwork(replace(SMALL, head=head)).eval() for head in ("boxes", "attention"))
    attention.backbone.load_state_dict(boxes.backbone.state_dict())
    attention.neck.load_state_dict(boxes.neck.state_dict())
    z, x, target = pictures(SMALL)
    with torch.no_grad():
        torch.testing.assert_close(attention(z, x, target).score, boxes(z, x, target).score)
        head = build(replace(SMALL, head="attention")).head
        generator = torch.Generator().manual_seed(2)
        cells, wide = torch.randn(1, 16, 5, 5, generator=generator), torch.randn(1, 16, 24, 24, generator=generator)
        share = torch.ones(1, 1, 5, 5)
        energy = attention.energy
        whole = head(cells, share, wide, energy)  # type: ignore[operator]
        part = head(cells, share, wide[:, :, 2:, 3:], energy)  # type: ignore[operator]
    for one, other in zip(whole, part, strict=True):  # away from the border, which is seen over 2 + 1 + 1 cells
        torch.testing.assert_close(one[:, :, 8:-6, 9:-6], other[:, :, 6:-6, 6:-6], atol=1e-4, rtol=1e-4)


def test_relative_boxes_start_as_the_target_in_the_template() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SiameseNetwork(replace(SMALL, relative_boxes=True)).eval()
    z, x, _ = pictures(SMALL)
    target = torch.tensor([[40.0, 18.0], [20.0, 30.0]])
    with torch.no_grad():
        boxes = model(z, x, target).boxes
    assert boxes is not None
    size = (boxes[:, 2:] - boxes[:, :2]).mean((2, 3))
    assert torch.allclose(size, target, rtol=1e-4)


def test_the_size_of_a_target_is_read_from_its_coverage() -> None:
    target = torch.tensor([[40.0, 17.0], [20.0, 65.0], [3.0, 90.0]])
    size = target_size(coverage(target, 5, 16, 65)) * 16
    assert torch.allclose(size, torch.tensor([[40.0, 17.0], [20.0, 65.0], [16.0, 65.0]]), atol=1e-4)
