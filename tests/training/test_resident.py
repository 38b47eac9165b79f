"""Data that lies on the device: the same pairs as from the cache, and moves that agree with OpenCV's."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from tests.tracking.standin import ground
from tracker.errors import ConfigError
from tracker.training.data.batch import PairBatch
from tracker.training.data.device_moves import DeviceMoves, drawn, move_boxes, move_pictures
from tracker.training.data.loader import batches, to_device
from tracker.training.data.pairs import SamplePairs
from tracker.training.data.resident import ResidentPairs, bytes_of, is_resident
from tracker.training.data.sampling import PairConfig
from tracker.training.data.shards import MemorySamples

CPU = torch.device("cpu")


def pictures(samples: int, seed: int, dtype: type = np.uint8, taught: bool = False) -> MemorySamples:
    rng = np.random.default_rng(seed)
    labels: dict[str, np.ndarray] = {
        "targets": rng.uniform(10, 20, (samples, 2, 2)).astype(np.float32),
        "boxes": rng.uniform(5, 25, (samples, 3, 4)).astype(np.float32),
        "tracks": np.arange(samples) + 100 * seed,
        "kinds": np.zeros(samples, np.int64),
        "present": rng.random((samples, 3)) < 0.8,
    }
    features: dict[str, np.ndarray] = {
        name: rng.integers(0, 256, (samples, views, 3, side, side)).astype(dtype)
        for name, views, side in (("templates", 2, 17), ("searches", 3, 33))
    }
    if taught:
        features["wanted"] = rng.normal(size=(samples, 3, 4, 5, 5)).astype(np.float16)
    return MemorySamples(labels, features)


def same(one: PairBatch, other: PairBatch) -> None:
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, torch.Tensor):
            assert a.dtype == b.dtype and torch.equal(a, b), field.name
        else:
            assert a == b, field.name


@pytest.mark.parametrize(("dtype", "start", "taught"), [(np.uint8, 0, False), (np.float16, 6, True)])
def test_resident_pairs_are_those_of_the_cache_bit_for_bit(dtype: type, start: int, taught: bool) -> None:
    parts = [pictures(5, 1, dtype, taught), pictures(3, 2, dtype, taught)]
    config = PairConfig(negative_pairs=0.4, box_jitter=0.15)
    cached = SamplePairs(parts, config, 8, 3, start)
    resident = ResidentPairs(parts, config, 8, 3, start, CPU)
    for step, rank, world in ((0, 0, 1), (7, 0, 2), (7, 1, 2)):
        same(cached.batch(step, rank, world), resident.batch(step, rank, world))
    assert cached.batch(0, 0, 1).search.dtype == getattr(torch, np.dtype(dtype).name)
    moved = to_device(cached.batch(0, 0, 1), CPU, channels_last=True)
    assert moved.search.dtype == torch.float32
    assert torch.equal(moved.search, cached.batch(0, 0, 1).search.float())
    for (step, batch), workers in zip(batches(resident, 4, 6, 2, "process", 2), (0, 0), strict=True):
        same(batch, cached.batch(step, workers, 1))  # type: ignore[arg-type]


def test_when_data_lie_on_the_device() -> None:
    parts = [pictures(5, 1)]
    assert bytes_of(parts) == 5 * (2 * 3 * 17 * 17 + 3 * 3 * 33 * 33)
    assert not is_resident(PairConfig(), parts, CPU)  # on a CPU nothing is gained
    assert is_resident(PairConfig(resident="on"), parts, CPU)
    assert not is_resident(PairConfig(resident="off"), parts, torch.device("cuda"))


@pytest.mark.parametrize(("turn", "shift", "scale"), [(0, (0, 0), 1), (25, (6, -9), 1.2), (-170, (0, 4), 0.8)])
def test_moves_agree_with_opencv(turn: float, shift: tuple[float, float], scale: float) -> None:
    size = 97
    picture = cv2.GaussianBlur(ground(size, size), (0, 0), 2)
    angle = np.radians(turn)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, size / 2 - 0.5)  # where pixel indices have the picture's centre
    matrix = np.column_stack([linear, middle + shift - linear @ middle])
    fill = picture.reshape(-1, 3).mean(0)
    want = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=tuple(fill))
    values = (torch.tensor([angle]), torch.tensor([shift]).float(), torch.tensor([float(scale)]))
    tensor = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float()
    got = move_pictures(tensor, values[0].float(), values[1], values[2])[0].permute(1, 2, 0).numpy()
    inside = cv2.warpAffine(np.full((size, size), 255, np.uint8), matrix, (size, size)) == 255  # not at the edge
    assert np.abs(got - want)[inside].max() < 2.0

    boxes = torch.tensor([[30.0, 40.0, 60.0, 52.0]])
    moved = move_boxes(boxes, values[0].float(), values[1], values[2], size)[0].numpy()
    # The box of the ellipse in it, drawn and moved as the picture is.
    mask = np.zeros((size, size), np.uint8)
    cv2.ellipse(mask, ((44.5, 45.5), (30.0, 12.0), 0.0), 255, -1)
    rows, columns = np.nonzero(cv2.warpAffine(mask, matrix, (size, size)) > 127)
    drawn_box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(moved - drawn_box).max() < 1.6


def test_moves_are_a_function_of_the_step_and_shared_out() -> None:
    parts = [pictures(6, 1)]
    config = PairConfig(moves=DeviceMoves(turn=20, shift=4, scale=0.1, light=0.2))
    source = ResidentPairs(parts, config, 8, 0, 0, CPU)
    whole = source.batch(3, 0, 1)
    halves = [source.batch(3, rank, 2) for rank in (0, 1)]
    for name in ("template", "search", "box"):
        torch.testing.assert_close(torch.cat([getattr(h, name) for h in halves]), getattr(whole, name))
    assert not torch.equal(whole.search, source.batch(4, 0, 1).search)
    values = drawn(config.moves, 0, 3, range(2000))
    assert np.abs(values[:, 0]).max() <= np.radians(20) and np.abs(values[:, 1:3]).max() <= 4
    assert np.log(values[:, 3]).std() == pytest.approx(0.1, abs=0.02)


def test_features_are_not_moved() -> None:
    config = PairConfig(moves=DeviceMoves(turn=20))
    with pytest.raises(ConfigError, match=r"holds features \(train.data.cache.stage=6\)"):
        ResidentPairs([pictures(4, 1, np.float16)], config, 4, 0, 6, CPU)
