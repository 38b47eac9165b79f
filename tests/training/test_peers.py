"""Another tracker as a teacher: what a cache and batches keep of it, and which mistakes are named."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.conftest import moving_square
from tests.training.material import MODEL, got10k, write_frames
from tracker.errors import ConfigError
from tracker.model_config import ModelConfig
from tracker.training.data.cache import CacheConfig, ShardMaker, fingerprint, material_key, shard_path
from tracker.training.data.pairs import CachedPairs
from tracker.training.data.peers import Answer, load_peer, peer_arrays, score_grid
from tracker.training.data.resident import ResidentPairs
from tracker.training.data.samples import Sample
from tracker.training.data.sampling import PairConfig
from tracker.training.data.shards import Shard
from tracker.training.data.sources import DataConfig
from tracker.training.losses.box import box_iou
from tracker.training.losses.labels import Grid
from tracker.training.losses.objective import build_loss
from tracker.training.losses.peer import PeerCriterion

ROOT = Path(__file__).parents[2]
MATCHER = '''
"""Looks for the middle of the template by normalised correlation; its "network" is its stride."""
import cv2
import numpy as np


class Matcher:
    def __init__(self, files):
        (file,) = files
        self.stride = int(open(file).read())

    def __call__(self, template, size, searches):
        middle, (w, h) = template.shape[0] // 2, np.maximum(np.asarray(size).astype(int), 4)
        left, top = middle - w // 2, middle - h // 2
        part = template[max(top, 0) : top + h, max(left, 0) : left + w]
        h, w = part.shape[:2]
        for search in searches:
            score = 10 * cv2.matchTemplate(search, part, cv2.TM_CCOEFF_NORMED)[:: self.stride, :: self.stride]
            ys, xs = (np.arange(n) * self.stride + half for n, half in zip(score.shape, (h / 2, w / 2)))
            x, y = np.meshgrid(xs, ys)
            yield score, xs, ys, np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
'''


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """A made-up tracker outside of the project: its name and its file."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "seeker.py").write_text(MATCHER)
    (folder / "stride.txt").write_text("3")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "seeker", raising=False)
    return "seeker:Matcher", [str(folder / "stride.txt")]


@pytest.fixture
def cache(tmp_path: Path, peer: tuple[str, list[str]]) -> CacheConfig:
    """A prepared cache with what the peer says."""
    got10k(tmp_path / "got")
    cache = CacheConfig(path=str(tmp_path / "cache"), groups=6, shard=3, peer=peer[0], peer_files=peer[1])
    Path(cache.path).mkdir()
    maker = ShardMaker(cache, _material(tmp_path), MODEL, 0.5)
    maker.make(0)
    maker.make(1)
    return cache


def _material(root: Path) -> DataConfig:
    return DataConfig(root=str(root), scenery="", sources=[{"kind": "clips", "path": "got"}], templates=2, searches=3)


def test_a_cache_keeps_what_a_peer_says_of_each_pair(cache: CacheConfig) -> None:
    shard, grid = Shard(shard_path(Path(cache.path), 0)), score_grid(MODEL)
    assert shard.peers and not shard.taught
    overlaps = []
    for sample in range(shard.samples):
        for pair in range(6):
            box = torch.from_numpy(np.array(shard.view("peer_boxes", sample, pair)[:, 0, 0]))
            overlaps.append(float(box_iou(box, torch.from_numpy(shard.boxes[sample, pair % 3]))[0]))
            score = np.array(shard.view("peer_scores", sample, pair)[0], np.float32)
            assert score.shape == (len(grid.ys), len(grid.xs))
            assert np.isnan(score[0, 0]) and np.isfinite(score[4, 4])  # its map does not reach the border
    assert np.median(overlaps) > 0.6


def test_a_peer_speaks_of_unlabelled_video_too(tmp_path: Path, peer: tuple[str, list[str]]) -> None:
    """Where the label is a region that was followed there and back."""
    write_frames(tmp_path / "videos" / "walk", moving_square(12, size=35, seed=3)[0])
    source = {"kind": "videos", "path": "videos", "tracks": 3, "length": 6}
    data = DataConfig(root=str(tmp_path), scenery="", sources=[source], templates=1, searches=2)
    cache = CacheConfig(path=str(tmp_path / "cache"), groups=4, shard=4, peer=peer[0], peer_files=peer[1])
    Path(cache.path).mkdir()
    ShardMaker(cache, data, MODEL, 0.5).make(0)
    batch = CachedPairs(PairConfig(cache=cache, negative_pairs=0.0), 8, 0).batch(0, 0, 1)
    assert batch.peer_box is not None and torch.isfinite(batch.peer_box).all()
    loss = build_loss("peer-box")
    assert isinstance(loss, PeerCriterion) and loss.believed(batch).any()


