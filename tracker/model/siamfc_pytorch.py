"""Conversion of checkpoints of the project siamfc-pytorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tracker.config import Config
from tracker.config_merge import merge
from tracker.errors import WeightsError, misfit, reading, shown


def read_siamfc_pytorch(path: Path) -> tuple[Config, dict[str, Any]]:
    """A state dict with the names of the public siamfc-pytorch checkpoints (backbone.conv1.0.weight ...)."""
    import torch

    with reading(lambda why: WeightsError(f"The checkpoint {path} can't be read as plain tensors ({why}).")):
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or "backbone.conv1.0.weight" not in state:
        raise WeightsError(
            f"The checkpoint {path} is not in the siamfc-pytorch format (no backbone.conv1.0.weight in it)."
        )
    config = merge(Config(name="siamfc-alexnet"), {"model": SIAMFC_MODEL, "tracking": SIAMFC_TRACKING}, where=str(path))
    odd = next(
        (
            k
            for k, v in state.items()
            if not isinstance(k, str) or not isinstance(v, torch.Tensor) or v.layout != torch.strided
        ),
        None,
    )
    if odd is not None:
        raise WeightsError(
            f"The checkpoint {path} holds {shown(odd)}, which is not a plain tensor with a name; export it again."
        )
    own = {key: value for key, value in state.items() if key.startswith("backbone.")}
    own["head.scale"] = torch.tensor(0.001)  # its `out_scale`
    own["head.bias"] = torch.tensor(0.0)
    with reading(lambda why: misfit(path, why)):
        return config, {key: value.detach().numpy() for key, value in own.items()}


SIAMFC_TRACKING = {
    "window_influence": 0.176,
    "scales": 3,
    "scale_step": 1.0375,
    "scale_penalty": 0.9745,
    "size_lr": 0.59,
    "upsampling": 16,
}


SIAMFC_MODEL = {
    "backbone": "siamfc-alexnet",
    "neck_channels": 0,
    "energy": "dot",
    "head": "classic",
    "template_size": 127,
    "search_size": 255,
    "response_scale": 0.001,
}
