"""Energies: the similarity of a template and each window of a search region. Higher is more similar.

    window(z, x): a template slides over the search, valid positions only: (B, C, h, w) x (B, C, H, W) -> (B, 1, H-h+1,
                  W-w+1).
                  K templates against one search: (K, C, h, w) x (1, C, H, W) -> (K, 1, H-h+1, W-w+1).
    cells(z, x):  each single cell of the template against each cell of the search: -> (B, h*w, H, W), row-major cells.

`weight` (B or K, 1, h, w) in [0, 1] says how much each template cell counts (for instance its share of the target).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.errors import ConfigError

EPS = 1e-6


def slide(z: Tensor, x: Tensor) -> Tensor:
    """Dot products of templates with every window of their search: one grouped convolution for the whole batch."""
    if x.shape[0] == 1:
        return F.conv2d(x, z).transpose(0, 1)
    if x.shape[0] != z.shape[0]:
        raise ValueError(
            f"{z.shape[0]} templates can't meet {x.shape[0]} searches: give as many of both, or one search"
        )
    batch, channels, height, width = x.shape
    out = F.conv2d(x.reshape(1, batch * channels, height, width), z, groups=batch)
    return out.transpose(0, 1)


class Energy(nn.Module):
    """A similarity function; the module's docstring gives the shapes."""

    def window(self, z: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        raise TypeError(f"{type(self).__name__} has no window energy")

    def cells(self, z: Tensor, x: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} has no cell energy")

    def forward(self, z: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        return self.window(z, x, weight)

    @staticmethod
    def _weight(z: Tensor, weight: Tensor | None) -> Tensor:
        return torch.ones_like(z[:, :1]) if weight is None else weight

    @staticmethod
    def _dots(z: Tensor, x: Tensor) -> Tensor:
        """(B, h*w, H, W) dot products of cells; one search may serve K templates."""
        batch = max(z.shape[0], x.shape[0])
        flat = z.flatten(2).transpose(1, 2)  # (B, h*w, C)
        return torch.matmul(flat, x.flatten(2)).reshape(batch, -1, x.shape[2], x.shape[3])


class DotProduct(Energy):
    """Sum of products: the cross-correlation of SiamFC (Bertinetto et al. 2016, equation 2, without the bias)."""

    def window(self, z: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        return slide(z if weight is None else z * weight, x)

    def cells(self, z: Tensor, x: Tensor) -> Tensor:
        return self._dots(z, x)


class Cosine(Energy):
    """Cosine of the angle between template and window, in [-1, 1]: normalised cross-correlation without mean
    removal."""

    def window(self, z: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        w = self._weight(z, weight)
        dot = slide(z * w, x)
        norm_z = (z * z * w).sum((1, 2, 3), keepdim=True)
        norm_x = slide(w, (x * x).sum(1, keepdim=True))
        return dot / torch.sqrt(norm_z * norm_x.clamp_min(0) + EPS)

    def cells(self, z: Tensor, x: Tensor) -> Tensor:
        return self._dots(F.normalize(z, dim=1, eps=EPS), F.normalize(x, dim=1, eps=EPS))


class NegativeEuclidean(Energy):
    """Minus the squared Euclidean distance between template and window: 0 for equals, else below."""

    def window(self, z: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        w = self._weight(z, weight)
        norm_z = (z * z * w).sum((1, 2, 3), keepdim=True)
        norm_x = slide(w, (x * x).sum(1, keepdim=True))
        return 2 * slide(z * w, x) - norm_z - norm_x

    def cells(self, z: Tensor, x: Tensor) -> Tensor:
        norm_z = (z * z).sum(1).flatten(1)[:, :, None, None]
        norm_x = (x * x).sum(1, keepdim=True)
        return 2 * self._dots(z, x) - norm_z - norm_x


ENERGIES: dict[str, Callable[[], Energy]] = {"dot": DotProduct, "cosine": Cosine, "euclidean": NegativeEuclidean}


def build_energy(name: str) -> Energy:
    """The energy of that name.

    Raises:
        ConfigError: No such energy.
    """
    if name not in ENERGIES:
        raise ConfigError(f"The energy {name!r} is unknown; there are {', '.join(sorted(ENERGIES))}.")
    return ENERGIES[name]()
