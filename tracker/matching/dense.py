"""The loss of a template that is to be found in a larger picture: the right place against every other place of the
search."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.matching.config import MatchConfig
from tracker.model.energies import build_energy


class PlacingLoss(nn.Module):
    """-log of the share of softmax(energy / temperature) over all places of the search that lies around the right one.

    The dense form of NT-Xent (van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding",
    equation 4): the negatives are the windows that a search is really decided among, so the hardest of them always
    take part. Templates are parts of the first side's map on a regular grid, searches the second side's maps.

    Args:
        energy: What compares a template with a window.
        stride: Pixels of a cell.
        template: Side of the templates, pixels.
        spacing: Distance of the templates' corners, pixels.
        near: Places within so many pixels of the right one along both axes are right too.
        temperature: Of the softmax.
        others: Whether the searches of the other scenes of a batch are negatives as well.

    Raises:
        ConfigError: Sizes that are no multiples of the stride.
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
        """(B, C, h, w) maps of aligned pictures -> the loss, and the number of templates whose best place is wrong.

        Raises:
            ConfigError: The pictures are not larger than a template.
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
    """The loss of a recipe.

    Args:
        config: The recipe.
        stride: Pixels of a cell of its encoder's map.

    Raises:
        ConfigError: The encoder gives no maps, there is a miner or a memory, or an option is unknown.
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
