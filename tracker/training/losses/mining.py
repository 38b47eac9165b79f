"""Hard example mining: the hardest cells of a map, the hardest pairs of a batch, negative pairs made within a batch."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from tracker.errors import ConfigError
from tracker.training import distributed
from tracker.training.data.batch import PairBatch


def hardest(values: Tensor, mask: Tensor, share: float) -> Tensor:
    """The True cells of a mask with the largest values, row by row (online hard example mining, Shrivastava et al.
    2016).

    Args:
        values: (B, ...) losses, without gradient.
        mask: (B, ...) bool, the candidate cells.
        share: In (0, 1]: fraction of each row's True cells to keep (rounded up).

    Returns:
        (B, ...) bool. Cells as hard as the last one kept are kept too.
    """
    flat, keep = values.flatten(1), mask.flatten(1)
    count = (keep.sum(1).double() * share).ceil().long().clamp(min=1)
    ranked = torch.where(keep, flat, torch.full_like(flat, -torch.inf)).sort(1, descending=True).values
    limit = ranked.gather(1, (count - 1)[:, None])
    return (keep & (flat >= limit)).view_as(mask)


class PairMining:
    """The weight of each pair, computed over the batch of all processes.

    Args:
        negative_pair_temperature: Negative pairs weigh exp(loss / temperature), scaled to a mean of 1: harder negative
            pairs weigh more. 0 turns it off.
        hard_share: Fraction in (0, 1] of all pairs that count: those with the largest loss (OHEM).
    """

    def __init__(self, negative_pair_temperature: float = 0.0, hard_share: float = 1.0) -> None:
        if negative_pair_temperature < 0:
            raise ConfigError(
                f"The negative pair temperature {negative_pair_temperature:g} is negative; 0 turns the weighting off."
            )
        if not 0 < hard_share <= 1:
            raise ConfigError(f"The share of hard pairs {hard_share:g} is not in (0, 1]; 1 keeps all.")
        self.negative_pair_temperature, self.hard_share = negative_pair_temperature, hard_share

    def weights(self, losses: Tensor, positive: Tensor) -> Tensor:
        """(B,) weights, without gradient.

        Args:
            losses: (B,) loss of each pair of this process, without gradient.
            positive: (B,) bool.
        """
        weight = torch.ones_like(losses)
        everywhere = distributed.gather(losses)
        if self.hard_share < 1:
            kept = hardest(everywhere[None], torch.ones_like(everywhere, dtype=torch.bool)[None], self.hard_share)[0]
            limit = torch.where(kept, everywhere, torch.full_like(everywhere, torch.inf)).amin()
            weight = (losses >= limit).to(losses.dtype)
        negative_pair = ~positive
        if self.negative_pair_temperature > 0:
            hard = everywhere[~distributed.gather(positive)]
            if hard.numel():
                # The largest exponent is subtracted before exp, or one bad pair would overflow.
                top = hard.amax()
                mean = torch.exp((hard - top) / self.negative_pair_temperature).mean()
                weight = torch.where(
                    negative_pair, weight * torch.exp((losses - top) / self.negative_pair_temperature) / mean, weight
                )
        return weight


def cross_negative_pairs(batch: PairBatch, share: float, step: int) -> PairBatch:
    """Turns some pairs of a batch into negative pairs: the template of one pair with the search of another.

    The template of pair i is combined with the search of pair i + k, where k is the smallest shift (counted from one
    that varies with the step) that gives another track; a pair without such a partner stays unchanged. Nothing is
    decoded for it.

    Args:
        batch: A frozen dataclass of tensors.
        share: In [0, 1]: fraction of the pairs (rounded down) to change.
        step: Number of the batch; determines which.

    Returns:
        A batch of the same size; changed pairs have positive False and the track and size of their template.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"The share of negative pairs made inside the batch, {share:g}, is not in [0, 1].")
    track = batch.track
    size = track.shape[0]
    count = int(size * share)
    if count == 0 or size < 2:
        return batch
    generator = torch.Generator().manual_seed(step)
    chosen = torch.randperm(size, generator=generator)[:count].tolist()
    first = int(torch.randint(1, size, (), generator=generator))
    source = list(range(size))
    positive = batch.positive.clone()
    for i in chosen:
        for k in range(size):
            j = (i + 1 + (first - 1 + k) % (size - 1)) % size
            if track[j] != track[i]:
                source[i] = j
                positive[i] = False
                break
    index = torch.tensor(source, device=track.device)
    target = batch.distillation_target
    turned = index != torch.arange(size, device=track.device)
    peer_score, peer_box = (
        None if said is None else said.masked_fill(turned.view(-1, *[1] * (said.ndim - 1)), torch.nan)
        for said in (batch.peer_score, batch.peer_box)
    )
    return dataclasses.replace(
        batch,
        search=batch.search[index],
        box=batch.box[index],
        positive=positive,
        distillation_target=None if target is None else target[index],
        peer_score=peer_score,
        peer_box=peer_box,
    )
