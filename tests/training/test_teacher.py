"""A model that teaches another: where its cells are read, what the loss asks, what a cache keeps of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.material import got10k
from tracker.config import Config
from tracker.errors import ConfigError
from tracker.model.backbones import edges_and_colours
from tracker.model.checkpoint import load_model, save_model
from tracker.model.siamese_network import SiameseNetwork
from tracker.model_config import ModelConfig
from tracker.training.data.batch import Match, PairBatch
from tracker.training.data.cache import CacheConfig, ShardMaker, fingerprint
from tracker.training.data.sampling import PairConfig
from tracker.training.data.shards import Shard
from tracker.training.data.sources import DataConfig
from tracker.training.initialise import initial_model
from tracker.training.losses.distillation import Teacher, _sampled, embedding_grid
from tracker.training.losses.mining import cross_negative_pairs
from tracker.training.losses.objective import build_loss


def _batch(target: torch.Tensor | None, start: int = 0) -> PairBatch:
    size = 4
    return PairBatch(
        template=torch.zeros(size, 1),
        search=torch.arange(float(size))[:, None],
        template_size=torch.ones(size, 2),
        box=torch.zeros(size, 4),
        positive=torch.ones(size, dtype=torch.bool),
        track=torch.arange(size),
        start=start,
        distillation_target=target,
    )


def _match(search: torch.Tensor) -> Match:
    return Match(torch.zeros(len(search), 1, 17, 17), None, search[..., :6, :6], search, 8, 255)


def test_cells_lie_where_alexnet_looks() -> None:
    """Receptive fields by hand: the first cell of SiamFC's AlexNet is centred on pixel index 43, 8 px a step, 22 of
    them."""
    grid = embedding_grid("siamfc-alexnet", 255)
    assert grid.xs.tolist() == [43.5 + 8 * k for k in range(22)]
    assert embedding_grid("efficientnet-lite0", 257).xs.tolist() == [0.5 + 16 * k for k in range(17)]


def test_features_are_read_at_the_places() -> None:
    """A ramp over the pixels reads as the pixel's own coordinate."""
    grid = embedding_grid("siamfc-alexnet", 255)
    ramp = (16 * torch.arange(17.0) + 0.5).expand(1, 1, 17, 17)
    assert torch.allclose(_sampled(ramp, grid, 16)[0, 0, 3], grid.xs, atol=1e-4)
    assert torch.allclose(_sampled(ramp.transpose(2, 3), grid, 16)[0, 0, :, 3], grid.ys, atol=1e-4)


def test_teacher_speaks_of_what_it_sees() -> None:
    """Unit length; cells on the same texture are alike, others are not."""
    rng = np.random.default_rng(0)
    picture = torch.full((1, 3, 255, 255), 120.0)
    picture[..., 128:] = torch.from_numpy(rng.integers(0, 255, (3, 255, 127)).astype(np.float32))
    teacher = Teacher("siamtrack-s")
    found = teacher.targets(picture, embedding_grid("siamfc-alexnet", 255))
    assert found.shape == (1, teacher.channels, 22, 22)
    assert torch.allclose(found.norm(dim=1), torch.ones(1, 22, 22), atol=1e-4)
    cell = found[0, :, 11]
    assert cell[:, 2] @ cell[:, 4] > 0.8 > cell[:, 2] @ cell[:, 19]


