"""The `train` section of a recipe: how a model is trained, every field with its unit.

Light on purpose (no torch): a command line reads it before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tracker.config import merge
from tracker.errors import ConfigError


@dataclass(frozen=True)
class LossConfig:
    """One term of the objective.

    Attributes:
        name: A name in `tracker.training.losses.loss_names()`.
        weight: Factor on its value.
        options: Arguments of the loss.
        key: Its name in the log; the loss's name where empty.
    """

    name: str = "logistic"
    weight: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True)
class MiningConfig:
    """Online hard examples inside the batch (`tracker.training.mining`).

    Attributes:
        impostor_temperature: Impostor pairs weigh exp(loss / temperature), mean 1; 0: all the same.
        hard_share: Share in (0, 1] of the batch's pairs that count, the hardest.
        cross_impostors: Share in [0, 1] of the batch's pairs whose search is replaced by another track's.
    """

    impostor_temperature: float = 0.0
    hard_share: float = 1.0
    cross_impostors: float = 0.0


@dataclass(frozen=True)
class LayerConfig:
    """What differs for some parameters; the first rule whose pattern fits a parameter's name counts.

    Attributes:
        pattern: Name with * and ?, such as "backbone.*".
        learning_rate: Factor on `OptimConfig.learning_rate`.
        momentum: Momentum (AdamW: beta1) of these parameters; the general one where None.
        weight_decay: L2 of these parameters; the general one where None.
    """

    pattern: str = "*"
    learning_rate: float = 1.0
    momentum: float | None = None
    weight_decay: float | None = None


@dataclass(frozen=True)
class FreezeConfig:
    """Parameters that don't move at first; their BatchNorm and dropout layers stay in evaluation mode.

    Attributes:
        pattern: Name with * and ?, such as "backbone.*".
        until: Step at which they thaw; never where None.
    """

    pattern: str = "backbone.*"
    until: int | None = None


@dataclass(frozen=True)
class OptimConfig:
    """The update rule.

    Attributes:
        name: sgd, adamw or koch (`tracker.training.optim`).
        learning_rate: Step size at the end of the warm-up.
        momentum: Momentum of sgd and koch, beta1 of adamw.
        momentum_start: Momentum of sgd and koch at step 0, growing linearly to `momentum`.
        momentum_steps: Steps that this growth takes; 0: none.
        beta2: adamw's second moment.
        weight_decay: L2; adamw's decoupled decay; koch's lambda.
        decay_vectors: Whether biases and normalisation scales (tensors of one axis) are decayed too.
        nesterov: sgd only.
        clip_norm: Largest Euclidean norm of the gradient; 0: no clipping.
        layers: Exceptions by name.
    """

    name: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    momentum_start: float = 0.5
    momentum_steps: int = 0
    beta2: float = 0.999
    weight_decay: float = 1e-4
    decay_vectors: bool = False
    nesterov: bool = False
    clip_norm: float = 10.0
    layers: list[LayerConfig] = field(default_factory=list)


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the run, as a factor.

    Attributes:
        name: cosine, exponential or constant.
        warmup_steps: Steps of linear growth at the start.
        warmup_start: Factor at step 0, if there is a warm-up.
        final: Factor at the last step.
    """

    name: str = "cosine"
    warmup_steps: int = 0
    warmup_start: float = 0.01
    final: float = 0.01


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        seed: Of batches, initial weights and dropout.
        steps: Length of the run, and of the schedule.
        batch_size: Pairs in one step, over all processes.
        device: auto, cpu or cuda.
        precision: fp32, or bf16 (autocast; the weights stay fp32).
        channels_last: Memory layout that convolutions like on CPU and CUDA.
        sync_batchnorm: With several processes: BatchNorm over the batch of all of them, as on one.
        threads: CPU threads of torch per process; 0: torch's choice.
        workers: Threads or processes that prepare batches ahead; 0: none.
        worker_kind: thread or process.
        prefetch: Batches that each worker prepares ahead.
        log_every: Steps between lines of log.csv (means over them).
        image_every: Steps between pictures of responses; 0: none.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations by tracking; 0: none.
        best_metric: Metric of the validation whose highest value marks best.pt.
        ema_decay: Of the averaged weights that are validated and shipped; 0: none.
        max_minutes: Wall time of one invocation; 0: no limit.
        on_full_disk: stop or continue when a checkpoint can't be written (the last one stays).
        tensorboard: Whether to write event files beside log.csv.
        even_start: Whether neck, scale and bias start so that every energy gives the same first scores (`tracker.training.initial`).
        unused_parameters: Several processes: let DistributedDataParallel look for parameters without gradient.
        losses, mining, optim, schedule, freeze: See their classes.
        data: What the batches are made of; read by `tracker.training.data`.
        validation: What to track for validation; read by `tracker.training.validation`.
    """

    seed: int = 0
    steps: int = 10000
    batch_size: int = 32
    device: str = "auto"
    precision: str = "bf16"
    channels_last: bool = True
    sync_batchnorm: bool = True
    threads: int = 0
    workers: int = 2
    worker_kind: str = "thread"
    prefetch: int = 2
    log_every: int = 20
    image_every: int = 0
    checkpoint_every: int = 500
    validate_every: int = 0
    best_metric: str = "auc"
    ema_decay: float = 0.999
    max_minutes: float = 0.0
    on_full_disk: str = "stop"
    tensorboard: bool = True
    even_start: bool = False
    unused_parameters: bool = False
    losses: list[LossConfig] = field(default_factory=lambda: [LossConfig()])
    mining: MiningConfig = field(default_factory=MiningConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    freeze: list[FreezeConfig] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _choice("train.precision", self.precision, ("fp32", "bf16"))
        _choice("train.worker_kind", self.worker_kind, ("thread", "process"))
        _choice("train.on_full_disk", self.on_full_disk, ("stop", "continue"))
        for name in ("steps", "batch_size", "log_every", "checkpoint_every", "prefetch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("threads", "workers", "image_every", "validate_every", "max_minutes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"train.{name} is {getattr(self, name)}; it must not be negative, and 0 turns it off.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"train.ema_decay is {self.ema_decay:g}; it must be in [0, 1), and 0 turns the averaging off.")


def train_config(section: Mapping[str, Any], where: str = "the train section") -> TrainConfig:
    """The typed `train` section of a recipe.

    Args:
        section: `Config.train` of `tracker.config`.
        where: What to call its origin in an error.

    Raises:
        ConfigError: Unknown key, wrong type or impossible value.
    """
    return merge(TrainConfig(), section, where=where)


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; it must be {' or '.join(allowed)}.")
