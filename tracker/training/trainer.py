"""The run: batches in, a trained model out. Knows models, sources and losses; knows nothing of data set files."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tracker.errors import OutputError, TrainingError
from tracker.model.siamese_network import SiameseNetwork
from tracker.training import distributed
from tracker.training.checkpoint import git_revision, write_checkpoint
from tracker.training.compiling import compiles, said_plainly
from tracker.training.config import TrainConfig
from tracker.training.data.batch import Match, PairBatch, PairSource, Validate, as_match
from tracker.training.data.loader import batches, pair_count, save_bad_batch, to_device
from tracker.training.distributed import share_batchnorm
from tracker.training.losses.mining import cross_negative_pairs
from tracker.training.losses.objective import Score, build_objective
from tracker.training.optim.ema import Ema
from tracker.training.optim.optimizer import Freezer, build_optimizer
from tracker.training.optim.schedule import Schedule
from tracker.training.run_logger import RunLogger
from tracker.training.run_state import Interrupt, RunResult, capture, facts, restore

log = logging.getLogger(__name__)

LAST = "last.pt"
Export = Callable[[nn.Module, str, dict[str, Any]], None]
"""Writes a model for use: (model with the averaged weights, "best" or "last", facts of the run)."""


@dataclass(frozen=True)
class _Launched:
    """A step whose gradients are on their way: its batch, what the model gave, the objective, the gradient's norm, and
    the statistics before it."""

    batch: PairBatch
    output: Match
    score: Score
    norm: Tensor
    statistics: list[tuple[Tensor, Tensor]]


class Trainer:
    """A run in a folder: last.pt, log.csv, validation.csv, tensorboard/.

    Args:
        model: A matcher (`SiameseNetwork`); moved to the device and trained in place.
        source: Batches by step.
        config: The recipe.
        folder: Exists; the run's files go there. Only rank 0 writes (and a broken batch is written by all).
        device: From `distributed.start`.
        validate: Measures the averaged weights by tracking, every `config.validate_every` steps and at the end.
        export: Called with the averaged weights after each best validation and at the end.
        full_config: The whole recipe as plain values, for the checkpoint.
        progress: Whether to draw a progress bar on stderr.
        own_process: Whether the process is the run's own, as a command's is: then torch's threads and random state are
            set as the recipe and the step say (a network with dropout needs it to repeat), and the first Ctrl-C or
            SIGTERM ends the run with a checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        source: PairSource,
        config: TrainConfig,
        folder: str | Path,
        *,
        device: torch.device | None = None,
        validate: Validate | None = None,
        export: Export | None = None,
        full_config: dict[str, Any] | None = None,
        progress: bool = False,
        own_process: bool = False,
    ) -> None:
        self.config, self.source, self.folder = config, source, Path(folder)
        self.device = device or torch.device("cpu")
        self.validate, self.export, self.progress, self.own_process = validate, export, progress, own_process
        self.full_config = full_config if full_config is not None else {"train": asdict(config)}
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        # DistributedDataParallel warns of, and torch slows down on, weights whose layout changes during the run.
        self.model = cast(Any, model).to(device=self.device, memory_format=layout)
        if distributed.world() > 1 and config.sync_batchnorm:
            log.info(
                "%d BatchNorm layers share their statistics over %d processes",
                share_batchnorm(self.model),
                distributed.world(),
            )
        self.objective = build_objective(config).to(self.device)
        self.freezer = Freezer(self.model, config.freeze)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.schedule = Schedule(config.schedule, config.optim, config.steps)
        self.ema = Ema(self.model, config.ema_decay) if config.ema_decay else None
        self.git = git_revision()
        self.step = self.pairs = 0
        self.seconds = 0.0
        self.best: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self.recorder = RunLogger(self.folder, self.objective.keys, config)
        self._validated_at = 0
        self._parallel: nn.Module = self.model
        self._compiles = compiles(config.compile, self.device)

    def resume(self) -> int:
        """Takes everything from last.pt of the folder and returns the step to go on from; see `state.restore`."""
        restore(self, self.folder / LAST)
        log.info("resumed at step %d from %s", self.step, self.folder / LAST)
        return self.step

    def run(self, max_steps: int = 0) -> RunResult:
        """Trains until the recipe's last step, a limit or a signal.

        Args:
            max_steps: Stop at this step of the run (the schedule stays that of the whole run); 0: no limit.

        Raises:
            TrainingError: A loss or gradient that is not finite; the batch is saved.
            OutputError: A checkpoint can't be written.
        """
        if self.own_process and self.config.threads:
            torch.set_num_threads(self.config.threads)
        stop_at = min(self.config.steps, max_steps) if max_steps else self.config.steps
        started, before = time.monotonic(), self.seconds
        stopped = "finished" if stop_at == self.config.steps else "max-steps"
        self.recorder.open(self.step, self.config.steps, self.progress)
        stream = batches(
            self.source, self.step, stop_at, self.config.workers, self.config.worker_kind, self.config.prefetch
        )
        with Interrupt(self.own_process) as interrupt:
            try:
                self._prepare(first=True)
                following = next(stream, None)
                while following is not None:
                    step, batch = following
                    with said_plainly() if self._compiles else nullcontext():
                        launched = self._launch(step, batch)
                    following = next(stream, None)  # while the device works
                    self._finish(step, launched)
                    self.step = step + 1
                    self.seconds = before + time.monotonic() - started
                    self._after_step()
                    over = bool(self.config.max_minutes) and time.monotonic() - started > self.config.max_minutes * 60
                    reason = distributed.reason_to_stop(interrupt.number, over, self.device)
                    if reason and self.step < stop_at:
                        stopped = reason
                        break
                if self.step and stopped != "signal" and self._validated_at != self.step:
                    self._validate()
                self._checkpoint()
                self._export("last")
            finally:
                cast(Any, stream).close()
                self.recorder.close()
        return RunResult(self.step, self.pairs, self.seconds, stopped, interrupt.number, self.metrics, self.best)

    def _prepare(self, first: bool = False) -> None:
        """Freezes and thaws for the coming step; DistributedDataParallel must know what moves."""
        changed = self.freezer.apply(self.step)
        if (first or changed) and distributed.world() > 1:
            self._parallel = distributed.parallel(
                self.model, self.device, not self.config.sync_batchnorm, self.config.unused_parameters
            )
        if (first or changed) and self._compiles:
            # A module of its own with the same weights: validation and export use the plain one.
            self._step_model = torch.compile(self._parallel)
        elif first or changed:
            self._step_model = self._parallel
        if first or changed:
            self.freezer.train_mode(self.step)

    def _launch(self, step: int, batch: PairBatch) -> _Launched:
        """Forward and backward pass of a step; a device may still be working on them."""
        config = self.config
        # The noise of a step (dropout) is a function of its number, as its batch is: nothing to lose in an
        # interruption.
        if self.own_process:
            torch.manual_seed((config.seed * 1_000_003 + step * 1024 + distributed.rank()) % 2**63)
        if config.mining.cross_negative_pairs:
            batch = cross_negative_pairs(batch, config.mining.cross_negative_pairs, step)
        batch = to_device(batch, self.device, config.channels_last)
        self.schedule.apply(self.optimizer, step)
        self.optimizer.zero_grad(set_to_none=True)
        # The forward pass moves BatchNorm's statistics: a broken batch must not leave its traces there.
        statistics = [
            (buffer, buffer.clone())
            for module in self.model.modules()
            if module.training
            for buffer in module.buffers(recurse=False)
        ]
        output = self._forward(batch)
        score: Score = self.objective(output, batch)
        score.backward.backward()
        moving = [p for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(moving, config.optim.clip_norm or float("inf"))
        return _Launched(batch, output, score, norm, statistics)

    def _finish(self, step: int, launched: _Launched) -> None:
        """Reads the loss, the one place of a step at which the host waits for a device, and moves the weights."""
        config, batch, score, norm = self.config, launched.batch, launched.score, launched.norm
        if not math.isfinite(score.total):
            self._stop_on(step, batch, score, launched.statistics, "The loss")
        if not math.isfinite(float(norm)):
            self._stop_on(step, batch, score, launched.statistics, "The gradient")
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.model)
        count = pair_count(batch) * distributed.world()
        self.pairs += count
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.recorder.add(step + 1, {"loss": score.total, **score.parts}, rate, float(norm), count)
        if config.image_every and (step + 1) % config.image_every == 0 and distributed.rank() == 0:
            self.recorder.picture(step + 1, batch, launched.output)

    def _forward(self, batch: PairBatch) -> Match:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            output = self._step_model(batch.template, batch.search, batch.template_size, start=batch.start)
        return as_match(output, cast(SiameseNetwork, self.model))

    def _after_step(self) -> None:
        every = self.config.validate_every
        if every and self.step % every == 0:
            self._validate()
        if self.step % self.config.checkpoint_every == 0:
            self._checkpoint()
        self._prepare()

    def _validate(self) -> None:
        """Measures the averaged weights by tracking on rank 0; the others wait."""
        if self.validate is None:
            return
        self._validated_at = self.step
        if distributed.rank() == 0:
            began = time.monotonic()
            with self._shipped() as model, torch.no_grad():
                model.eval()
                values = {name: float(value) for name, value in self.validate(model, self.step).items()}
                key = self.config.best_metric
                if key not in values:
                    raise TrainingError(
                        f"The validation gives {', '.join(values)}, not train.best_metric={key}; choose one of these."
                    )
                self.metrics = {**values, "step": float(self.step)}
                log.info(
                    "step %d: %s (%.0f s)",
                    self.step,
                    ", ".join(f"{n} {v:.4f}" for n, v in values.items()),
                    time.monotonic() - began,
                )
                self.recorder.validation(self.step, values)
                if not self.best or values[key] > self.best[key]:
                    self.best = dict(self.metrics)
                    if self.export is not None:
                        self.export(model, "best", facts(self))
            self.freezer.train_mode(self.step)
        distributed.barrier()

    def _export(self, name: str) -> None:
        if self.export is not None and distributed.rank() == 0:
            with self._shipped() as model:
                self.export(model, name, facts(self))

    def _shipped(self) -> AbstractContextManager[nn.Module]:
        """The model with the weights that are shipped: the averaged ones if there are any."""
        return self.ema.applied(self.model) if self.ema is not None else nullcontext(self.model)

    def _state(self) -> dict[str, Any]:
        return capture(self)

    def _checkpoint(self) -> None:
        if distributed.rank() == 0:
            try:
                write_checkpoint(self.folder / LAST, self._state())
            except OutputError as error:
                if self.config.on_full_disk == "stop":
                    raise
                log.error("%s Training goes on (train.on_full_disk=continue).", error)
        distributed.barrier()

    def _stop_on(
        self, step: int, batch: PairBatch, score: Score, statistics: Sequence[tuple[Tensor, Tensor]], what: str
    ) -> None:
        for buffer, value in statistics:
            buffer.copy_(value)
        path = self.folder / f"bad-step-{step:08d}-rank{distributed.rank()}.pt"
        save_bad_batch(path, batch, self.model, step, score.parts)
        parts = ", ".join(f"{name} {value:g}" for name, value in score.parts.items())
        raise TrainingError(
            f"{what} of step {step} is not finite ({parts}); the batch and the weights are in {path}. "
            "Lower train.optim.learning_rate or clip_norm, lengthen the warm-up or try train.precision=fp32, and go "
            "on with --resume."
        )
