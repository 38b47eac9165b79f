"""Contact sheets of training data: samples of each source, and the pairs that the network will see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.files import write_atomic
from tracker.media.images import encode_image
from tracker.training.data.mixture import Mixture
from tracker.training.data.pairs import LivePairs
from tracker.training.data.samples import Sample
from tracker.types import Image

GREEN, RED, AMBER, WHITE, PAPER, INK = (
    (70, 200, 70),
    (60, 60, 235),
    (40, 170, 250),
    (255, 255, 255),
    (32, 32, 32),
    (225, 225, 225),
)
TILE = 160
"""Side of a search in pixels of the sheet; templates are drawn at the same scale."""
GAP, CAPTION, HEADING = 6, 18, 30


def source_sheet(mixture: Mixture, rows: int, seed: int) -> Image:
    """Some samples of each source: templates with the target's extent, searches with its box.

    Args:
        mixture: The recipe's sources.
        rows: Samples per source.
        seed: Random seed.

    Returns:
        BGR uint8 picture.
    """
    blocks: list[Image] = []
    total = sum(weight for _, weight, _ in mixture.parts)
    for number, (name, weight, maker) in enumerate(mixture.parts):
        samples = [maker.sample(np.random.default_rng([seed, number, k])) for k in range(rows)]
        strips = [_captioned(_sample_strip(g), g.label) for g in samples]
        half = -(-len(strips) // 2)
        columns = [_stack(strips[:half]), _stack(strips[half:])] if len(strips) > 1 else [_stack(strips)]
        blocks.append(_heading(f"{name}   {100 * weight / total:.0f} % of the samples", _side_by_side(columns)))
    return _stack(blocks)


def pair_sheet(source: LivePairs, count: int, columns: int = 4) -> Image:
    """Pairs of the first batches with their labels: green frame for a genuine pair, red for a negative pair.

    Args:
        source: Pairs made anew.
        count: Number of pairs.
        columns: Pairs per row.

    Returns:
        BGR uint8 picture.
    """
    tiles: list[Image] = []
    step = 0
    while len(tiles) < count:
        for a, b, genuine in source.pairs(step):
            text = a.label if a is b else f"{a.label} | {b.label}"
            why = "target" if genuine else f"NEGATIVE{_reason(a, b)}"
            tile = _side_by_side([_template(a, 0), _search(b, 0, GREEN if genuine else AMBER)])
            tile = _captioned(_captioned(tile, text), why, GREEN if genuine else RED)
            tiles.append(cv2.copyMakeBorder(tile, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=GREEN if genuine else RED))  # type: ignore[arg-type]
        step += 1
    tiles = tiles[:count]
    note = "green: the target's box; amber: the box of the other thing in a negative pair, which must not answer"
    rows = [_side_by_side(tiles[k : k + columns]) for k in range(0, count, columns)]
    return _heading(f"pairs as they are drawn   ({note})", _stack(rows))


def sheets_in_one(sheets: Sequence[Image]) -> Image:
    """Sheets of any width, one above the other."""
    width = max(sheet.shape[1] for sheet in sheets)
    framed = [cv2.copyMakeBorder(s, 4, 4, 4, 4 + width - s.shape[1], cv2.BORDER_CONSTANT, value=PAPER) for s in sheets]
    return np.concatenate(framed)


def _reason(a: Sample, b: Sample) -> str:
    return ", same frame" if a is b else ", same kind" if a.kind and a.kind == b.kind else ""


def _sample_strip(sample: Sample) -> Image:
    templates = [_template(sample, k) for k in range(len(sample.templates))]
    searches = [_search(sample, k, GREEN if sample.present[k] else AMBER) for k in range(len(sample.searches))]
    return _side_by_side([*templates, *searches])


def _template(sample: Sample, k: int) -> Image:
    """A template at the scale of the searches, on a tile of their height."""
    picture = sample.templates[k]
    scale = TILE / sample.searches[0].shape[0]
    side = round(picture.shape[0] * scale)
    tile = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    w, h = sample.targets[k] * scale
    _box(tile, (side / 2 - w / 2, side / 2 - h / 2, side / 2 + w / 2, side / 2 + h / 2), GREEN)  # type: ignore[arg-type]
    above = (TILE - side) // 2
    return cv2.copyMakeBorder(tile, above, TILE - side - above, 0, 0, cv2.BORDER_CONSTANT, value=PAPER)  # type: ignore[return-value]


def _search(sample: Sample, k: int, colour: tuple[int, int, int]) -> Image:
    scale = TILE / sample.searches[k].shape[0]
    tile = cv2.resize(sample.searches[k], (TILE, TILE), interpolation=cv2.INTER_AREA)
    _box(tile, tuple(float(v) * scale for v in sample.boxes[k]), colour)  # type: ignore[arg-type]
    return tile  # type: ignore[return-value]


def _box(tile: Image, box: tuple[float, ...], colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = (round(v) for v in box)
    cv2.rectangle(tile, (left, top), (right, bottom), (0, 0, 0), 2)
    cv2.rectangle(tile, (left, top), (right, bottom), colour, 1)


def _captioned(tile: Image, text: str, colour: tuple[int, int, int] = INK) -> Image:
    out = cv2.copyMakeBorder(tile, CAPTION, 0, 0, 0, cv2.BORDER_CONSTANT, value=PAPER)
    shown = _fit(text, tile.shape[1] - 4, 0.4)
    cv2.putText(out, shown, (2, CAPTION - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    return out  # type: ignore[return-value]


def _heading(text: str, block: Image) -> Image:
    out = cv2.copyMakeBorder(block, HEADING, 0, 0, 0, cv2.BORDER_CONSTANT, value=PAPER)
    shown = _fit(text, block.shape[1] - 8, 0.55)
    cv2.putText(out, shown, (4, HEADING - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.55, WHITE, 1, cv2.LINE_AA)
    return out  # type: ignore[return-value]


def _fit(text: str, width: int, size: float) -> str:
    """Text that the built-in font can draw, cut to a width in pixels."""
    text = text.encode("ascii", "replace").decode()
    while text and cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] > width:
        text = text[:-1]
    return text


def _side_by_side(tiles: Sequence[Image]) -> Image:
    height = max(t.shape[0] for t in tiles)
    padded = [cv2.copyMakeBorder(t, 0, height - t.shape[0], 0, GAP, cv2.BORDER_CONSTANT, value=PAPER) for t in tiles]
    return np.concatenate(padded, axis=1)  # type: ignore[return-value]


def _stack(tiles: Sequence[Image]) -> Image:
    width = max(t.shape[1] for t in tiles)
    padded: list[NDArray[np.uint8]] = [
        cv2.copyMakeBorder(t, 0, GAP, 0, width - t.shape[1], cv2.BORDER_CONSTANT, value=PAPER)  # type: ignore[misc]
        for t in tiles
    ]
    return np.concatenate(padded, axis=0)


def write_picture(path: Path, picture: Image) -> None:
    """Writes a BGR image in the format of the file name's suffix.

    Raises:
        OutputError: It can't be written.
    """
    write_atomic(path, encode_image(picture, path.suffix))
