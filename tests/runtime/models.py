"""Small models with random but fixed weights, for tests of engines and exports."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from tracker.config import Config
from tracker.model.checkpoint import LoadedModel, save_model
from tracker.model.siamese_network import SiameseNetwork
from tracker.model_config import ModelConfig

_ALEXNET = {
    "backbone": "siamfc-alexnet",
    "neck_channels": 0,
    "head": "classic",
    "template_size": 127,
    "search_size": 191,
}
_SMALL = {"template_size": 65, "search_size": 129, "head_channels": 24}
CASES: dict[str, dict[str, object]] = {
    "boxes cosine": {**_SMALL, "neck_channels": 32},
    "boxes cosine, four stages": {
        **_SMALL,
        "backbone": "efficientnet-lite0-80",
        "neck_channels": 0,
        "template_size": 97,
    },
    "boxes cosine, fine": {**_SMALL, "backbone": "efficientnet-lite0-fine", "neck_channels": 32},
    "boxes cosine, fine, relative": {**_SMALL, "backbone": "efficientnet-lite0-fine", "relative_boxes": True},
    "boxes dot, relative": {**_SMALL, "energy": "dot", "relative_boxes": True},
    "boxes dot": {**_SMALL, "neck_channels": 0, "energy": "dot", "head_layers": 2},
    "boxes euclidean": {**_SMALL, "neck_channels": 16, "energy": "euclidean"},
    "attention cosine": {**_SMALL, "head": "attention", "neck_channels": 32},
    "attention cosine, fine, relative": {
        **_SMALL,
        "head": "attention",
        "backbone": "efficientnet-lite0-fine",
        "relative_boxes": True,
        "attention_layers": 2,
    },
    "attention dot": {**_SMALL, "head": "attention", "energy": "dot", "attention_heads": 3},
    "attention euclidean": {**_SMALL, "head": "attention", "neck_channels": 16, "energy": "euclidean"},
    "classic cosine": {**_SMALL, "head": "classic"},
    "classic euclidean": {**_SMALL, "head": "classic", "energy": "euclidean", "response_scale": 0.001},
    "alexnet dot": {**_ALEXNET, "energy": "dot", "response_scale": 0.001},
    "alexnet cosine": {**_ALEXNET, "energy": "cosine"},
}


@cache
def random_model(case: str) -> LoadedModel:
    """A model whose BatchNorm statistics and head are not at their first values: folding them wrongly would show."""
    config = ModelConfig(**CASES[case])  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = SiameseNetwork(config).eval()
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.05)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) * 0.5 + 0.5)
        for name, parameter in module.named_parameters():
            if name.startswith("head.") and parameter.dim() == 4:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * (2 / parameter[0].numel()) ** 0.5)
        if config.energy != "cosine" and isinstance(getattr(module.head, "mix", None), torch.nn.Module):
            module.head.mix.weight.mul_(0.02)  # type: ignore[union-attr]
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    return LoadedModel(case, Config(name=case, model=config), state)


def pictures(count: int, size: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth random pictures, BGR uint8 size x size x 3."""
    rng = np.random.default_rng(seed)
    return [
        cv2.resize(rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8), (size, size)) for _ in range(count)
    ]


def untrained_file(path: Path, config: ModelConfig) -> Path:
    """A checkpoint with first weights: its score is a correlation of random features."""
    torch.manual_seed(0)
    save_model(path, SiameseNetwork(config).eval(), Config(name="tiny", model=config))
    return path
