"""Online filters of many targets, stacked: the same answers as one at a time on the host."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.tracking.decode import Weighed
from tracker.tracking.filters import DeviceFilters, HostFilters
from tracker.tracking.observation import Maps
from tracker.tracking.online_filter import OnlineFilter


def embeddings(seed: int, count: int, channels: int = 12, cells: int = 9) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, channels, cells, cells)).astype(np.float32) + 0.5
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def fitted(seed: int) -> OnlineFilter:
    return OnlineFilter(embeddings(seed, 4), np.full((4, 2), 4.0), (2.0, 3.0), channels=6, rate=0.1, gap=1)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 11), st.integers(1, 3))
def test_filters_on_a_device_answer_and_learn_as_those_of_the_host(seed: int, count: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    ones, others = [[fitted(seed + k) for k in range(count)] for _ in range(2)]
    ones_or_none, others_or_none = [[*some[: count // 2], None, *some[count // 2 :]] for some in (ones, others)]
    host, device = HostFilters(), DeviceFilters("cpu")
    for frame in range(frames):
        maps = embeddings(seed + 7 * frame, count + 1)
        wanted, there = host.respond(ones_or_none, maps)
        got, also_there = device.respond(others_or_none, torch.from_numpy(maps))
        assert wanted is not None and got is not None and np.array_equal(there, also_there)
        np.testing.assert_allclose(got.numpy()[there], wanted[there], atol=2e-3)
        response = rng.random((count + 1, 9, 9)).astype(np.float32)
        weighed = [Weighed(r, r, r, r, r) for r in (response, torch.from_numpy(response))]
        for k in np.flatnonzero(rng.random(count + 1) < 0.7):
            place, extents = rng.uniform(2, 6, 2), rng.uniform(1, 4, 2)
            one, other, row = ones_or_none[k], others_or_none[k], int(k)
            if one is not None and other is not None:
                host.learn(one, Maps(weighed[0], maps, row, True), place, extents)
                device.learn(other, Maps(weighed[1], torch.from_numpy(maps), row, True), place, extents)
    for one, other in zip(ones, others, strict=True):
        arrays, same = one.to_arrays(), other.to_arrays()
        for name in arrays:
            np.testing.assert_allclose(same[name], arrays[name], atol=2e-3, err_msg=name)


def test_a_place_in_the_stack_is_given_again() -> None:
    device, maps = DeviceFilters("cpu"), torch.from_numpy(embeddings(0, 1))
    for k in range(20):
        one = fitted(k)
        device.respond([one], maps)
        del one
    assert len(device.state["taps"]) == 8


def test_a_filter_that_moves_keeps_what_it_has_learnt() -> None:
    one, maps = fitted(3), embeddings(5, 1)
    first, second = DeviceFilters("cpu"), DeviceFilters("cpu")
    first.respond([one], torch.from_numpy(maps))
    response = np.full((1, 9, 9), 0.3, np.float32)
    first.learn(one, Maps(Weighed(*[response] * 5), maps, 0, True), np.full(2, 4.0), np.full(2, 2.0))
    moved, _ = second.respond([one], maps)
    stayed, _ = first.respond([one], maps)
    assert moved is not None and stayed is not None
    np.testing.assert_allclose(moved, stayed, atol=1e-6)
    assert not np.allclose(moved, fitted(3).respond(maps[0]))
