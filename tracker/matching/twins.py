"""The two branches of a Siamese matcher: one shared encoder, so that gradients add, or two encoders into a shared
space."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.matching.config import MatchModel
from tracker.matching.encoders import build_encoder
from tracker.model.energies import Energy, build_energy

FIRST, SECOND = 0, 1


class Twins(nn.Module):
    """f(a) and g(b) in one embedding space; g is f, the same module, unless the model names a second encoder.

    Shared weights (Bromley et al. 1993): both branches call one module, so the gradient of its weights is the sum over
    both branches, and swapping the inputs changes nothing. If the modalities differ too much for one encoder, `second`
    names another one; then only the embedding space is shared, and a similarity depends on the order of its inputs.

    Args:
        model: Encoders, input and energy.
    """

    def __init__(self, model: MatchModel) -> None:
        super().__init__()
        self.config = model
        self.encoder = build_encoder(model.encoder, model.input)
        self.other = None if model.tied else build_encoder(model.second, model.input)

    @property
    def tied(self) -> bool:
        """Whether both branches share their weights."""
        return self.other is None

    def side(self, number: int) -> nn.Module:
        """The encoder of side 0 or 1."""
        return self.encoder if number == FIRST or self.other is None else self.other

    @torch.no_grad()
    def embed(self, x: Tensor, side: int = FIRST) -> Tensor:
        """(B, ...) -> (B, D) for inference, in evaluation mode: including the mirror image if the input settings say
        so."""
        encoder = self.side(side)
        vectors = encoder(x).float()
        if not self.config.input.mirror or self.config.input.modality != "image":
            return vectors
        return F.normalize(vectors, dim=1) + F.normalize(encoder(x.flip(3)).float(), dim=1)

    def forward(self, first: Tensor, second: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Embeddings of both sides: (B, D) and (B', D), or None without a second side.

        With shared weights both sides are one batch, so that BatchNorm has the same statistics for both.
        """
        if second is None:
            return self.encoder(first), None
        if self.other is not None:
            return self.encoder(first), self.other(second)
        if first.shape[1:] != second.shape[1:]:
            return self.encoder(first), self.encoder(second)
        both = self.encoder(torch.cat([first, second]))
        return both[: len(first)], both[len(first) :]

    def forward_map(self, x: Tensor, side: int = FIRST) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w), to correlate templates with search images.

        Raises:
            ConfigError: The encoder has no maps.
        """
        encoder = self.side(side)
        if not getattr(encoder, "maps", False):
            raise ConfigError(
                f"The encoder {self.config.encoder.name!r} gives one vector for its input, no map; take cnn or "
                "backbone."
            )
        return cast(Tensor, encoder.forward_map(x))  # type: ignore[operator]


def pairwise(a: Tensor, b: Tensor, energy: Energy | str = "cosine") -> Tensor:
    """The energies of all pairs, by the tracker's own formulas: an embedding is a map of one cell.

    Args:
        a: (K, D).
        b: (M, D).
        energy: cosine, euclidean (minus the squared distance) or dot.

    Returns:
        (K, M), higher is more alike.
    """
    compare = build_energy(energy) if isinstance(energy, str) else energy
    return compare.cells(a.t()[None, :, :, None], b.t()[None, :, None, :])[0, :, 0]
