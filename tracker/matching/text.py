"""Texts as integers, and their encoder: each token is a word (or a character) and its character n-grams, hashed into
one table; a recurrent network over the tokens embeds a text.

No vocabulary is stored: the hash is fixed (CRC-32), so that an unseen word still shares n-grams with words seen in
training (Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information").
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.errors import ConfigError, SiamTrackError
from tracker.matching.config import InputConfig
from tracker.matching.foreign import register_encoder

WORD = re.compile(r"\w+|[^\w\s]", re.UNICODE)
PAD = 0


class TextError(SiamTrackError, ValueError):
    """A text that can't be embedded."""


def tokens(text: str, unit: str = "word") -> list[str]:
    """The tokens of a text: lower-case words and punctuation marks, or characters.

    Args:
        text: Any text; compatibility forms and accents are unified (NFKC), case is ignored.
        unit: word or char.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().strip()
    return WORD.findall(plain) if unit == "word" else list(re.sub(r"\s+", " ", plain))


def bucket(text: str, buckets: int) -> int:
    """The row of a word or n-gram in a table of `buckets` rows, in 1..buckets - 1 (row 0 is padding)."""
    return 1 + zlib.crc32(text.encode()) % (buckets - 1)


def pieces(token: str, config: InputConfig) -> list[int]:
    """Table rows of one token: its own, then those of its n-grams."""
    low, high = config.grams
    rows = [bucket(f"w:{token}", config.buckets)]
    if config.unit == "word" and high >= low > 0 and len(token) > 1:
        marked = f"<{token}>"
        grams = [marked[i : i + n] for n in range(low, high + 1) for i in range(len(marked) - n + 1)]
        rows += [bucket(f"g:{gram}", config.buckets) for gram in grams[: config.gram_limit]]
    return rows


def encode_texts(texts: Sequence[str], config: InputConfig) -> Tensor:
    """Texts -> (B, T, G) int64: table rows of each token, padded with 0.

    Raises:
        TextError: Something that is not a text, or a text without a token.
    """
    coded = []
    for k, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError(f"Text {k} is a {type(text).__name__}, not a str; give a list of texts.")
        rows = [pieces(token, config) for token in tokens(text, config.unit)[: config.max_tokens]]
        if not rows:
            raise TextError(f"Text {k} is empty ({text[:40]!r}); there is nothing to compare. Leave it out.")
        coded.append(rows)
    length = max((len(rows) for rows in coded), default=1)
    width = max((len(piece) for rows in coded for piece in rows), default=1)
    out = torch.full((len(coded), length, width), PAD, dtype=torch.int64)
    for b, rows in enumerate(coded):
        for t, piece in enumerate(rows):
            out[b, t, : len(piece)] = torch.tensor(piece)
    return out


@register_encoder("lstm")
class LSTMEncoder(nn.Module):
    """A bidirectional LSTM over tokens; a token is the mean of the table rows of its word and n-grams.

    Siamese LSTMs for sentences: Mueller and Thyagarajan 2016; max pooling over time: Conneau et al. 2017, "InferSent".

    Args:
        input: Tokenisation settings.
        width: Width of a table row.
        hidden: Hidden size of the LSTM, per direction.
        layers: Layers of the LSTM.
        pool: max, mean or both, over the tokens.
        skip: Whether the mean of the token vectors, each with a learnt weight, is appended to the output of the LSTM.
        dropout: Dropout on the token vectors and on the result.
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
