"""Adapts a model to a few labelled clips: the backbone stays, its features are computed once, and the rest is trained
on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tracker.config import Config
from tracker.datasets.tracks import AnnotatedTrack, DataError
from tracker.model.siamese_network import SiameseNetwork
from tracker.settings import LARGEST, LARGEST_SEED, Checked, setting
from tracker.training.config import FreezeConfig, LossConfig, OptimConfig, ScheduleConfig, TrainConfig
from tracker.training.data.augment import AugmentConfig
from tracker.training.data.cache import sample_labels
from tracker.training.data.cached_features import compiled_stages
from tracker.training.data.pairs import SamplePairs
from tracker.training.data.samples import Sample, ViewConfig
from tracker.training.data.sampling import PairConfig
from tracker.training.data.shards import MemorySamples
from tracker.training.data.views import ClipViews
from tracker.training.trainer import Trainer
from tracker.training.validation import Validator

FEWEST = 10
"""Least number of frames with the target on either side of the split of a clip."""


@dataclass(frozen=True)
class FinetuneConfig(Checked, section="finetune"):
    """Settings of the adaptation."""

    groups: int = setting(
        150, 1, LARGEST, "groups", "Samples that are cut and embedded once; each is 2 templates and 4 searches."
    )
    steps: int = setting(200, 1, LARGEST, "steps", "Of the training on them.")
    batch_size: int = setting(32, 1, 1_000_000, "pairs", "In one step.")
    learning_rate: float = setting(2e-4, 0, 1000, help="AdamW's, at its highest; low, since the model is good already.")
    negative_pairs: float = setting(0.1, 0, 1, help="Share of pairs of two clips (where there are two).")
    distractors: float = setting(0.25, 0, 1, help="Share of searches that look elsewhere in the frame.")
    frame_range: int = setting(100, 1, LARGEST, "frames", "Largest distance of two views of a clip.")
    hold_out: float = setting(
        0.3, 0, 1, above=True, below=True, help="Share of each clip, at its end, that is not trained on but measured."
    )
    max_frames: int = setting(
        150, 0, LARGEST, "frames", "Frames of each clip that are tracked to measure; 0: all that are held out."
    )
    seed: int = setting(0, 0, LARGEST_SEED, help="Decides everything.")
    threads: int = setting(0, 0, 1024, "threads", "CPU threads; 0: torch's choice.")


@dataclass(frozen=True)
class FinetuneScores:
    """Scores before and after, by clip and on average.

    Attributes:
        names: The clips.
        before, after: AUC of each on its held-out frames.
        frames: Number of frames tracked for each of them.
    """

    names: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    frames: int

    @property
    def gain(self) -> float:
        """Change of the mean AUC."""
        return float(np.mean(self.after) - np.mean(self.before))


def split(tracks: Sequence[AnnotatedTrack], hold_out: float) -> tuple[list[AnnotatedTrack], list[AnnotatedTrack]]:
    """Splits clips into beginnings for training and ends for measuring.

    Args:
        tracks: At least one.
        hold_out: Fraction of the frames with the target in the end part.

    Raises:
        DataError: A clip is too short for both.
    """
    first, second = [], []
    for track in tracks:
        count = len(track.present)
        cut = round(count * (1 - hold_out))
        if cut < FEWEST or count - cut < FEWEST:
            raise DataError(
                f"The clip {track.name} shows its target in {count} frames; to train on {cut} and measure on "
                f"{count - cut}, {FEWEST} each are needed. Label more frames, or change --hold-out."
            )
        border = int(track.present[cut])
        first.append(_part(track, 0, border))
        second.append(_part(track, border, len(track.boxes)))
    return first, second


def _part(track: AnnotatedTrack, start: int, stop: int) -> AnnotatedTrack:
    masks = track.masks[start:stop] if track.masks else ()
    return replace(track, frames=track.frames[start:stop], boxes=track.boxes[start:stop], masks=masks)


def measure_clips(
    model: SiameseNetwork, config: Config, tracks: Sequence[AnnotatedTrack], max_frames: int, engine: str = "auto"
) -> tuple[float, ...]:
    """AUC of each clip, tracked in one pass from its first frame with the target."""
    return tuple(Validator(config, [track], "cpu", max_frames, engine)(model, 0)["auc"] for track in tracks)


def embed_samples(
    model: SiameseNetwork,
    config: Config,
    tracks: Sequence[AnnotatedTrack],
    adapt: FinetuneConfig,
    progress: Callable[[], None],
) -> MemorySamples:
    """Samples of the clips, as features of the whole backbone.

    Args:
        model: Its backbone is used without change.
        config: Sizes of the crops, context.
        tracks: The clips.
        adapt: Number of samples, and seed.
        progress: Called after each sample.
    """
    view = ViewConfig(
        template_size=config.model.template_size,
        search_size=config.model.search_size,
        context=config.tracking.context,
        frame_range=adapt.frame_range,
        distractors=adapt.distractors,
        augment=AugmentConfig(shift=config.model.search_size / 4),
    )
    maker = ClipViews(tracks, view)
    embed = compiled_stages(model.backbone, len(model.backbone.chain()))
    bare: list[Sample] = []
    templates, searches = [], []
    for k in range(adapt.groups):
        sample = maker.sample(np.random.default_rng([adapt.seed, k]))
        templates.append(embed(np.stack(sample.templates)))
        searches.append(embed(np.stack(sample.searches)))
        bare.append(sample)
        progress()
    return MemorySamples(sample_labels(bare), {"templates": np.stack(templates), "searches": np.stack(searches)})


def train_settings(model: SiameseNetwork, adapt: FinetuneConfig) -> TrainConfig:
    """Settings of the run: the losses of the shipped recipes, a low learning rate, averaged weights."""
    losses = (
        [LossConfig("focal", options={"alpha": 0.25, "gamma": 2.0, "inside": 0.4})]
        if model.has_boxes
        else [LossConfig("logistic")]
    )
    if model.has_boxes:
        losses.append(LossConfig("giou", 1.5, {"inside": 0.5}))
    return TrainConfig(
        seed=adapt.seed,
        steps=adapt.steps,
        batch_size=adapt.batch_size,
        device="cpu",
        precision="fp32",
        workers=0,
        threads=adapt.threads,
        checkpoint_every=adapt.steps,
        tensorboard=False,
        ema_decay=0.98,
        losses=losses,
        optim=OptimConfig(name="adamw", learning_rate=adapt.learning_rate),
        schedule=ScheduleConfig(warmup_steps=min(20, adapt.steps // 5)),
        freeze=[FreezeConfig("backbone.*")],
    )


def train_on(
    model: SiameseNetwork, samples: MemorySamples, adapt: FinetuneConfig, folder: Path, progress: bool = False
) -> None:
    """Trains everything except the backbone, in place; the result has the averaged weights.

    Args:
        model: The model to adapt.
        groups: From `embed_samples`.
        adapt: Steps, rate, seed.
        folder: For the run's checkpoint and log.
        progress: Whether to draw a progress bar.

    Raises:
        TrainingError: A loss that is not finite.
    """
    pairs = PairConfig(negative_pairs=adapt.negative_pairs)
    source = SamplePairs([samples], pairs, adapt.batch_size, adapt.seed, start=len(model.backbone.chain()))
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    trainer = Trainer(model, source, train_settings(model, adapt), folder, progress=progress)
    trainer.run()
    if trainer.ema is not None:
        with trainer.ema.applied(model):
            kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(kept)
    model.eval()
