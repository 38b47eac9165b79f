"""Configurations: frozen dataclasses, filled from yaml and from `key=value` overrides. An unknown key is an error.

OmegaConf does the typed merging; this module holds the schema and turns OmegaConf's errors into sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tracker.config_merge import merge
from tracker.model_config import ModelConfig, check_sizes
from tracker.settings import Checked, setting
from tracker.tracking_sections import (
    CalibrationConfig,
    DistractorsConfig,
    KnownConfig,
    MotionConfig,
    OnlineConfig,
    RedetectionConfig,
    SkipConfig,
    SmallSearchConfig,
    StatesConfig,
    TemplateMemoryConfig,
)
from tracker.yaml_files import read_yaml


def _moved(section: str, prefix: str, names: str) -> dict[str, str]:
    """Maps flat names with a prefix to the same names inside a section."""
    return {prefix + name: f"{section}.{name}" for name in names.split()}


MOVED = {
    **_moved("small_search", "steady_", "size step score"),
    **_moved("calibration", "", "confidence confidence_plain verification"),
    **_moved(
        "states",
        "",
        "uncertain_score sure_score sure_frames lost_score lost_frames lost_evidence lost_doubt_frames lost_peak "
        "lost_drop uncertain_frames uncertain_motion peak_fall",
    ),
    **_moved(
        "redetection",
        "redetect_",
        "score frames evidence drop drop_growth online_margin margin tiles work budget_ms size scale_step",
    ),
    **_moved("distractors", "distractor_", "frames gap"),
    **_moved("template_memory", "bank_", "size weight gap score similarity least"),
    **_moved("online", "online_", "weight rate gap turn channels"),
    "states": "states.enabled",
    "redetect": "redetection.enabled",
    "redetect_online": "redetection.online_score",
    "lost_follow_frames": "redetection.follow_frames",
    "motion": "motion.enabled",
    "skip": "skip.mode",
}
"""Flat names of version 0.1.0 (in recipes, overrides and checkpoint headers) -> today's section and name; also `skip`,
short for `skip.mode`."""

REMOVED = ("redetection.colours", "states.lost_colours")
"""Settings that are gone, in headers of checkpoints and recipes: the colours of a LOST target (docs/experiments.md, 134
to 136)."""


@dataclass(frozen=True)
class TrackingConfig(Checked, section="tracking"):
    """Settings of the tracking loop: how a response map becomes the next box, how the target's state is maintained, and
    what is learnt online.

    `siamtrack settings tracking` prints every field with its bounds. A value without a unit is a ratio. Scores are the
    calibrated ones of `tracker.tracking.confidence`, in [0, 1]; thresholds of states are fractions of the target's
    usual score (`tracker.tracking.state_machine`), so a threshold above 1 is never reached.

    Attributes:
        context: Margin around the box, as a share of w + h (SiamFC: 0.5).
        window_influence: Weight of the cosine window in the final response.
        scales: Classic head only: number of search scales.
        scale_step: Classic head only: factor between two search scales.
        scale_penalty: Classic: factor on the response of a changed scale. Boxes: k in exp(-k (change - 1)).
        size_lr: Learning rate of the target size that sets the search region (SiamFC's scale damping).
        box_size_lr: Boxes head only: learning rate of the size of the reported box, multiplied by the square root of
            the score.
        upsampling: Classic: bicubic up-sampling factor of the response; 1 uses a sub-pixel quadratic peak instead.
        min_size: Smallest side of a box.
        max_growth: The box's sqrt(w h) stays within [1/max_growth, max_growth] of that of the first one.
        small_search: The smaller search region for a target that moves little and has a high score (boxes head).
        skip: Frames in which optical flow moves the box and the network is not run (`tracker.tracking.skip`).
        calibration: The weights that `siamtrack calibrate` fits: of the score, and of the verification of
            re-detections.
        states: When a target is TRACKING, UNCERTAIN or LOST (`tracker.tracking.state_machine`).
        redetection: How a LOST target is searched for and accepted again (`tracker.tracking.redetection`).
        known: When a candidate is accepted as a known target (`tracker.tracking.known_search`).
        distractors: Stored earlier frames with which a re-detection is compared (`tracker.tracking.distractors`).
        template_memory: Later views of the target, kept beside the first (`tracker.tracking.template_memory`).
        online: The online filter, fitted to the target in the video (`tracker.tracking.online_filter`).
        motion: Where the search window is centred (`tracker.tracking.motion`).
    """

    moved: ClassVar[Mapping[str, str]] = MOVED
    removed: ClassVar[Sequence[str]] = REMOVED

    context: float = setting(0.5, 0, 4)
    window_influence: float = setting(0.3, 0, 1)
    scales: int = setting(3, 1, 15, "scales")
    scale_step: float = setting(1.0375, 1, 2)
    scale_penalty: float = setting(0.04, 0, 10)
    size_lr: float = setting(0.4, 0, 1)
    box_size_lr: float = setting(0.7, 0, 1)
    upsampling: int = setting(16, 1, 32)
    min_size: float = setting(4.0, 0.5, 512, "pixels")
    max_growth: float = setting(12.0, 1, 1000)
    small_search: SmallSearchConfig = setting(factory=SmallSearchConfig)
    skip: SkipConfig = setting(factory=SkipConfig)
    calibration: CalibrationConfig = setting(factory=CalibrationConfig)
    states: StatesConfig = setting(factory=StatesConfig)
    redetection: RedetectionConfig = setting(factory=RedetectionConfig)
    known: KnownConfig = setting(factory=KnownConfig)
    distractors: DistractorsConfig = setting(factory=DistractorsConfig)
    template_memory: TemplateMemoryConfig = setting(factory=TemplateMemoryConfig)
    online: OnlineConfig = setting(factory=OnlineConfig)
    motion: MotionConfig = setting(factory=MotionConfig)


@dataclass(frozen=True)
class Config(Checked):
    """One recipe: the model, the tracking settings, and the training section (a plain mapping here; `tracker.training`
    checks its types)."""

    name: str = setting("siamtrack-s", help="What the model is called.")
    model: ModelConfig = setting(factory=ModelConfig, help="The network.")
    tracking: TrackingConfig = setting(factory=TrackingConfig, help="The video loop.")
    train: dict[str, Any] = setting(factory=dict, help="How it is or was trained; read by `tracker.training`.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self.model, self.tracking)


def load_config(path: str | Path | None = None, overrides: Sequence[str] = (), base: Config | None = None) -> Config:
    """Builds a configuration from defaults (or `base`), then a yaml file, then `key=value` overrides.

    Args:
        path: yaml file with the sections name, model, tracking, train, or the name of a shipped recipe; None for none.
        overrides: Such as "tracking.window_influence=0.2".
        base: The configuration that the file changes; the dataclass defaults where None.

    Raises:
        ConfigError: Missing or malformed file, unknown key (with the nearest known one), value of a wrong type.
    """
    return merge(
        base or Config(),
        read_yaml(path) if path is not None else {},
        overrides,
        where=str(path) if path else "the overrides",
    )