def test_scores_are_read_at_the_cells_of_the_model() -> None:
    """A ramp on a finer mesh, which ends before the search does, reads as the cells' own coordinates."""
    xs, ys = np.arange(20.0, 101.0, 5.0), np.arange(30.0, 91.0, 4.0)
    ramp = xs[None, :] + 100 * ys[:, None]
    boxes = np.broadcast_to(np.stack([xs - 3, xs, xs + 3, xs])[:, None, :], (4, len(ys), len(xs)))
    picture = np.zeros((9, 9, 3), np.uint8)
    sample = Sample([picture], np.ones((1, 2), np.float32), [picture], np.ones((1, 4), np.float32), "a")
    places = torch.arange(8.0, 129.0, 16.0)
    arrays = peer_arrays("ramp", lambda *_: [(ramp / 200, xs, ys, boxes)], [sample], Grid(places, places, 16.0))
    score = arrays["peer_scores"][0, 0, 0].astype(float) * 200
    inside = np.arange(8.0, 129.0, 16.0)[2:6]  # 40 to 88
    assert np.allclose(score[2:6, 2:6], inside[None, :] + 100 * inside[:, None], rtol=2e-3)
    assert np.isnan(score[0]).all() and np.isnan(score[:, 7]).all()
    assert arrays["peer_boxes"][0, 0].ravel().tolist() == [97, 100, 103, 100]  # of the highest score, the last cell's


def test_pairs_carry_it_and_boxes_are_redrawn_with_the_labels(cache: CacheConfig) -> None:
    plain, drawn = (
        CachedPairs(PairConfig(cache=cache, negative_pairs=0.4, box_jitter=jitter), 24, 0).batch(0, 0, 1)
        for jitter in (0.0, 0.3)
    )
    for batch in (plain, drawn):
        assert batch.peer_box is not None and batch.peer_score is not None
        known = torch.isfinite(batch.peer_box).all(1)
        assert torch.equal(known, batch.positive)  # here: nothing is known of pairs across samples
        assert 0 < known.sum() < 24
        assert torch.isfinite(batch.peer_score).flatten(1).any(1).equal(known)
    assert plain.peer_box is not None and drawn.peer_box is not None

    def sides(box: torch.Tensor) -> torch.Tensor:
        return (box[:, 2:] - box[:, :2])[plain.positive]

    assert not torch.allclose(sides(drawn.box), sides(plain.box))
    wider = sides(drawn.box) / sides(plain.box)
    assert torch.allclose(sides(drawn.peer_box) / sides(plain.peer_box), wider, rtol=1e-3)


def test_data_on_the_device_say_the_same(cache: CacheConfig) -> None:
    config = PairConfig(cache=cache, negative_pairs=0.4, box_jitter=0.2)
    cached = CachedPairs(config, 8, 0)
    one = cached.batch(1, 0, 1)
    other = ResidentPairs(cached._parts, config, 8, 0, 0, torch.device("cpu")).batch(1, 0, 1)
    for name in ("peer_score", "peer_box", "search", "box"):
        assert torch.equal(getattr(one, name).nan_to_num(-7), getattr(other, name).nan_to_num(-7)), name
    moving = dataclasses.replace(config, moves=dataclasses.replace(config.moves, shift=4.0))
    with pytest.raises(ConfigError, match=r"train\.data\.cache\.peer"):
        ResidentPairs(cached._parts, moving, 8, 0, 0, torch.device("cpu"))


def test_another_peer_is_another_cache(tmp_path: Path, cache: CacheConfig) -> None:
    """Its name is part of the recipe; its code and networks are part of what the cache was cut from."""
    data = _material(tmp_path)
    plain = dataclasses.replace(cache, peer="", peer_files=[])
    assert fingerprint(cache, data, MODEL) != fingerprint(plain, data, MODEL)
    assert fingerprint(dataclasses.replace(plain, peer_files=["x"]), data, MODEL) == fingerprint(plain, data, MODEL)
    maker = ShardMaker(cache, data, MODEL, 0.5)
    before = material_key(cache, maker.mixture)
    Path(cache.peer_files[0]).write_text("4")
    assert material_key(cache, maker.mixture) != before