def test_loss_is_nil_for_a_perfect_pupil() -> None:
    """0 where the embedding is the rotated teacher's at the right length, 1 for zeros; other rotations don't change
    products."""
    target = torch.nn.functional.normalize(torch.randn(4, 5, 22, 22, generator=torch.Generator().manual_seed(0)), dim=1)
    loss = build_loss("distillation", length=3.0)
    rotation = loss._rotation(8, 5)
    assert torch.allclose(rotation.T @ rotation, torch.eye(5), atol=1e-5)
    pupil = 3 * torch.einsum("sd,bdhw->bshw", rotation, target)
    assert loss(_match(pupil), _batch(target)) < 1e-9
    assert loss(_match(torch.zeros_like(pupil)), _batch(target)).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "channels", "start", "said"),
    [
        ({"length": 0.0}, 256, 0, "length=0"),
        ({"teacher": "nobody"}, 256, 0, "nobody"),
        ({"teacher": "siamfc-alexnet-like"}, 256, 0, "siamfc-alexnet-like"),
        ({}, 256, 2, "train.data.cache.teacher"),
    ],
)
def test_mistakes_are_named(options: dict[str, object], channels: int, start: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_loss("distillation", **options)(_match(torch.zeros(4, channels, 22, 22)), _batch(None, start))


def test_too_few_channels_are_named() -> None:
    with pytest.raises(ConfigError, match="5 channels to imitate, the model has 4"):
        build_loss("distillation")(_match(torch.zeros(4, 4, 22, 22)), _batch(torch.zeros(4, 5, 22, 22)))


def test_negative_pairs_keep_their_teacher() -> None:
    """A search that meets another template takes what is said of it along."""
    target = torch.arange(4.0)[:, None, None, None].expand(4, 1, 2, 2)
    turned = cross_negative_pairs(_batch(target), 1.0, step=3)
    assert not turned.positive.any()
    assert turned.distillation_target is not None
    assert torch.equal(turned.distillation_target[:, 0, 0, 0], turned.search[:, 0])


def test_cache_keeps_what_the_teacher_says(tmp_path: Path) -> None:
    """A cache of features with a teacher: its words fit the pictures of a cache without, made with the same seed."""
    from tracker.training.data.pairs import CachedPairs

    got10k(tmp_path / "clips")
    data = DataConfig(
        root=str(tmp_path), scenery="", sources=[{"kind": "clips", "path": "clips"}], templates=1, searches=2
    )
    model = ModelConfig(
        backbone="siamfc-alexnet", neck_channels=0, head="classic", energy="dot", template_size=127, search_size=255
    )
    plain = CacheConfig(path=str(tmp_path / "plain"), groups=2, shard=2)
    with_teacher = replace(plain, path=str(tmp_path / "taught"), teacher="siamtrack-s")
    assert fingerprint(plain, data, model) != fingerprint(with_teacher, data, model)
    shards = []
    for cache in (plain, with_teacher):
        Path(cache.path).mkdir()
        shards.append(Shard(ShardMaker(cache, data, model, 0.5).make(0)))
    assert not shards[0].taught
    assert shards[1].taught
    batch = CachedPairs(PairConfig(cache=with_teacher, negative_pairs=0.0), 2, 0).batch(0, 0, 1)
    assert batch.distillation_target is not None
    # JPEG lies between the two, so nearly, not bit by bit.
    said = Teacher("siamtrack-s").targets(batch.search, embedding_grid("siamfc-alexnet", 255))
    assert (said * batch.distillation_target.float()).sum(1).mean() > 0.97


def test_first_filters_are_edges_and_colours() -> None:
    """Mean 0, deviation 1, no two the same, and some that tell colours apart."""
    filters = edges_and_colours(96, 11).flatten(1)
    assert filters.mean(1).abs().max() < 1e-5
    assert torch.allclose(filters.std(1), torch.ones(96), atol=1e-4)
    alike = torch.corrcoef(filters) - torch.eye(96)
    assert alike.max() < 0.99
    assert (filters.view(96, 3, 121).std(1).mean(1) > 0.3).sum() == 48


def test_last_norm_folds_into_the_weights(tmp_path: Path) -> None:
    """A backbone in training and the file that is written of it give the same embedding; the file's is the plain
    one."""
    config = Config(
        name="alex", model=ModelConfig(backbone="siamfc-alexnet-normed", neck_channels=0, head="classic", energy="dot")
    )
    torch.manual_seed(0)
    model = SiameseNetwork(config.model).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 2.0)
    save_model(tmp_path / "m.safetensors", model, config)
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.config.model.backbone == "siamfc-alexnet"
    picture = torch.rand(1, 3, 127, 127) * 255
    with torch.no_grad():
        assert torch.allclose(loaded.module.embed(picture), model.embed(picture), atol=1e-3)
    # And back: training goes on from such a file, the norm being new.
    again = initial_model(config, 1, str(tmp_path / "m.safetensors"))
    assert torch.equal(again.backbone.state_dict()["conv5.0.bias"], loaded.module.backbone.state_dict()["conv5.0.bias"])
