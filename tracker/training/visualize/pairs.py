"""Images of training pairs with their labels and responses. Uses cv2 and numpy."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tracker.config import Config
from tracker.model.random import DrawFrom
from tracker.model.siamese_network import SiameseNetwork
from tracker.training.config import TrainConfig
from tracker.training.data.batch import Match, PairBatch, PairSource, as_match
from tracker.training.data.build import LivePairs, pair_config
from tracker.training.losses.labels import IGNORED, POSITIVE, LabelRule, label_map, response_grid
from tracker.training.losses.objective import build_objective
from tracker.training.visualize.sheet import write_picture

log = logging.getLogger(__name__)

Picture = NDArray[np.uint8]
GREEN, RED, GRAY, WHITE = (80, 220, 60), (60, 60, 240), (150, 150, 150), (255, 255, 255)
PAIRS, SHEETS = 24, 2
SIDE = 192
"""Side of a tile in pixels."""


def draw_pairs(
    batch: PairBatch, output: Match | None, limit: int = 16, rule: LabelRule | None = None, responses: bool = True
) -> Picture:
    """One row of tiles for each pair: template, search with the true box (green), response with the predicted box
    (red).

    Args:
        batch: With images (start 0) both crops are drawn; for cached features, only a response.
        output: The model's output, or None for the pairs alone.
        limit: Greatest number of pairs.
        responses: Whether to draw the responses (False: `output` only provides the positions of the cells, and may be
            of one pair).
        rule: Draws the labels of the response's cells by this rule (green target, gray ignored).

    Returns:
        BGR uint8 picture.
    """
    rows = []
    count = min(limit, int(batch.positive.shape[0]))
    for i in range(count):
        tiles: list[Picture] = []
        if batch.start == 0:
            tiles += [_template(batch, i), _search(batch, output, i, rule)]
        if output is not None and responses:
            tiles.append(_response(batch, output, i))
        if not tiles:
            raise ValueError("cached features without a response leave nothing to draw")
        text = f"{'target' if bool(batch.positive[i]) else 'IMPOSTOR'} {int(batch.track[i]) % 10000}"
        cv2.putText(tiles[0], text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(
            tiles[0], text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, WHITE if batch.positive[i] else RED, 1, cv2.LINE_AA
        )
        rows.append(np.concatenate([_framed(tile) for tile in tiles], axis=1))
    columns = max(1, round((count * rows[0].shape[0] / rows[0].shape[1]) ** 0.5))
    while len(rows) % columns:
        rows.append(np.zeros_like(rows[0]))
    stacks = [np.concatenate(rows[k::columns], axis=0) for k in range(columns)]
    return np.ascontiguousarray(np.concatenate(stacks, axis=1))


def _image(crop: torch.Tensor) -> Picture:
    """(3, H, W) BGR 0..255 -> tile."""
    array = crop.detach().float().cpu().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)
    return cv2.resize(np.ascontiguousarray(array), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _template(batch: PairBatch, i: int) -> Picture:
    tile = _image(batch.template[i])
    scale = SIDE / batch.template.shape[-1]
    w, h = (batch.template_size[i].float().cpu() * scale).tolist()
    _rectangle(tile, (SIDE / 2 - w / 2, SIDE / 2 - h / 2, SIDE / 2 + w / 2, SIDE / 2 + h / 2), GREEN)
    return tile


def _search(batch: PairBatch, output: Match | None, i: int, rule: LabelRule | None) -> Picture:
    tile = _image(batch.search[i])
    scale = SIDE / batch.search.shape[-1]
    if output is not None and rule is not None:
        grid = response_grid(output)
        labels = label_map(grid, batch.box[i : i + 1], batch.positive[i : i + 1], rule)[0].cpu().numpy()
        xs, ys = (grid.xs * scale).tolist(), (grid.ys * scale).tolist()
        for r, c in zip(*np.nonzero(labels), strict=True):
            colour = {POSITIVE: GREEN, IGNORED: GRAY}[int(labels[r, c])]
            cv2.circle(tile, (round(xs[c]), round(ys[r])), 2, colour, -1, cv2.LINE_AA)
    if bool(batch.positive[i]):
        _rectangle(tile, (batch.box[i].float().cpu() * scale).tolist(), GREEN)
    return tile


def _response(batch: PairBatch, output: Match, i: int) -> Picture:
    """The response at the positions of its cells in the search crop, and the box of its peak."""
    score = torch.sigmoid(output.score[i, 0].detach().float()).cpu().numpy()
    scale = SIDE / output.search_size
    tile = np.zeros((SIDE, SIDE, 3), np.uint8)
    low = max(0, round((output.offset - output.stride / 2) * scale))
    side = min(SIDE - low, round(score.shape[0] * output.stride * scale))
    heat = cv2.applyColorMap((score * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    tile[low : low + side, low : low + side] = cv2.resize(heat, (side, side), interpolation=cv2.INTER_NEAREST)
    if bool(batch.positive[i]):
        _rectangle(tile, (batch.box[i].float().cpu() * scale).tolist(), GREEN)
    if output.boxes is not None:
        peak = np.unravel_index(int(score.argmax()), score.shape)
        _rectangle(tile, (output.boxes[i, :, peak[0], peak[1]].detach().float().cpu() * scale).tolist(), RED)
    cv2.putText(tile, f"{score.max():.2f}", (4, SIDE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, WHITE, 1, cv2.LINE_AA)
    return tile


def _rectangle(tile: Picture, box: tuple[float, ...] | list[float], colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = (round(v) for v in box)
    cv2.rectangle(tile, (left, top), (right, bottom), colour, 1, cv2.LINE_AA)


def _framed(tile: Picture) -> Picture:
    return cv2.copyMakeBorder(tile, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(40, 40, 40)).astype(np.uint8)


def write_preview(folder: Path, config: Config, settings: TrainConfig, source: PairSource) -> list[Path]:
    """Writes preview-0.png, preview-1.png ... with the first batches of a run.

    Args:
        folder: Created if missing.
        config: The recipe: its model gives the positions of the cells of the response.
        settings: Its train section: the first loss with a labelling rule determines the labels.
        source: The pairs. For cached features, pairs are made anew from the same data.

    Raises:
        OutputError: A sheet can't be written.
    """
    if source.batch(0, 0, 1).start:
        log.info("The cache holds features, which have no picture: these pairs are made again in the same way.")
        source = LivePairs(pair_config(settings.data), config, PAIRS, settings.seed)
    rules = [
        rule
        for criterion in build_objective(settings).criteria
        if (rule := getattr(criterion, "rule", None)) is not None
    ]
    with DrawFrom(settings.seed):
        model = SiameseNetwork(config.model).eval()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(SHEETS):
        batch = source.batch(number, 0, 1)
        with torch.no_grad():  # one pair is enough to find the positions of the cells
            output = as_match(
                model(batch.template[:1].float(), batch.search[:1].float(), batch.template_size[:1]), model
            )
        path = folder / f"preview-{number}.png"
        write_picture(path, draw_pairs(batch, output, PAIRS, rules[0] if rules else None, responses=False))
        paths.append(path)
    return paths
