"""The encoder of texts: a recurrent net over hashed tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.matching.config import InputConfig
from tracker.matching.foreign import register_encoder


@register_encoder("lstm")
class LSTMEncoder(nn.Module):
    """A bidirectional LSTM over tokens; a token is the mean of its word's and its n-grams' rows.

    Siamese LSTMs for sentences: Mueller and Thyagarajan 2016; maximum over time: Conneau et al. 2017, "InferSent".

    Args:
        input: How tokens are made.
        width: Of a row of the table.
        hidden: Of the LSTM, each direction.
        layers: Of the LSTM.
        pool: max, mean or both, over the tokens.
        skip: Whether the mean of the token vectors, each with a learnt weight, is appended to what the LSTM gives.
        dropout: On the token vectors and on the result.
    """

    maps = False

    def __init__(
        self,
        input: InputConfig,  # noqa: A002
        width: int = 200,
        hidden: int = 128,
        layers: int = 1,
        pool: str = "max",
        skip: bool = True,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if pool not in ("max", "mean", "both"):
            raise ConfigError(f"The encoder 'lstm' has no pool {pool!r}; there are max, mean and both.")
        self.table = nn.Embedding(input.buckets, width, padding_idx=0)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        with torch.no_grad():
            self.table.weight[0] = 0
        self.weigh = nn.Linear(width, 1)
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, bidirectional=True)
        self.dropout, self.pool, self.skip = nn.Dropout(dropout), pool, skip
        self.out_dim = 2 * hidden * (2 if pool == "both" else 1) + (width if skip else 0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, G) int64 rows, 0 is padding -> (B, D)."""
        there = (x != 0).sum(2, keepdim=True)
        vectors = self.table(x).sum(2) / there.clamp(min=1).sqrt()
        mask = (there > 0).float()
        lengths = mask[..., 0].sum(1).clamp(min=1).long()
        dropped = self.dropout(vectors)
        packed = nn.utils.rnn.pack_padded_sequence(dropped, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        parts = []
        if self.pool in ("max", "both"):
            parts.append(states.masked_fill(mask == 0, -torch.inf).amax(1))
        if self.pool in ("mean", "both"):
            parts.append((states * mask).sum(1) / lengths[:, None])
        if self.skip:
            weight = 2 * torch.sigmoid(self.weigh(vectors)) * mask
            parts.append(F.normalize((dropped * weight).sum(1), dim=1) * (0.5 * states.shape[2]) ** 0.5)
        return self.dropout(torch.cat(parts, 1)) if not self.skip else torch.cat(parts, 1)
