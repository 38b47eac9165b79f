"""Losses and miners on embeddings: those of pytorch-metric-learning (Musgrave et al. 2020, MIT) under recipe names, one
for scores, and one for localising a template in a larger image.

The tracker's dense losses (`tracker.training.losses.metric`) work on response maps, where one template is compared with
hundreds of cells; in their embedding mode they agree with these. Here a batch is N vectors and their classes, for which
the library's losses are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.files import suggest
from tracker.matching.config import MatchConfig, PartConfig
from tracker.model.energies import build_energy

LOSSES = {
    "contrastive": "ContrastiveLoss",
    "triplet": "TripletMarginLoss",
    "angular": "AngularLoss",
    "circle": "CircleLoss",
    "multi-similarity": "MultiSimilarityLoss",
    "supcon": "SupConLoss",
    "ntxent": "NTXentLoss",
}
"""Recipe names -> classes of pytorch_metric_learning.losses."""
SCORE_LOSSES = ("ranking", "regression")
"""Losses for pairs with a score between 0 and 1."""
PLACING = "placing"
"""The loss for localising templates in larger images; it needs aligned images."""
MINERS: dict[str, tuple[str, dict[str, Any]]] = {
    "semi-hard": ("TripletMarginMiner", {"margin": 0.2, "type_of_triplets": "semihard"}),
    "hard": ("TripletMarginMiner", {"margin": 0.2, "type_of_triplets": "hard"}),
    "hardest": ("BatchHardMiner", {}),
    "multi-similarity": ("MultiSimilarityMiner", {"epsilon": 0.1}),
    "pair-margin": ("PairMarginMiner", {}),
}
PAIRWISE = ("contrastive", "multi-similarity", "circle", "supcon", "ntxent")
UNIT_ONLY = ("angular", "circle", "multi-similarity", "supcon", "ntxent")
"""Losses defined for unit vectors."""


def library() -> Any:
    """The package pytorch_metric_learning.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import pytorch_metric_learning.distances
        import pytorch_metric_learning.losses
        import pytorch_metric_learning.miners
    except ImportError as error:
        raise ConfigError(
            f"Training a matcher needs the package pytorch-metric-learning ({error}); run: pip install "
            "'siamtrack[match]'"
        ) from None
    return pytorch_metric_learning


def _distance(energy: str) -> Any:
    """The library's distance for an energy: on unit vectors for cosine, on raw ones for euclidean and dot."""
    kinds = library().distances
    if energy == "cosine":
        return kinds.LpDistance(normalize_embeddings=True, p=2, power=1)
    if energy == "euclidean":
        return kinds.LpDistance(normalize_embeddings=False, p=2, power=1)
    return kinds.DotProductSimilarity(normalize_embeddings=False)


def build_loss(name: str, options: Mapping[str, Any], energy: str) -> Any:
    """Builds a loss on N embeddings and their classes.

    Args:
        name: One of `LOSSES`.
        options: Arguments of its class.
        energy: The similarity; contrastive and triplet use it, the others are defined for unit vectors and require
            cosine.

    Raises:
        ConfigError: Unknown, an unknown option, or incompatible with the energy.
    """
    if name in SCORE_LOSSES:
        return ScoreLoss(name, **_checked(name, options, {"scale": 20.0}))
    if name not in LOSSES:
        known = [*LOSSES, *SCORE_LOSSES]
        raise ConfigError(f"The loss {name!r} is unknown; there are {', '.join(known)}.{suggest(name, known)}")
    if name in UNIT_ONLY and energy != "cosine":
        raise ConfigError(
            f"The loss {name!r} is made for unit vectors; set model.energy=cosine, or take contrastive or triplet."
        )
    extra = {} if name in UNIT_ONLY else {"distance": _distance(energy)}
    return _make(getattr(library().losses, LOSSES[name]), name, {**options, **extra})


def build_miner(part: PartConfig, energy: str) -> Any:
    """Builds the selection of pairs or triplets, or None for all of them.

    Raises:
        ConfigError: Unknown, or an unknown option.
    """
    if not part.name:
        return None
    if part.name not in MINERS:
        raise ConfigError(
            f"The miner {part.name!r} is unknown; there are {', '.join(MINERS)}.{suggest(part.name, MINERS)}"
        )
    kind, defaults = MINERS[part.name]
    extra = {} if part.name == "multi-similarity" else {"distance": _distance(energy)}
    return _make(getattr(library().miners, kind), part.name, {**defaults, **part.options, **extra})


def with_memory(loss: Any, size: int, width: int, miner: Any) -> Any:
    """A loss that also compares with the embeddings of earlier batches (Wang et al. 2020, "Cross-Batch Memory").

    Args:
        loss: From `build_loss`.
        size: Number of stored embeddings.
        width: D.
        miner: From `build_miner`.

    Raises:
        ConfigError: The loss doesn't support it.
    """
    kind = library().losses.CrossBatchMemory
    if type(loss).__name__ not in kind.supported_losses():
        raise ConfigError(f"The loss {type(loss).__name__} has no use for a memory; set loss.memory=0.")
    return kind(loss, embedding_size=width, memory_size=size, miner=miner)


def _make(kind: Any, name: str, options: Mapping[str, Any]) -> Any:
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name!r} can't be built from {dict(options)}: {error}.") from None


