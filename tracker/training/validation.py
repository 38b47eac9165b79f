"""Validation by tracking: the current model tracks held-out clips.

The loss doesn't predict tracking accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tracker.config import Config
from tracker.config_merge import merge
from tracker.datasets.tracks import AnnotatedTrack, read_got10k, read_image
from tracker.errors import ConfigError
from tracker.geometry import iou
from tracker.metrics.one_pass import run_one_pass
from tracker.model.checkpoint import LoadedModel, folded
from tracker.runtime.select import build_engine
from tracker.settings import LARGEST, Checked, setting
from tracker.tracking.tracker import SiamTracker
from tracker.training.data.batch import Validate

THRESHOLDS = np.arange(21) / 20
"""OTB's overlaps: 0, 0.05 ... 1."""


@dataclass(frozen=True)
class ValidationConfig(Checked, section="train.validation"):
    """The `train.validation` section of a recipe."""

    root: str = setting("", help="Folder that `path` is relative to; default: that of train.data.material.")
    path: str = setting("", help="Folder in the GOT-10k layout.")
    names: list[str] = setting(factory=lambda: ["*"], help="Glob patterns of the sequences to take.")
    exclude: list[str] = setting(factory=list, help="Glob patterns of the sequences to leave out.")
    max_frames: int = setting(0, 0, LARGEST, "frames", "Greatest number of frames per sequence; 0: all.")
    engine: str = setting("auto", help="auto, torch or onnxruntime.")


def build_validator(config: Config, device: str = "cpu") -> Validate:
    """Builds the measurement of a recipe's `train.validation`.

    Args:
        config: The whole recipe: its tracking section applies.
        device: Device of the tracker.

    Raises:
        ConfigError: No validation data, or an unknown key.
        DataError: The clips are missing.
    """
    section = merge(ValidationConfig(), config.train.get("validation", {}), where="train.validation")
    if not section.path:
        raise ConfigError(
            "train.validate_every is above 0 and train.validation.path names no clips; name some or take 0."
        )
    material: Mapping[str, Any] = config.train.get("data", {}).get("material", {})
    root = Path(section.root or material.get("root", "data")).expanduser()
    tracks = read_got10k(root / section.path, section.names, section.exclude)
    return Validator(config, tracks, device, section.max_frames, section.engine)


class Validator:
    """Runs a tracker over tracks, one pass each.

    Args:
        config: Recipe.
        tracks: Clips with a known first box.
        device: cpu or cuda.
        max_frames: Greatest number of frames per sequence; 0: all.
        engine: auto, torch or onnxruntime.
    """

    def __init__(
        self, config: Config, tracks: Sequence[AnnotatedTrack], device: str, max_frames: int = 0, engine: str = "auto"
    ) -> None:
        self.config, self.tracks, self.device, self.max_frames, self.engine = (
            config,
            list(tracks),
            device,
            max_frames,
            engine,
        )

    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        """auc (area under OTB's success curve) and ao (mean overlap), means over sequences, without first frames."""
        state = {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in model.state_dict().items()}
        loaded = LoadedModel(self.config.name, *folded(self.config, state))
        tracker = SiamTracker(loaded, build_engine(loaded, device=self.device, engine=self.engine))
        overlaps = [self._follow(tracker, track) for track in self.tracks]
        return {
            "auc": float(np.mean([np.mean(values[:, None] > THRESHOLDS[None]) for values in overlaps])),
            "ao": float(np.mean([np.mean(values) for values in overlaps])),
        }

    def _follow(self, tracker: Any, track: AnnotatedTrack) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Overlaps in the frames after the first one with the target."""
        shown = track.present[: self.max_frames or None]
        first, last = int(shown[0]), int(shown[-1])
        images = (read_image(path) for path in track.frames[first : last + 1])
        run = run_one_pass(tracker, images, track.boxes[first])
        wanted = shown[1:]
        return iou(run.boxes[wanted - first], track.boxes[wanted]) if len(wanted) else np.zeros(1)