def test_cells_of_the_response() -> None:
    assert score_grid(ModelConfig(search_size=257)).xs.tolist() == [0.5 + 16 * k for k in range(17)]
    alexnet = ModelConfig(backbone="siamfc-alexnet", head="classic", template_size=127, search_size=255)
    assert score_grid(alexnet).xs.tolist() == [127.5 + 8 * k for k in range(-8, 9)]


def test_mistakes_with_a_peer_are_named(peer: tuple[str, list[str]], tmp_path: Path) -> None:
    name, files = peer
    for wrong in ("nobody:Matcher", "seeker", "seeker:Nothing", ":"):
        with pytest.raises(ConfigError, match="can't be imported"):
            load_peer(wrong, files)
    with pytest.raises(ConfigError, match=r"gone\.onnx, which is no file"):
        load_peer(name, [str(tmp_path / "gone.onnx")])
    (tmp_path / "bad.txt").write_text("no number")
    with pytest.raises(ConfigError, match="can't be made of 1 files: ValueError"):
        load_peer(name, [str(tmp_path / "bad.txt")])


@pytest.mark.parametrize(
    "answer",
    [
        Answer(np.zeros((3, 4)), np.arange(3), np.arange(3), np.zeros((4, 3, 4))),
        Answer(np.full((3, 3), np.nan), np.arange(3), np.arange(3), np.zeros((4, 3, 3))),
        Answer(np.zeros((3, 3)), np.arange(3)[::-1], np.arange(3), np.zeros((4, 3, 3))),
        (np.zeros((3, 3)), np.arange(3), np.arange(3)),
        (np.zeros((3, 3)), np.arange(3), "many", np.zeros((4, 3, 3))),
        7,
        None,
    ],
)
def test_a_peer_that_answers_nonsense_is_named(answer: Any) -> None:
    picture = np.zeros((9, 9, 3), np.uint8)
    sample = Sample([picture], np.ones((1, 2), np.float32), [picture], np.ones((1, 4), np.float32), "a")
    grid = Grid(torch.arange(3.0), torch.arange(3.0), 1.0)
    with pytest.raises(ConfigError, match="The peer 'odd' gave"):
        peer_arrays("odd", lambda *_: [answer] if answer is not None else [], [sample], grid)
    with pytest.raises(ConfigError, match="The peer 'odd' failed on a pair: TypeError"):
        peer_arrays("odd", lambda: [], [sample], grid)  # type: ignore[arg-type, misc]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_prepare_and_train_with_a_peer(tmp_path: Path, peer: tuple[str, list[str]]) -> None:
    """The two commands, the peer's folder being on PYTHONPATH; log.csv has a column of each loss."""
    got10k(tmp_path / "got")
    recipe = {
        "name": "tiny",
        "model": {
            "template_size": 65,
            "search_size": 129,
            "neck_channels": 24,
            "head": "boxes",
            "head_channels": 8,
            "head_layers": 1,
        },
        "train": {
            "steps": 2,
            "batch_size": 4,
            "precision": "fp32",
            "device": "cpu",
            "workers": 0,
            "threads": 1,
            "log_every": 1,
            "tensorboard": False,
            "losses": [{"name": "focal"}, {"name": "giou"}, {"name": "peer-score"}, {"name": "peer-box"}],
            "data": {
                "cache": {"path": "cache", "groups": 4, "shard": 2, "peer": peer[0], "peer_files": peer[1]},
                "material": {"root": str(tmp_path), "scenery": "", "sources": [{"kind": "clips", "path": "got"}]},
            },
        },
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    outside = str(Path(peer[1][0]).parent)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": outside}
    for tool, more in (("prepare", []), ("train", ["--init", "random", "--output", "run"])):
        command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--config", "recipe.yaml", *more]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=200)
        assert done.returncode == 0, done.stderr
    header, *rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert {"peer-score", "peer-box"} <= set(header.split(",")) and len(rows) == 2
    values = dict(zip(header.split(","), rows[0].split(","), strict=True))
    assert float(values["peer-score"]) > 0 and float(values["peer-box"]) > 0
