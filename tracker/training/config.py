"""The `train` section of a recipe: how a model is trained, every field with its unit.

Imports no torch: command lines read it before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracker.config_merge import merge
from tracker.settings import LARGEST, LARGEST_SEED, Checked, setting


@dataclass(frozen=True)
class LossConfig(Checked, section="train.losses"):
    """One term of the objective."""

    name: str = setting("logistic", help="A name in `tracker.training.losses.objective.loss_names()`.")
    weight: float = setting(1.0, 0, 1e6, help="Weight in the objective.")
    options: dict[str, Any] = setting(factory=dict, help="Arguments of the loss.")
    key: str = setting("", help="Its name in the log; default: the loss's name.")


@dataclass(frozen=True)
class MiningConfig(Checked, section="train.mining"):
    """Online hard examples inside the batch (`tracker.training.losses.mining`)."""

    negative_pair_temperature: float = setting(
        0.0, 0, 1e6, help="Negative pairs weigh exp(loss / this), scaled to a mean of 1; 0: equal weights."
    )
    hard_share: float = setting(1.0, 0, 1, above=True, help="Fraction of the batch's pairs that count: the hardest.")
    cross_negative_pairs: float = setting(
        0.0, 0, 1, help="Fraction of the batch's pairs whose search is replaced by that of another track."
    )


@dataclass(frozen=True)
class LayerConfig(Checked, section="train.optim.layers"):
    """Deviating settings for some parameters; the first rule whose pattern matches a parameter's name applies."""

    pattern: str = setting("*", help='Name of parameters with * and ?, such as "backbone.*".')
    learning_rate: float = setting(1.0, 0, 1e6, help="Factor on `train.optim.learning_rate`.")
    momentum: float | None = setting(
        None, 0, 1, below=True, help="Momentum (AdamW: beta1) of these; the general one where None."
    )
    weight_decay: float | None = setting(
        None, 0, 1000, help="Weight decay of these parameters; the general one where None."
    )


@dataclass(frozen=True)
class FreezeConfig(Checked, section="train.freeze"):
    """Parameters that are frozen at first; their BatchNorm and dropout layers stay in evaluation mode."""

    pattern: str = setting("backbone.*", help='Name of parameters with * and ?, such as "backbone.*".')
    until: int | None = setting(None, 0, LARGEST, "steps", "Step from which on they are trained; never where None.")


@dataclass(frozen=True)
class OptimConfig(Checked, section="train.optim"):
    """The update rule."""

    name: str = setting(
        "adamw", choices=("sgd", "adamw", "koch"), help="The update rule (`tracker.training.optim.optimizer`)."
    )
    learning_rate: float = setting(1e-3, 0, 1000, help="Learning rate at the end of the warm-up.")
    momentum: float = setting(0.9, 0, 1, below=True, help="Momentum of sgd and koch, beta1 of adamw.")
    momentum_start: float = setting(
        0.5, 0, 1, below=True, help="Momentum of sgd and koch at step 0, growing linearly to `momentum`."
    )
    momentum_steps: int = setting(0, 0, LARGEST, "steps", "Duration of this growth; 0: none.")
    beta2: float = setting(0.999, 0, 1, below=True, help="adamw's second moment.")
    weight_decay: float = setting(1e-4, 0, 1000, help="L2 weight; for adamw decoupled weight decay, for koch lambda.")
    decay_vectors: bool = setting(
        False, help="Whether biases and normalisation scales (tensors of one axis) are decayed too."
    )
    nesterov: bool = setting(False, help="sgd only.")
    clip_norm: float = setting(10.0, 0, 1e9, help="Largest Euclidean norm of the gradient; 0: no clipping.")
    layers: list[LayerConfig] = setting(
        factory=list, help="Exceptions by the name of parameters; the first that fits counts."
    )


@dataclass(frozen=True)
class ScheduleConfig(Checked, section="train.schedule"):
    """The learning rate over the run, as a factor."""

    name: str = setting("cosine", choices=("cosine", "exponential", "constant"), help="Decay of the learning rate.")
    warmup_steps: int = setting(0, 0, LARGEST, "steps", "Duration of the linear warm-up.")
    warmup_start: float = setting(0.01, 0, 1, help="Factor at step 0, if there is a warm-up.")
    final: float = setting(0.01, 0, 1, help="Factor at the last step.")


