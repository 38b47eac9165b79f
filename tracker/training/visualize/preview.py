"""Contact sheets of pairs: what the network will see, with the labels that it will be taught."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from tracker.config import Config
from tracker.model.matcher import Matcher
from tracker.model.random import DrawFrom
from tracker.training.config import TrainConfig
from tracker.training.data.batch import PairSource, as_match
from tracker.training.data.build import LivePairs, pair_config
from tracker.training.losses.objective import build_objective
from tracker.training.visualize.pairs import draw_pairs
from tracker.training.visualize.sheet import write_picture

log = logging.getLogger(__name__)

PAIRS, SHEETS = 24, 2


def write_preview(folder: Path, config: Config, settings: TrainConfig, source: PairSource) -> list[Path]:
    """Writes preview-0.png, preview-1.png ... with the first batches of a run.

    Args:
        folder: Is made if need be.
        config: The recipe: its model says where the cells of the response lie.
        settings: Its train section: the first loss that labels cells says which are the target.
        source: The pairs. Cached features have no picture: pairs are then made anew from the same material.

    Raises:
        OutputError: A sheet can't be written.
    """
    if source.batch(0, 0, 1).start:
        log.info("The cache holds features, which have no picture: these pairs are made anew in the same way.")
        source = LivePairs(pair_config(settings.data), config, PAIRS, settings.seed)
    rules = [
        rule
        for criterion in build_objective(settings).criteria
        if (rule := getattr(criterion, "rule", None)) is not None
    ]
    with DrawFrom(settings.seed):
        model = Matcher(config.model).eval()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(SHEETS):
        batch = source.batch(number, 0, 1)
        with torch.no_grad():  # one pair is enough to know where the cells lie
            output = as_match(
                model(batch.template[:1].float(), batch.search[:1].float(), batch.template_size[:1]), model
            )
        path = folder / f"preview-{number}.png"
        write_picture(path, draw_pairs(batch, output, PAIRS, rules[0] if rules else None, responses=False))
        paths.append(path)
    return paths
