"""Energies against naive loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tracker.errors import ConfigError
from tracker.model.energies import ENERGIES, EPS, build_energy

NAMES = sorted(ENERGIES)


def naive(name: str, z: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(C, h, w) against (C, H, W), weights (h, w): every product in a python loop."""
    c, h, wide = z.shape
    out = np.zeros((x.shape[1] - h + 1, x.shape[2] - wide + 1))
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            dot = zz = xx = 0.0
            for i in range(h):
                for j in range(wide):
                    for k in range(c):
                        a, b = float(z[k, i, j]), float(x[k, row + i, column + j])
                        dot, zz, xx = dot + w[i, j] * a * b, zz + w[i, j] * a * a, xx + w[i, j] * b * b
            out[row, column] = {"dot": dot, "cosine": dot / np.sqrt(zz * xx + EPS), "euclidean": 2 * dot - zz - xx}[
                name
            ]
    return out


def pictures(seed: int, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(batch, 3, 2, 3, generator=rng)
    x = torch.randn(batch, 3, 5, 6, generator=rng)
    return z, x, torch.rand(batch, 1, 2, 3, generator=rng)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_window_is_the_naive_loop(name: str, weighted: bool) -> None:
    z, x, w = pictures(0, 3)
    got = build_energy(name).window(z, x, w if weighted else None)
    assert got.shape == (3, 1, 4, 4)
    for k in range(3):
        weight = w[k, 0].numpy() if weighted else np.ones((2, 3))
        assert np.allclose(
            got[k, 0].numpy(), naive(name, z[k].double().numpy(), x[k].double().numpy(), weight), atol=1e-4
        )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_many_templates_meet_one_search(name: str, weighted: bool) -> None:
    z, x, w = pictures(1, 4)
    energy = build_energy(name)
    weight = w if weighted else None
    one = energy.window(z, x[:1], weight)
    assert one.shape == (4, 1, 4, 4)
    assert torch.allclose(one, energy.window(z, x[:1].expand(4, -1, -1, -1).contiguous(), weight), atol=1e-5)
    assert torch.allclose(energy.cells(z, x[:1]), energy.cells(z, x[:1].expand(4, -1, -1, -1)), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_windows_of_single_cells(name: str) -> None:
    z, x, _ = pictures(2, 2)
    energy = build_energy(name)
    cells = energy.cells(z, x)
    assert cells.shape == (2, 6, 5, 6)
    for k in range(6):
        single = energy.window(z[:, :, k // 3 : k // 3 + 1, k % 3 : k % 3 + 1], x)
        assert torch.allclose(cells[:, k : k + 1], single, atol=1e-3)


def test_cosine_is_bounded_and_finds_itself() -> None:
    x = torch.randn(1, 4, 9, 9, generator=torch.Generator().manual_seed(3))
    z = x[:, :, 3:6, 2:5].contiguous()
    response = build_energy("cosine").window(z, 5 * x)
    assert response.abs().max() <= 1 + 1e-5
    assert divmod(int(response.argmax()), 7) == (3, 2)
    assert float(build_energy("euclidean").window(z, x).max()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_black_pictures_stay_finite(name: str) -> None:
    zero = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 5, 5)
    assert torch.isfinite(build_energy(name).window(*zero)).all()
    assert torch.isfinite(build_energy(name).cells(*zero)).all()


def test_batches_that_do_not_fit_say_so() -> None:
    with pytest.raises(ValueError, match="3 templates can't meet 2 searches"):
        build_energy("dot").window(torch.ones(3, 1, 1, 1), torch.ones(2, 1, 2, 2))


def test_an_unknown_energy_gets_a_sentence() -> None:
    with pytest.raises(ConfigError, match="cosine"):
        build_energy("cosin")