@dataclass(frozen=True)
class TrainConfig(Checked, section="train"):
    """How a model is trained."""

    seed: int = setting(0, 0, LARGEST_SEED, help="Seed of batches, initial weights and dropout.")
    steps: int = setting(10000, 1, LARGEST, "steps", "Length of the run, and of the schedule.")
    batch_size: int = setting(32, 1, 1_000_000, "pairs", "Pairs per step, over all processes.")
    device: str = setting("auto", help="auto, cpu or cuda.")
    precision: str = setting("bf16", choices=("fp32", "bf16"), help="bf16 is autocast; the weights stay fp32.")
    channels_last: bool = setting(True, help="Channels-last memory layout, with which convolutions are faster.")
    compile: str = setting(
        "auto",
        choices=("auto", "on", "off"),
        help="Whether torch.compile fuses the model's layers (a minute at the start). auto: with CUDA.",
    )
    sync_batchnorm: bool = setting(
        True, help="With several processes: BatchNorm statistics over the batches of all, as in one process."
    )
    threads: int = setting(0, 0, 1024, "threads", "CPU threads of torch in each process; 0: torch's choice.")
    workers: int = setting(2, 0, 1024, "workers", "Threads or processes that prefetch batches; 0: none.")
    worker_kind: str = setting("thread", choices=("thread", "process"), help="Kind of worker.")
    prefetch: int = setting(2, 1, 10_000, "batches", "Batches prefetched per worker.")
    log_every: int = setting(20, 1, LARGEST, "steps", "Steps per line of log.csv (means over them).")
    image_every: int = setting(0, 0, LARGEST, "steps", "Steps between images of responses in TensorBoard; 0: none.")
    checkpoint_every: int = setting(500, 1, LARGEST, "steps", "Steps between checkpoints.")
    validate_every: int = setting(0, 0, LARGEST, "steps", "Steps between validations by tracking; 0: none.")
    best_metric: str = setting("auc", help="Metric of the validation whose highest value marks best.pt.")
    ema_decay: float = setting(
        0.999,
        0,
        1,
        below=True,
        help="Decay of the averaged weights, which are validated and exported; 0: no averaging.",
    )
    max_minutes: float = setting(0.0, 0, 1e9, "minutes", "Wall time of one invocation; 0: no limit.")
    on_full_disk: str = setting(
        "stop", choices=("stop", "continue"), help="What to do when a checkpoint can't be written (the last one stays)."
    )
    tensorboard: bool = setting(True, help="Whether to write event files beside log.csv.")
    even_start: bool = setting(
        False,
        help="""Whether neck, scale and bias are initialised so that every energy gives the same initial scores
        (`tracker.training.initialise`).""",
    )
    unused_parameters: bool = setting(
        False, help="With several processes: let DistributedDataParallel detect parameters without gradient."
    )
    losses: list[LossConfig] = setting(factory=lambda: [LossConfig()], help="The terms of the objective.")
    mining: MiningConfig = setting(factory=MiningConfig, help="Hard examples inside the batch.")
    optim: OptimConfig = setting(factory=OptimConfig, help="The update rule.")
    schedule: ScheduleConfig = setting(factory=ScheduleConfig, help="The learning rate over the run.")
    freeze: list[FreezeConfig] = setting(factory=list, help="Parameters that are frozen at first.")
    data: dict[str, Any] = setting(factory=dict, help="The training data; read by `tracker.training.data.build`.")
    validation: dict[str, Any] = setting(
        factory=dict, help="The validation data; read by `tracker.training.validation`."
    )


def train_config(section: Mapping[str, Any], where: str = "the train section") -> TrainConfig:
    """The typed `train` section of a recipe.

    Args:
        section: `Config.train` of `tracker.config`.
        where: Name of its origin, for error messages.

    Raises:
        ConfigError: Unknown key, wrong type or impossible value.
    """
    return merge(TrainConfig(), section, where=where)
