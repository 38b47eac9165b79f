"""The state of a run between two steps: captured for a checkpoint, restored from one, summarised for a model card; and
the handling of Ctrl-C and SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import torch

from tracker.config_merge import renamed
from tracker.errors import WeightsError
from tracker.training import distributed
from tracker.training.checkpoint import FORMAT, random_states, read_checkpoint, restore_random_states

if TYPE_CHECKING:
    from tracker.training.trainer import Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run.

    Attributes:
        step: Steps done, over all invocations.
        pairs: Pairs processed, over all processes and invocations.
        seconds: Wall time, over all invocations.
        stopped: finished, max-steps, max-minutes or signal.
        signal: The signal's number, or 0.
        metrics: The last validation, or {}.
        best: The best validation with its "step", or {}.
    """

    step: int
    pairs: int
    seconds: float
    stopped: str
    signal: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)


def capture(trainer: Trainer) -> dict[str, Any]:
    """Everything that the next step depends on, and its provenance."""
    return {
        "format": FORMAT,
        "model": trainer.model.state_dict(),
        "ema": trainer.ema.state_dict() if trainer.ema is not None else None,
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.schedule.state_dict(),
        "step": trainer.step,
        "pairs": trainer.pairs,
        "seconds": trainer.seconds,
        "best": trainer.best,
        "metrics": trainer.metrics,
        "recorder": trainer.recorder.state_dict(),
        "random": random_states(),
        "config": trainer.full_config,
        "git": trainer.git,
        "torch": str(torch.__version__),
    }


def restore(trainer: Trainer, path: Path) -> None:
    """Restores the state of a run from a checkpoint, which rank 0 reads for all.

    Raises:
        WeightsError: The checkpoint is missing, damaged, or of another model or optimiser.
    """
    state = distributed.from_first(lambda: read_checkpoint(path))
    groups = [(g["base_lr"], g["base_momentum"], g["weight_decay"]) for g in trainer.optimizer.param_groups]
    try:
        trainer.model.load_state_dict(state["model"])
        trainer.optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"The checkpoint {path} does not fit this recipe's model or optimiser: {reason}") from None
    # The present recipe applies, also if it was changed since; changes are logged.
    for group, (rate, momentum, decay) in zip(trainer.optimizer.param_groups, groups, strict=True):
        group.update(base_lr=rate, base_momentum=momentum, weight_decay=decay)
    for line in differences(renamed(state["config"]), trainer.full_config):
        log.warning("Resumed with another setting: %s.", line)
    if (trainer.ema is None) != (state["ema"] is None):
        raise WeightsError(
            f"The checkpoint {path} and the recipe disagree on train.ema_decay: one has averaged weights, the other "
            "none."
        )
    if trainer.ema is not None:
        trainer.ema.load_state_dict(state["ema"])
    trainer.step, trainer.pairs, trainer.seconds = state["step"], state["pairs"], state["seconds"]
    trainer.best, trainer.metrics = state["best"], state["metrics"]
    trainer.recorder.load_state_dict(state["recorder"])
    if trainer.own_process:
        restore_random_states(state["random"])


def facts(trainer: Trainer) -> dict[str, Any]:
    """Facts for a model card; json values."""
    return {
        "step": trainer.step,
        "pairs": trainer.pairs,
        "seconds": round(trainer.seconds, 1),
        "seed": trainer.config.seed,
        "git": trainer.git,
        "processes": distributed.world(),
        "device": str(trainer.device),
        "metrics": trainer.metrics,
    }


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """ "key was A, is B" for each leaf in which two nested mappings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in dict.fromkeys([*old, *new]):
            lines.extend(differences(old.get(key), new.get(key), f"{prefix}{key}."))
        return lines
    return [] if old == new else [f"{prefix[:-1]} was {old}, is {new}"]


class Interrupt:
    """Context manager that records the first Ctrl-C or SIGTERM: `with Interrupt() as interrupt: ... interrupt.number`.

    A second one stops the process at once. Outside the main thread, where Python delivers no signals, it records
    nothing.

    Args:
        listen: False leaves the process's handlers unchanged, and nothing is recorded.

    Attributes:
        number: SIGINT or SIGTERM once received, else 0.
    """

    def __init__(self, listen: bool = True) -> None:
        self.number, self._listen = 0, listen
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if self._listen and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
