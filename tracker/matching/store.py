"""Matchers as files: one safetensors file whose header describes the architecture; it can't contain code."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracker._version import __version__
from tracker.config_merge import merge, to_dict
from tracker.errors import ConfigError, WeightsError
from tracker.files import suggest, write_atomic
from tracker.matching.calibration import Calibration, calibrate
from tracker.matching.config import MatchConfig, MatchModel
from tracker.matching.twins import Twins

log = logging.getLogger(__name__)
HEADER = "siamtrack-match"
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"


@dataclass(frozen=True)
class StoredMatcher:
    """A matcher's file.

    Attributes:
        name: Name of the model.
        twins: In eval mode, on the CPU, without gradients.
        calibration: Its calibration, or None.
        notes: Facts about the training.
        fingerprint: sha256 of model and weights: embeddings are comparable only if it is equal.
    """

    name: str
    twins: Twins
    calibration: Calibration | None
    notes: dict[str, Any]
    fingerprint: str


def find_matcher(name_or_file: str | Path) -> Path:
    """The file of a shipped matcher, or the given file.

    Raises:
        WeightsError: There is no such name or file.
    """
    shipped = WEIGHTS / f"{name_or_file}.safetensors"
    if shipped.is_file():
        return shipped
    path = Path(name_or_file)
    if path.is_file():
        return path
    known = sorted(p.stem for p in WEIGHTS.glob("*.safetensors"))
    raise WeightsError(
        f"The model {str(name_or_file)!r} is neither a shipped one ({', '.join(known)}) nor an existing file."
        + suggest(str(name_or_file), known)
    )


def save_matcher(
    path: str | Path,
    twins: Twins,
    name: str,
    calibration: Calibration | None = None,
    notes: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Writes a matcher, atomically.

    Args:
        path: A .safetensors file.
        twins: The network.
        name: Name of the model.
        calibration: Its calibration.
        notes: Further facts for the header; json values.
        half: Whether weights are stored in half precision: half the size, embeddings differ in the fourth digit.
    """
    from safetensors.torch import save

    state = {key: value.detach().cpu().contiguous() for key, value in twins.state_dict().items()}
    if half:
        state = {
            key: value.half() if value.dtype == torch.float32 and value.ndim > 1 else value
            for key, value in state.items()
        }
    header = {
        "version": __version__,
        "name": name,
        "model": to_dict(twins.config),
        "calibration": None if calibration is None else calibration.to_dict(),
        "notes": dict(notes or {}),
    }
    write_atomic(path, save(state, metadata={HEADER: json.dumps(header)}))


def is_matcher(path: Path) -> bool:
    """Whether a file is a matcher's (a tracker's checkpoint is not)."""
    return HEADER in _open(path)[0]


def _open(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {}), {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"The model {path} can't be read ({error}); it may be damaged: fetch or train it again."
        ) from None


def load_matcher(name_or_file: str | Path) -> StoredMatcher:
    """A matcher from its file.

    Raises:
        WeightsError: Missing, damaged, not a matcher, or weights that don't fit.
    """
    path = find_matcher(name_or_file)
    metadata, state = _open(path)
    if HEADER not in metadata:
        raise WeightsError(
            f"The file {path} is no matcher: it was written by something else. `siamtrack match train` writes one."
        )
    try:
        header = json.loads(metadata[HEADER])
        model = merge(MatchModel(), header["model"], where=str(path))
        calibration = None if header["calibration"] is None else Calibration.from_dict(header["calibration"])
        name, notes = str(header["name"]), dict(header["notes"])
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"The header of {path} can't be read ({error}); train the model again.") from None
    if not all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point()):
        raise WeightsError(
            f"The model {path} holds values that are not finite; its training diverged, take an earlier one."
        )
    # The pretrained weights of a backbone are overwritten below: they need not be available.
    fresh = {
        part: {"options": {k: False for k in ("imagenet", "pretrained") if k in options}}
        for part, options in _options(model)
    }
    twins = Twins(merge(model, fresh))
    state = {key: value.float() if value.dtype == torch.float16 else value for key, value in state.items()}
    try:
        twins.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"The weights in {path} don't fit its header: {' '.join(str(error).split())[:200]}"
        ) from None
    for parameter in twins.parameters():
        parameter.requires_grad_(False)
    return StoredMatcher(name, twins.eval(), calibration, notes, fingerprint(twins))


def _options(model: MatchModel) -> list[tuple[str, dict[str, Any]]]:
    return [("encoder", model.encoder.options), ("second", model.second.options)]


def fingerprint(twins: Twins) -> str:
    """sha256 of everything that determines an embedding: input, encoders and weights."""
    what = to_dict(twins.config)
    what.pop("energy")
    what["input"].pop("context")
    for part in ("encoder", "second"):
        what[part]["options"].pop("imagenet", None)
    content = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
    for key, value in sorted(twins.state_dict().items()):
        content.update(key.encode() + np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return content.hexdigest()


def fill(twins: Twins, name_or_file: str | Path) -> None:
    """Initialises a matcher with the weights of another, or of a tracker's backbone; parameters of another shape keep
    their values.

    Raises:
        WeightsError: Nothing in it matches.
    """
    path = find_matcher(name_or_file)
    _, state = _open(path)
    own = twins.state_dict()
    renamed = {**state, **{f"encoder.{key}": value for key, value in state.items() if key.startswith("backbone.")}}
    taken = {key: value for key, value in renamed.items() if key in own and own[key].shape == value.shape}
    if not taken:
        raise WeightsError(
            f"Nothing in {path} fits this recipe's model; start from another, or from fresh weights (start: '')."
        )
    twins.load_state_dict(taken, strict=False)
    log.info("took %d of %d tensors from %s", len(taken), len(own), path)


def calibrated_on_material(twins: Twins, config: MatchConfig, limit: int = 400) -> Calibration | None:
    """Fits the calibration to the recipe's own data: to the held-out fold, if there is one.

    Args:
        twins: In eval mode.
        config: The recipe.
        limit: Greatest number of images.

    Returns:
        None if the data has no two images of a class, or no two classes.
    """
    from tracker.matching.protocols import pairs_of_material

    for kept in (True, False) if config.data.folds > 1 else (False,):
        pairs = pairs_of_material(twins, config, kept, limit)
        if pairs is not None:
            return calibrate(*pairs, on="kept" if kept else "trained")
    return None
