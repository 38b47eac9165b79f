"""Models by name or file: the shipped weights, and the reading and writing of checkpoints.

A checkpoint is one safetensors file. Its header holds the whole configuration as json, so no other file is needed;
nothing in it can execute code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracker._version import __version__
from tracker.config import Config, load_config
from tracker.config_merge import merge, nested, to_dict
from tracker.errors import WeightsError, misfit, reading, shown
from tracker.files import atomic, is_file, suggest
from tracker.model.backbone_specs import NORMED, SPECS
from tracker.model.siamfc_pytorch import read_siamfc_pytorch

if TYPE_CHECKING:
    from tracker.model.siamese_network import SiameseNetwork

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
HEADER = "siamtrack"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for an engine. Reading it needs no torch; accessing `module` does.

    Attributes:
        name: Its name.
        config: Its configuration, overrides applied.
        state: Its arrays, by the names of the module's state dict.
        path: The file it came from, or None.
    """

    name: str
    config: Config
    state: Mapping[str, NDArray[Any]]
    path: Path | None = None

    @cached_property
    def module(self) -> SiameseNetwork:
        """The network as a torch module: in eval mode, on the CPU.

        Raises:
            WeightsError: The arrays don't fit the configuration.
        """
        import torch

        from tracker.model.random import DrawFrom
        from tracker.model.siamese_network import SiameseNetwork

        with DrawFrom(0):  # all parameters are replaced below
            module = SiameseNetwork(self.config.model)
        try:
            module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in self.state.items()})
        except (RuntimeError, TypeError, ValueError) as error:
            raise misfit(self.path, error) from None
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        return module.eval()

    @property
    def stride(self) -> int:
        """Search-crop pixels for one step of the response."""
        backbone = self.config.model.backbone
        return SPECS[backbone].stride if backbone in SPECS else self.module.stride

    @property
    def has_boxes(self) -> bool:
        """Whether the head predicts boxes (then no scale pyramid is needed)."""
        return self.config.model.head != "classic"


def shipped_models() -> list[str]:
    """Names of the trackers whose weights are in the package (matchers, `match-*`, are `tracker.matching.store`'s)."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors") if not path.stem.startswith("match-"))


def find_weights(name_or_file: str | Path) -> Path:
    """The checkpoint file of a shipped name, or the file itself.

    Raises:
        WeightsError: Neither.
    """
    if not isinstance(name_or_file, str | Path):
        raise WeightsError(
            f"The model {shown(name_or_file)} is neither a name nor a file; the shipped ones are "
            f"{', '.join(shipped_models())}."
        )
    shipped = WEIGHTS / f"{name_or_file}.safetensors"
    if is_file(shipped):
        return shipped
    path = Path(name_or_file)
    if is_file(path):
        return path
    raise WeightsError(
        f"The model {shown(str(name_or_file))} is neither a shipped model ({', '.join(shipped_models()) or 'none'}) "
        "nor an existing file." + suggest(str(name_or_file), shipped_models(), 0.7)
    )


def load_model(
    name_or_file: str | Path, config: str | Path | None = None, overrides: Sequence[str] = ()
) -> LoadedModel:
    """A model with its weights.

    Args:
        name_or_file: Shipped name, .safetensors file, or a .pth of the public siamfc-pytorch format.
        config: yaml that changes the configuration stored with the weights.
        overrides: `key=value` changes.

    Raises:
        WeightsError: The file is missing, damaged, or doesn't fit its configuration.
        ConfigError: The yaml or an override is wrong.
    """
    path = find_weights(name_or_file)
    if path.suffix in (".pth", ".pt"):
        stored, state = read_siamfc_pytorch(path)
    else:
        metadata, state = read_safetensors(path)
        stored = merge(Config(), read_header(metadata, path)["config"], where=str(path))
    full = load_config(config, overrides, base=stored)
    if not all(value.dtype.kind in "fiu" for value in state.values()):
        raise WeightsError(
            f"The checkpoint {path} holds arrays of something else than numbers; it is not a model of this program."
        )
    if not all(np.isfinite(value).all() for value in state.values()):
        raise WeightsError(
            f"The checkpoint {path} holds values that are not finite; its training diverged, take an earlier one."
        )
    model = LoadedModel(full.name, full, state, path)
    if full.model != stored.model:
        model.module  # noqa: B018 - builds it, which shows whether the changed configuration still fits
    return model


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Header and arrays of a file.

    Raises:
        WeightsError: It is damaged.
    """
    from safetensors import safe_open

    with reading(
        lambda why: WeightsError(
            f"The checkpoint {path} can't be read ({why}); it may be damaged: fetch or train it again."
        )
    ):
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}


