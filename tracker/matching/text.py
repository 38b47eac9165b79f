"""Texts as integers: each token is a word (or a character) and its character n-grams, hashed into one table.

No vocabulary is stored: the hash is fixed (CRC-32), so that a word of a test that was never trained still shares its
n-grams with words that were (Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information").
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from tracker.errors import SiamTrackError
from tracker.matching.config import InputConfig

WORD = re.compile(r"\w+|[^\w\s]", re.UNICODE)
PAD = 0


class TextError(SiamTrackError, ValueError):
    """A text that can't be embedded."""


def tokens(text: str, unit: str = "word") -> list[str]:
    """The tokens of a text: lower-case words and punctuation marks, or characters.

    Args:
        text: Any; compatibility forms and accents are unified (NFKC), case is dropped.
        unit: word or char.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().strip()
    return WORD.findall(plain) if unit == "word" else list(re.sub(r"\s+", " ", plain))


def bucket(text: str, buckets: int) -> int:
    """The row of a word or n-gram in a table of `buckets` rows, in 1..buckets - 1 (row 0 is padding)."""
    return 1 + zlib.crc32(text.encode()) % (buckets - 1)


def pieces(token: str, config: InputConfig) -> list[int]:
    """Rows of one token: its own, then those of its n-grams."""
    low, high = config.grams
    rows = [bucket(f"w:{token}", config.buckets)]
    if config.unit == "word" and high >= low > 0 and len(token) > 1:
        marked = f"<{token}>"
        grams = [marked[i : i + n] for n in range(low, high + 1) for i in range(len(marked) - n + 1)]
        rows += [bucket(f"g:{gram}", config.buckets) for gram in grams[: config.gram_limit]]
    return rows


def encode_texts(texts: Sequence[str], config: InputConfig) -> Tensor:
    """Texts -> (B, T, G) int64: rows of the table for each token, padded with 0.

    Raises:
        TextError: Something that is no text, or a text without a token.
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
