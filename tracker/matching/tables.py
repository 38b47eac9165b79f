"""Pairs and triplets from csv files, of images or texts."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import ConfigError, SourceError
from tracker.matching.config import InputConfig
from tracker.matching.inputs import ImageSample

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";"}
Item = ImageSample | str


@dataclass(frozen=True)
class Pairs:
    """Pairs with their similarity scores.

    Attributes:
        first, second: The items of the pairs.
        score: (N,) in [0, 1]; only 0 and 1 if the file has labels.
        names: For each pair its identity: pairs that share an image or text, directly or through a chain, have the
            same.
    """

    first: list[Item]
    second: list[Item]
    score: NDArray[np.float32]
    names: list[str]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def binary(self) -> bool:
        """Whether every score is a label."""
        return bool(np.isin(self.score, (0.0, 1.0)).all())

    def take(self, chosen: Sequence[int]) -> Pairs:
        """A subset of the pairs."""
        rows = np.asarray(chosen, dtype=np.intp)
        return Pairs(
            [self.first[k] for k in chosen],
            [self.second[k] for k in chosen],
            self.score[rows],
            [self.names[k] for k in chosen],
        )


@dataclass(frozen=True)
class Triplets:
    """Anchor, positive (the same) and negative (different). `names` as in `Pairs`."""

    anchor: list[Item]
    positive: list[Item]
    negative: list[Item]
    names: list[str]

    def __len__(self) -> int:
        return len(self.anchor)

    def take(self, chosen: Sequence[int]) -> Triplets:
        """A subset of the triplets."""
        anchor, positive, negative = ([part[k] for k in chosen] for part in (self.anchor, self.positive, self.negative))
        return Triplets(anchor, positive, negative, [self.names[k] for k in chosen])


def read_pairs(
    path: Path, columns: Mapping[str, Any], delimiter: str, encoding: str, scale: float, given: InputConfig
) -> Pairs:
    """Pairs from a csv file.

    Args:
        path: The file; image paths are relative to its folder.
        columns: Columns of `a`, `b` and `label` or `score`: names or numbers; by default the header has these names.
        delimiter: comma, tab or semicolon.
        encoding: Encoding of the file.
        scale: Divisor of scores.
        given: The encoder's input: images or texts.

    Raises:
        SourceError: The file, a column, a value or an image is missing or can't be read; the sentence names the line.
    """
    what = "score" if "score" in columns else "label" if "label" in columns else ""
    wanted = ["a", "b", what or ("label", "score")]
    rows = _rows(path, columns, wanted, delimiter, encoding)
    items = _item(path, given)
    first, second, scores = [], [], []
    for line, (a, b, text) in rows:
        first.append(items(a, line))
        second.append(items(b, line))
        try:
            value = float(text) / scale
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise SourceError(
                f"{path}, line {line}: the score {text!r} is not a number from 0 to {scale:g}; correct it, or set the "
                "source's scale."
            )
        scores.append(value)
    return Pairs(first, second, np.array(scores, np.float32), _identities([first, second]))


def read_triplets(
    path: Path, columns: Mapping[str, Any], delimiter: str, encoding: str, scale: float, given: InputConfig
) -> Triplets:
    """Triplets from a csv file with the columns anchor, positive, negative; otherwise as `read_pairs`."""
    rows = _rows(path, columns, ["anchor", "positive", "negative"], delimiter, encoding)
    items = _item(path, given)
    parts: list[list[Item]] = [[], [], []]
    for line, texts in rows:
        for part, text in zip(parts, texts, strict=True):
            part.append(items(text, line))
    return Triplets(parts[0], parts[1], parts[2], _identities(parts))


def _rows(
    path: Path, columns: Mapping[str, Any], wanted: Sequence[str | tuple[str, ...]], delimiter: str, encoding: str
) -> list[tuple[int, list[str]]]:
    """(line number, values of the wanted columns) of each non-empty line."""
    if delimiter not in DELIMITERS:
        raise ConfigError(f"The delimiter {delimiter!r} is unknown; there are {', '.join(DELIMITERS)}.")
    if not path.is_file():
        raise SourceError(f"The list {path} does not exist; set data.root and the path of the source.")
    try:
        text = path.read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"The list {path} is not {encoding} text (byte {error.start}); say which encoding it has, for example "
            "encoding: latin-1 or utf-16, or save it as UTF-8."
        ) from None
    except LookupError:
        raise ConfigError(f"The encoding {encoding!r} is unknown; utf-8, latin-1 and utf-16 are common ones.") from None
    # In tab-separated texts quotes are plain characters (STS Benchmark); in comma files they protect commas.
    lined, mark = text.lstrip("\ufeff").splitlines(keepends=True), DELIMITERS[delimiter]
    quoting = {"quoting": csv.QUOTE_NONE} if delimiter == "tab" else {}
    reader = csv.reader(lined, delimiter=mark, **quoting)  # type: ignore[arg-type]
    try:
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise SourceError(f"The list {path}, line {reader.line_num}: {error}.") from None
    if not lines:
        raise SourceError(f"The list {path} is empty.")
    numbers: list[int] = []
    if columns and all(isinstance(value, int) for value in columns.values()):
        numbers = [
            int(columns[name if isinstance(name, str) else next(n for n in name if n in columns)]) for name in wanted
        ]
    else:
        header = [cell.strip() for cell in lines.pop(0)[1]]
        for name in wanted:
            options = [str(columns.get(n, n)) for n in ([name] if isinstance(name, str) else name)]
            found = next((header.index(option) for option in options if option in header), None)
            if found is None:
                raise SourceError(
                    f"The list {path} has no column {' or '.join(options)} (it has {', '.join(header)[:120]}); "
                    "name the columns in its first line, or set the source's columns."
                )
            numbers.append(found)
    out = []
    for line, row in lines:
        if len(row) <= max(numbers):
            raise SourceError(f"{path}, line {line}: {len(row)} columns, and column {max(numbers)} (from 0) is needed.")
        out.append((line, [row[k].strip() for k in numbers]))
    if not out:
        raise SourceError(f"The list {path} has a header and no lines.")
    return out


def _item(path: Path, given: InputConfig) -> Callable[[str, int], Item]:
    """Converts a cell to a text, or to an existing image."""

    def read(cell: str, line: int) -> Item:
        if given.modality == "text":
            if not cell:
                raise SourceError(f"{path}, line {line}: a text is empty; leave the line out.")
            return cell
        file = Path(cell) if Path(cell).is_absolute() else path.parent / cell
        if not file.is_file():
            raise SourceError(
                f"{path}, line {line}: the picture {file} does not exist; correct the line or leave it out."
            )
        return ImageSample(file)

    return read


def _identities(parts: Sequence[Sequence[Item]]) -> list[str]:
    """For each row the name of its connected component: rows that share an item belong together."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for row in zip(*parts, strict=True):
        keys = sorted(root(str(item)) for item in row)
        for key in keys[1:]:
            parent[root(key)] = root(keys[0])
    return [root(str(row[0])) for row in zip(*parts, strict=True)]