def _checked(name: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    for option in options:
        if option not in known:
            raise ConfigError(f"The loss {name!r} has no option {option!r}; it has {', '.join(known)}.")
    return {**known, **options}


class ScoreLoss(nn.Module):
    """Compares similarities of pairs with their scores.

    ranking: log(1 + sum over pairs i, j with score_i > score_j of exp(scale (s_j - s_i))), which depends on the order
    alone (Su 2022, "CoSENT"); regression: mean of (s - score)^2.

    Args:
        kind: ranking or regression.
        scale: Scale of the differences of similarities.
    """

    def __init__(self, kind: str, scale: float = 20.0) -> None:
        super().__init__()
        self.kind, self.scale = kind, float(scale)

    def forward(self, similarity: Tensor, score: Tensor) -> Tensor:
        """(N,) similarities and (N,) scores in [0, 1] -> scalar."""
        if self.kind == "regression":
            return (similarity - score).square().mean()
        gap = self.scale * (similarity[:, None] - similarity[None])  # row j minus column i
        wrong = torch.where(score[:, None] < score[None], gap, torch.full_like(gap, -torch.inf))
        return torch.logsumexp(torch.cat([gap.new_zeros(1), wrong.flatten()]), 0)


class PlacingLoss(nn.Module):
    """-log of the part of softmax(energy / temperature), over all positions of the search image, that is near the true
    one.

    The dense form of NT-Xent (van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding",
    equation 4): the negatives are all other windows of the search image, so the hardest of them always contribute.
    Templates are parts of the first side's map on a regular grid, search images are the second side's maps.

    Args:
        energy: Similarity of a template and a window.
        stride: Pixels per cell.
        template: Side of the templates, pixels.
        spacing: Spacing of the templates' grid, pixels.
        near: Positions within this many pixels of the true one along both axes count as correct too.
        temperature: Temperature of the softmax.
        others: Whether the other scenes of a batch are used as negatives as well.

    Raises:
        ConfigError: Sizes that are not multiples of the stride.
    """

    def __init__(
        self,
        energy: str,
        stride: int,
        template: int = 96,
        spacing: int = 48,
        near: int = 8,
        temperature: float = 0.05,
        others: bool = False,
    ) -> None:
        super().__init__()
        if template < stride or spacing < stride or temperature <= 0 or near < 0:
            raise ConfigError(
                f"The loss 'placing' has template={template}, spacing={spacing}, near={near}, "
                f"temperature={temperature:g}; lengths are at least a cell ({stride} pixels), near and temperature are "
                "not negative."
            )
        self.energy = build_energy(energy)
        self.stride, self.cells, self.step = stride, template // stride, spacing // stride
        self.near, self.temperature, self.others = near // stride, temperature, others

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) maps of aligned images -> the loss, and the number of templates whose best position is wrong.

        Raises:
            ConfigError: The images are not larger than a template.
        """
        batch, _, height, width = first.shape
        n = self.cells
        rows, columns = height - n + 1, width - n + 1
        if rows < 2 or columns < 2:
            raise ConfigError(
                f"The loss 'placing' looks for templates of {n * self.stride} pixels in pictures of "
                f"{width * self.stride} x {height * self.stride}; set a larger crop, or smaller templates."
            )
        places = [(i, j) for i in range(0, rows, self.step) for j in range(0, columns, self.step)]
        right = torch.stack([self._around(i, j, rows, columns, first.device) for i, j in places])  # (K, rows * columns)
        losses, missed = [], []
        for b in range(batch):
            z = torch.stack([first[b, :, i : i + n, j : j + n] for i, j in places])
            own = self.energy.window(z, second[b : b + 1]).flatten(1) / self.temperature
            every = own
            if self.others and batch > 1:
                more = [
                    self.energy.window(z, second[k : k + 1]).flatten(1) / self.temperature
                    for k in range(batch)
                    if k != b
                ]
                every = torch.cat([own, *more], 1)
            losses.append(every.logsumexp(1) - own.masked_fill(~right, -torch.inf).logsumexp(1))
            missed.append(~right.gather(1, own.argmax(1, keepdim=True)))
        return torch.cat(losses).mean(), torch.cat(missed).sum()

    def _around(self, i: int, j: int, rows: int, columns: int, device: torch.device) -> Tensor:
        y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
        return ((y - i).abs().maximum((x - j).abs()) <= self.near).flatten()


def build_placing(config: MatchConfig, stride: int) -> PlacingLoss:
    """Builds the loss of a recipe.

    Args:
        config: The recipe.
        stride: Pixels per cell of its encoder's map.

    Raises:
        ConfigError: The encoder has no maps, there is a miner or a memory, or an option is unknown.
    """
    options = config.model.encoder.options
    if not stride or options.get("pool", "flatten") != "flatten" or options.get("dim", 1):
        raise ConfigError("The loss 'placing' compares maps; take the encoder cnn with pool: flatten and dim: 0.")
    if config.loss.miner.name or config.loss.memory:
        raise ConfigError(
            "The loss 'placing' has every place of the search as a negative; leave out loss.miner and loss.memory."
        )
    try:
        return PlacingLoss(config.model.energy, stride, **{"template": config.model.input.width, **config.loss.options})
    except TypeError as error:
        raise ConfigError(f"'placing' can't be built from {dict(config.loss.options)}: {error}.") from None
