"""Which pairs of a step are drawn, and that a run repeats them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.training.material import got10k, recipe, stills
from tracker.datasets.tracks import DataError
from tracker.errors import ConfigError
from tracker.model_config import ModelConfig
from tracker.training.data.build import build_pair_source, pair_config
from tracker.training.data.pairs import LivePairs, SamplePairs
from tracker.training.data.sampling import PairConfig, draw, jitter_boxes
from tracker.training.data.shards import MemorySamples
from tracker.training.data.sources import DataConfig, build_mixture


def memory(tracks: list[int], kinds: list[int], present: bool = True) -> MemorySamples:
    """Samples whose features are their own numbers."""
    count = len(tracks)
    labels = {
        "targets": np.full((count, 2, 2), 30, np.float32),
        "boxes": np.tile(np.array([1, 2, 3, 4], np.float32), (count, 3, 1)),
        "tracks": np.array(tracks),
        "kinds": np.array(kinds),
        "present": np.full((count, 3), present),
    }
    numbers = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1, 1)
    return MemorySamples(
        labels, {"templates": np.tile(numbers, (1, 2, 1, 2, 2)), "searches": np.tile(numbers, (1, 3, 1, 3, 3))}
    )


def test_pairs_of_a_step_are_shared_and_never_repeated() -> None:
    source = SamplePairs(
        [memory([1, 2, 3], [0, 0, 0]), memory([4, 5], [0, 0])], PairConfig(negative_pairs=0.3), 8, seed=1, start=4
    )
    whole = source.batch(7, 0, 1)
    halves = [source.batch(7, rank, 2) for rank in range(2)]
    for name in ("template", "search", "box", "positive", "track"):
        joined = np.concatenate([getattr(h, name).numpy() for h in halves])
        assert np.array_equal(joined, getattr(whole, name).numpy()), name
    picks = [tuple(draw(1, step, 64, 10**6, (2, 3), 0.3)) for step in range(20)]
    assert len(set(picks)) == 20
    assert len({p.sample for step in picks for p in step}) > 1270  # of 1280 draws: no worker sees another's


def test_shares_of_negative_pairs_and_look_alikes() -> None:
    source = SamplePairs(
        [memory(list(range(20)), [1] * 10 + [2] * 10)], PairConfig(negative_pairs=0.5, same_kind=0.75), 64, 0, 4
    )
    negative_pairs = alike = 0
    for step in range(20):
        batch = source.batch(step, 0, 1)
        a, b = batch.template[:, 0, 0, 0].int(), batch.search[:, 0, 0, 0].int()
        assert np.array_equal((a == b).numpy(), batch.positive.numpy())
        negative_pairs += int((~batch.positive).sum())
        alike += int(((a // 10 == b // 10) & (a != b)).sum())
    assert negative_pairs / 1280 == pytest.approx(0.5 * 19 / 20, abs=0.05)
    assert alike / negative_pairs == pytest.approx(0.75 + 0.25 * 9 / 19, abs=0.05)


def test_an_negative_pair_is_never_the_target_itself(caplog: pytest.LogCaptureFixture) -> None:
    few = SamplePairs([memory([7, 7, 7, 8], [0] * 4)], PairConfig(negative_pairs=1.0), 64, 0, 4)
    batch = few.batch(0, 0, 1)
    track = np.array([7, 7, 7, 8])
    other = track[batch.search[:, 0, 0, 0].int().numpy()]
    assert not (~batch.positive.numpy() & (track[batch.template[:, 0, 0, 0].int().numpy()] == other)).any()
    one = SamplePairs([memory([7, 7], [0, 0])], PairConfig(negative_pairs=1.0), 16, 0, 4)
    assert one.batch(0, 0, 1).positive.all() and "All samples show one target" in caplog.text
    old = SamplePairs([memory([7, 7], [0, 0])], PairConfig(negative_pairs=1.0, distinct=False), 64, 0, 4)
    assert not old.batch(0, 0, 1).positive.all()
    with pytest.raises(ConfigError, match="no prepared sample has a kind"):
        SamplePairs([memory([1, 2], [0, 0])], PairConfig(same_kind=0.5), 8, 0, 4)
    away = SamplePairs([memory([1, 2], [0, 0], present=False)], PairConfig(negative_pairs=0.0), 8, 0, 4)
    assert not away.batch(0, 0, 1).positive.any()


def test_redrawn_boxes_of_a_pair_keep_their_centres_and_their_ratio() -> None:
    size, box = np.array([40, 20], np.float32), np.array([100, 110, 160, 130], np.float32)
    widths = []
    for k in range(200):
        other, there = jitter_boxes(size, box, 0.15, np.random.default_rng(k))
        assert there[:2] + there[2:] == pytest.approx(box[:2] + box[2:])
        assert (there[2:] - there[:2]) / other == pytest.approx([60 / 40, 20 / 20], rel=1e-5)
        widths.append(np.log(other[0] / 40))
    assert abs(np.mean(widths)) < 0.04 and 0.1 < np.std(widths) < 0.18 and np.abs(widths).max() <= 0.301


def test_pairs_with_another_convention_show_the_same_pictures() -> None:
    samples = [memory([1, 2, 3], [0, 0, 0])]
    plain, other = (SamplePairs(samples, PairConfig(box_jitter=c), 8, 0, 3).batch(2, 0, 1) for c in (0.0, 0.15))
    assert torch.equal(plain.search, other.search) and not torch.equal(plain.template_size, other.template_size)
    halves = [SamplePairs(samples, PairConfig(box_jitter=0.15), 8, 0, 3).batch(2, rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([h.template_size for h in halves]), other.template_size)


def test_live_pairs_are_a_function_of_the_step(tmp_path: Path) -> None:
    got10k(tmp_path / "data" / "got")
    stills(tmp_path / "data" / "stills")
    sources = [
        {"kind": "clips", "path": "got"},
        {"kind": "paste", "path": "stills"},
        {"kind": "photos", "path": "stills/photos"},
    ]
    config = recipe(
        tmp_path / "data",
        tmp_path / "cache",
        sources,
        use_cache=False,
        negative_pairs=0.5,
        same_kind=1.0,
        material={"scenery": "stills/photos"},
    )
    one, two = build_pair_source(config, 0), build_pair_source(config, 0)
    two.batch(0, 0, 1)
    a, b = one.batch(5, 0, 1), two.batch(5, 0, 1)
    assert (
        np.array_equal(a.template, b.template)
        and np.array_equal(a.search, b.search)
        and np.array_equal(a.positive, b.positive)
    )
    assert a.template.shape == (6, 3, 65, 65) and a.search.shape == (6, 3, 129, 129)
    source = LivePairs(pair_config(config.train["data"]), config, 24, 0)
    negative_pairs = [(x, y) for x, y, genuine in source.pairs(0) if not genuine]
    assert negative_pairs and all(x.identity != y.identity for x, y in negative_pairs)
    assert any(x.kind and x.kind == y.kind for x, y in negative_pairs)


def test_damaged_cutout_is_named(tmp_path: Path) -> None:
    stills(tmp_path / "stills")
    cv2.imwrite(str(tmp_path / "stills" / "cutouts" / "cup-0.png"), np.zeros((20, 20, 3), np.uint8))
    data = DataConfig(root=str(tmp_path), scenery="stills/photos", sources=[{"kind": "paste", "path": "stills"}])
    mixture = build_mixture(data, ModelConfig(template_size=65, search_size=129))
    with pytest.raises(DataError, match=r"cup-0\.png has no alpha channel"):
        for k in range(40):
            mixture.sample(np.random.default_rng(k))