def read_header(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The metadata that this package wrote into a checkpoint's header: version, config, notes.

    Raises:
        WeightsError: The file was not written by this package, or it is damaged.
    """
    if HEADER not in metadata:
        raise WeightsError(
            f"The checkpoint {path} carries no SiamTrack configuration; it was written by something else."
        )
    damaged = f"The header of the checkpoint {path} is damaged: fetch or train it again"
    with reading(lambda why: WeightsError(f"{damaged} ({why}).")):
        header = json.loads(metadata[HEADER])
    if (
        not isinstance(header, dict)
        or not isinstance(header.get("config"), dict)
        or not isinstance(header.get("notes", {}), dict)
    ):
        raise WeightsError(f"{damaged} (it holds no configuration).")
    return header


def folded(config: Config, state: Mapping[str, Any]) -> tuple[Config, dict[str, Any]]:
    """Converts a model in training to one for use: layers that only training needs are folded into the weights before
    them.

    Args:
        config: The model's configuration.
        state: Its tensors by name.

    Returns:
        Configuration and state, unchanged except for a backbone with `NORMED`, which becomes the backbone without it.
        BatchNorm after a convolution, g (W x + b - m) / sqrt(v + e) + h, is itself a convolution (Jacob et al. 2018,
        section 3.2).
    """
    state = dict(state)
    if not config.model.backbone.endswith(NORMED):
        return config, state
    last = "backbone.conv5."
    g, h, m, v = (state.pop(f"{last}1.{name}") for name in ("weight", "bias", "running_mean", "running_var"))
    state.pop(f"{last}1.num_batches_tracked")
    gain = g / (v + 1e-6) ** 0.5
    state[f"{last}0.weight"] = state[f"{last}0.weight"] * gain[:, None, None, None]
    state[f"{last}0.bias"] = (state[f"{last}0.bias"] - m) * gain + h
    return merge(config, {"model": {"backbone": config.model.backbone.removesuffix(NORMED)}}), state


def save_model(path: str | Path, module: SiameseNetwork, config: Config, notes: dict[str, Any] | None = None) -> None:
    """Writes a checkpoint, atomically.

    Args:
        path: A .safetensors file.
        module: The network.
        config: Stored in the header.
        notes: Further facts for the header (steps, seed, git revision); json values.
    """
    from safetensors.torch import save

    file = Path(path)
    config, state = folded(
        config, {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    )
    header = {"version": __version__, "config": to_dict(config), "notes": notes or {}}
    with atomic(file) as out:
        out.write(save(state, metadata={HEADER: json.dumps(header)}))


def update_tracking(path: str | Path, values: Mapping[str, Any], notes: Mapping[str, Any] | None = None) -> Config:
    """Rewrites the tracking section in a checkpoint's header, atomically; the arrays stay as they are.

    Args:
        path: A .safetensors checkpoint.
        values: New values of settings of `TrackingConfig`, nested ones by dotted name; others keep theirs.
        notes: Facts to add to the header's notes.

    Returns:
        The configuration now stored in the file.

    Raises:
        WeightsError: The file isn't a SiamTrack checkpoint.
        ConfigError: An unknown field, or a value of a wrong type.
    """
    from safetensors.numpy import save

    file = Path(path)
    metadata, state = read_safetensors(file)
    header = read_header(metadata, file)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    config = merge(merge(Config(), header["config"], where=str(file)), {"tracking": nested(plain)}, where=str(file))
    header["config"] = to_dict(config)
    header["notes"] = {**header.get("notes", {}), **(notes or {})}
    with atomic(file) as out:
        out.write(save(state, metadata={**metadata, HEADER: json.dumps(header)}))
    return config


def fingerprint(model: LoadedModel) -> str:
    """sha256 of a model's weights: embeddings are comparable only if it is equal."""
    content = hashlib.sha256()
    for key, value in sorted(model.state.items()):
        content.update(key.encode() + np.ascontiguousarray(value).tobytes())
    return content.hexdigest()
