"""Registration of encoders, and adapters for external ones: any module, timm's image models, sentence-transformers'
text models.

A module registers its encoder under a name, which a recipe or a model file can then use. timm and sentence-transformers
are optional packages, and download weights from their own hubs on request; nothing here requires them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.matching.config import InputConfig

Factory = Callable[..., nn.Module]
ENCODERS: dict[str, Factory] = {}


def register_encoder(name: str) -> Callable[[Factory], Factory]:
    """Decorator that registers an encoder under the name used in recipes and model files; also for users' own modules.

    Examples:
        >>> @register_encoder("mine")
        ... def build(input: InputConfig, dim: int = 64) -> nn.Module:
        ...     return ModuleEncoder(my_network(dim))
    """

    def add(factory: Factory) -> Factory:
        ENCODERS[name] = factory
        return factory

    return add


class ModuleEncoder(nn.Module):
    """Wraps any module as an encoder.

    Args:
        module: Its output is (B, D), (B, C, h, w) (the mean over cells is taken) or (B, T, D) (the mean over tokens).
        prepare: Converts a batch to the module's input: (B, 3, H, W) BGR 0..255 uint8, or (B, T, G) token rows. None:
            RGB in [0, 1].
    """

    maps = False

    def __init__(self, module: nn.Module, prepare: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.module, self.prepare = module, prepare or _rgb

    def forward(self, x: Tensor) -> Tensor:
        """A batch -> (B, D).

        Raises:
            ConfigError: The module returns something else.
        """
        y = self.module(self.prepare(x))
        if not isinstance(y, Tensor) or y.ndim not in (2, 3, 4):
            raise ConfigError(
                f"The module gives {getattr(y, 'shape', type(y).__name__)}; an encoder gives (B, D), (B, T, D) or "
                "(B, C, h, w)."
            )
        return y if y.ndim == 2 else y.mean(1) if y.ndim == 3 else y.mean((2, 3))


def _rgb(x: Tensor) -> Tensor:
    return x.flip(1).float() / 255


@register_encoder("timm")
def timm_encoder(input: InputConfig, name: str = "resnet18", pretrained: bool = False) -> nn.Module:  # noqa: A002
    """A model of the package timm (Apache-2.0) without its classifier.

    Raises:
        ConfigError: timm is not installed, or has no such model.
    """
    try:
        import timm
    except ImportError:
        raise ConfigError(
            "The encoder 'timm' needs the package timm, which is not installed; run: pip install timm"
        ) from None
    if not timm.is_model(name):
        raise ConfigError(f"timm has no model {name!r}; timm.list_models() names them.")
    model = timm.create_model(name, pretrained=pretrained, num_classes=0)
    settings = timm.data.resolve_model_data_config(model)
    mean = torch.tensor(settings["mean"])[:, None, None]
    std = torch.tensor(settings["std"])[:, None, None]
    return ModuleEncoder(model, lambda x: (_rgb(x) - mean.to(x.device)) / std.to(x.device))


def sentence_encoder(name: str) -> Callable[[list[str]], Tensor]:
    """A model of the package sentence-transformers (Apache-2.0) as a function from texts to embeddings.

    Its input is texts, not this package's tokens: use it with `Matcher.of_function`.

    Raises:
        ConfigError: The package is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise ConfigError("sentence-transformers is not installed; run: pip install sentence-transformers") from None
    model = SentenceTransformer(name)
    return lambda texts: model.encode(texts, convert_to_tensor=True).cpu()
