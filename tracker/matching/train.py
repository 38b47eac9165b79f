"""Training of a matcher: the tracker's trainer (processes, precision, averaging, exact resume) on batches of classes or
pairs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from tracker.config_merge import to_dict
from tracker.errors import ConfigError
from tracker.matching.batches import MatchBatch, MatchSource
from tracker.matching.config import MatchConfig
from tracker.matching.objective import Embedded, MatchObjective
from tracker.matching.protocols import build_validator
from tracker.matching.store import calibrated_on_material, fill, save_matcher
from tracker.matching.twins import Twins
from tracker.model.random import DrawFrom
from tracker.training import distributed
from tracker.training.checkpoint import read_checkpoint
from tracker.training.config import TrainConfig
from tracker.training.data.batch import Validate
from tracker.training.run_logger import RunLogger
from tracker.training.trainer import LAST, Export, Trainer

log = logging.getLogger(__name__)


class MatchTrainer(Trainer):
    """The trainer of trackers with another forward pass and objective.

    Args:
        model: The Siamese network.
        source: Batches by step.
        config: The recipe.
        folder: As in `Trainer`, like the remaining arguments.
    """

    def __init__(
        self,
        model: Twins,
        source: MatchSource,
        config: MatchConfig,
        folder: str | Path,
        *,
        device: torch.device | None = None,
        validate: Validate | None = None,
        export: Export | None = None,
        progress: bool = False,
    ) -> None:
        default = TrainConfig()
        for name in ("losses", "mining", "image_every"):
            if getattr(config.train, name) != getattr(default, name):
                raise ConfigError(
                    f"train.{name} belongs to trackers' response maps; a matcher's loss and miner stand in the "
                    "section loss."
                )
        super().__init__(
            model,
            cast(Any, source),
            config.train,
            folder,
            device=device,
            validate=validate,
            export=export,
            full_config=to_dict(config),
            progress=progress,
        )
        self.objective = cast(
            Any, MatchObjective(config, width_of(model), int(getattr(model.encoder, "stride", 0))).to(self.device)
        )
        self.recorder = RunLogger(self.folder, list(MatchObjective.keys), config.train)

    def _forward(self, batch: Any) -> Any:
        assert isinstance(batch, MatchBatch)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            output: Embedded = self._parallel(batch.first, batch.second)
        return output

    def resume(self) -> int:
        """As in `Trainer`, including the state of the objective."""
        step = super().resume()
        state = distributed.from_first(lambda: read_checkpoint(self.folder / LAST))
        cast(MatchObjective, self.objective).load_extra(state["objective"])
        return step

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "objective": cast(MatchObjective, self.objective).extra()}


def width_of(model: Twins) -> int:
    """D of the embeddings."""
    width = getattr(model.encoder, "out_dim", 0)
    if width:
        return int(width)
    given = model.config.input
    sample = (
        torch.ones(2, 4, 2, dtype=torch.int64)
        if given.modality == "text"
        else torch.zeros(2, 3, given.height, given.width)
    )
    with torch.no_grad():
        model.eval()
        return int(model.encoder(sample).shape[1])


def initial_twins(config: MatchConfig, seed: int | None = None) -> Twins:
    """A Siamese network with random weights, or with those of `config.start`; torch's global generator is not used.

    Raises:
        ConfigError, WeightsError: The model can't be built, or the start weights don't match.
    """
    with DrawFrom(config.train.seed if seed is None else seed):
        twins = Twins(config.model)
    if config.start:
        fill(twins, config.start)
    return twins


def run(
    config: MatchConfig,
    folder: Path,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    max_steps: int = 0,
    progress: bool = False,
    source: MatchSource | None = None,
) -> Any:
    """Trains a matcher and writes it to `folder`/last.safetensors (and best.safetensors, if the recipe validates).

    Args:
        config: The recipe.
        folder: An existing folder for the files of the run.
        resume: Whether to continue the run in it.
        device: Device for training.
        max_steps: Stop after this step; 0: at the end of the recipe.
        progress: Whether to show a progress bar.
        source: The batches, if they have been read.

    Returns:
        A `tracker.training.run_state.RunResult`.

    Raises:
        SiamTrackError: Problems with data, recipe or disk.
    """
    source = source or MatchSource(config)
    validate = build_validator(config) if config.train.validate_every else None

    def export(module: nn.Module, name: str, facts: dict[str, Any]) -> None:
        twins = cast(Twins, module)
        training = twins.training
        twins.eval()
        calibration = (
            calibrated_on_material(twins, config)
            if config.model.input.modality == "image" or validate is None
            else None
        )
        save_matcher(folder / f"{name}.safetensors", twins, config.name, calibration, facts)
        twins.train(training)

    trainer = MatchTrainer(
        initial_twins(config),
        source,
        config,
        folder,
        device=device,
        validate=validate,
        export=export,
        progress=progress,
    )
    if resume:
        trainer.resume()
    return trainer.run(max_steps)
