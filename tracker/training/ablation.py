"""Ablation: each energy with each loss, trained for the same few steps from the same prepared cache, and measured by
tracking."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tracker.config import Config
from tracker.config_merge import merge, to_dict
from tracker.datasets.tracks import AnnotatedTrack
from tracker.errors import ConfigError
from tracker.files import write_atomic
from tracker.training.config import train_config
from tracker.training.data.build import build_pair_source
from tracker.training.initialise import even_start, initial_model
from tracker.training.trainer import LAST, Trainer
from tracker.training.validation import Validator

ENERGIES = ("dot", "cosine", "euclidean")
LOSSES: dict[str, dict[str, Any]] = {
    "none": {},
    "logistic": {},
    "focal": {"alpha": 0.25, "gamma": 2.0},
    "contrastive": {"compare": "energy", "margin": 1.0},
    "triplet": {"compare": "energy", "mining": "semi-hard"},
    "circle": {"compare": "energy"},
    "angular": {"angle": 45.0, "hard_share": 0.1},
}
"""Each loss of the score with its options; "none": no training. The labelling rule is that of the recipe. Angular uses
unit vectors only, not the energy: it trains backbone and neck, and the score keeps its initial scale and bias."""
RULES = ("radius", "inside", "ignore")


@dataclass(frozen=True)
class Cell:
    """One energy with one loss.

    Attributes:
        energy, loss: Names.
        steps: Steps done.
        wanted: Steps of the budget.
        auc, ao: On the validation clips; None until it is finished.
        seconds: Training time.
        mark: Hash of everything that determines the result.
    """

    energy: str
    loss: str
    steps: int
    wanted: int
    auc: float | None
    ao: float | None
    seconds: float
    mark: str

    @property
    def finished(self) -> bool:
        """Whether all steps were done and the clips were tracked."""
        return self.auc is not None


def cell_config(config: Config, energy: str, loss: str, steps: int) -> Config:
    """The recipe with another energy and another loss on the score; its other losses (boxes) are kept.

    Args:
        config: A recipe whose first loss is that of the score.
        energy, loss: Names.
        steps: Length of the run.

    Raises:
        ConfigError: An unknown name, or a recipe that doesn't allow this.
    """
    if energy not in ENERGIES or loss not in LOSSES:
        raise ConfigError(
            f"There is no cell {energy} x {loss}; energies are {', '.join(ENERGIES)}, losses {', '.join(LOSSES)}."
        )
    section = dict(config.train)
    first, *rest = [dict(item) for item in section.get("losses", [])] or [{"name": "focal"}]
    rule = {key: value for key, value in dict(first.get("options", {})).items() if key in RULES}
    if loss != "none":
        first = {"name": loss, "weight": first.get("weight", 1.0), "options": {**LOSSES[loss], **rule}}
    section["losses"] = [first, *rest]
    warmup = min(int(dict(section.get("schedule", {})).get("warmup_steps", 0)), steps // 10)
    section["schedule"] = {**dict(section.get("schedule", {})), "warmup_steps": warmup}
    ema = min(float(section.get("ema_decay", 0.0)), 1 - 5 / max(steps, 10))  # averages over at most a fifth of the run
    section.update(
        steps=max(steps, 1),
        checkpoint_every=max(1, min(250, steps)),
        validate_every=0,
        tensorboard=False,
        ema_decay=max(ema, 0.0),
    )
    return replace(config, model=merge(config.model, {"energy": energy}), train=section)


class Ablation:
    """The cells of a table, each in a folder of its own: finished ones are kept, interrupted ones continue.

    Args:
        config: The recipe; its cache must be prepared.
        clips: Clips to track for the measurement.
        folder: Parent folder of the cells.
        steps: Steps per cell.
        max_frames: Frames tracked of each clip; 0: all.
        engine: Engine of the tracker.
        own_process: As `Trainer`'s.
    """

    def __init__(
        self,
        config: Config,
        clips: Sequence[AnnotatedTrack],
        folder: Path,
        steps: int,
        max_frames: int = 60,
        engine: str = "auto",
        own_process: bool = False,
    ) -> None:
        self.config, self.clips, self.folder = config, list(clips), folder
        self.steps, self.max_frames, self.engine, self.own_process = steps, max_frames, engine, own_process

    def path(self, energy: str, loss: str) -> Path:
        """The folder of a cell."""
        return self.folder / f"{energy}-{loss}"

    def mark(self, config: Config) -> str:
        """A short hash of everything that determines a result."""
        what: dict[str, Any] = {
            "config": to_dict(config),
            "clips": [c.name for c in self.clips],
            "frames": self.max_frames,
            "steps": self.steps,
        }
        what["config"]["train"].pop("max_minutes", None)
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def known(self, energy: str, loss: str) -> Cell | None:
        """The stored result of a cell, if it has the same settings."""
        file = self.path(energy, loss) / "result.json"
        if not file.is_file():
            return None
        cell = Cell(**json.loads(file.read_text()))
        return cell if cell.mark == self.mark(cell_config(self.config, energy, loss, self.steps)) else None

    def run(self, energy: str, loss: str, minutes: float = 0.0, progress: bool = False) -> Cell:
        """Trains and measures a cell, or continues it.

        Args:
            energy, loss: Names.
            minutes: Greatest wall time of the training; 0: no limit. A cell that exceeds it is not finished.
            progress: Whether to draw a progress bar.

        Raises:
            TrainingError: A loss that is not finite.
        """
        config = cell_config(self.config, energy, loss, self.steps)
        mark, folder = self.mark(config), self.path(energy, loss)
        cell = self.known(energy, loss)
        if cell is not None and cell.finished:
            return cell
        folder.mkdir(parents=True, exist_ok=True)
        if cell is None:  # its content has other settings
            (folder / LAST).unlink(missing_ok=True)
        settings = train_config({**config.train, "max_minutes": minutes})
        source = build_pair_source(config, settings.seed)
        model = initial_model(config, settings.seed)
        even_start(model, energy, source)
        self._save(Cell(energy, loss, 0, self.steps, None, None, 0.0, mark))
        trainer = Trainer(
            model,
            source,
            settings,
            folder,
            full_config=to_dict(config),
            progress=progress,
            own_process=self.own_process,
        )
        began = time.monotonic()
        if loss != "none":
            if (folder / LAST).is_file():
                trainer.resume()
            result = trainer.run()
            if result.signal:
                raise KeyboardInterrupt
            if result.stopped != "finished":
                return self._save(Cell(energy, loss, result.step, self.steps, None, None, result.seconds, mark))
            began = time.monotonic() - result.seconds
        seconds = time.monotonic() - began
        averaged = trainer.ema.applied(model) if trainer.ema is not None else nullcontext(model)
        with torch.no_grad(), averaged as best:
            figures = Validator(config, self.clips, "cpu", self.max_frames, self.engine)(best.eval(), self.steps)
        steps = 0 if loss == "none" else self.steps
        return self._save(Cell(energy, loss, steps, steps, figures["auc"], figures["ao"], seconds, mark))

    def _save(self, cell: Cell) -> Cell:
        file = self.path(cell.energy, cell.loss) / "result.json"
        write_atomic(file, json.dumps(asdict(cell), indent=1))
        return cell
