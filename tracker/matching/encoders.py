"""Encoders in one registry: images or tokens in, embeddings out.

An encoder is a module whose forward takes a batch of `tracker.matching.inputs` - (B, 3, H, W) BGR 0..255 for images
(uint8 or float), (B, T, G) integers for texts - and returns (B, D). Those with `maps` also return (B, C, h, w) from
`forward_map`, so that a template can be correlated with a search image as in the tracker.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.files import suggest
from tracker.matching import foreign, text  # noqa: F401  (they register their encoders)
from tracker.matching.config import InputConfig, PartConfig
from tracker.matching.foreign import ENCODERS
from tracker.matching.foreign import register_encoder as register_encoder
from tracker.model.backbones import BACKBONES, Backbone, EfficientNetLite0, build_backbone


def encoder_names() -> list[str]:
    """The names known to `build_encoder`."""
    return sorted(ENCODERS)


def build_encoder(part: PartConfig, given: InputConfig) -> nn.Module:
    """Builds the encoder of a recipe, with random weights.

    Args:
        part: Its name and options.
        given: Its input.

    Raises:
        ConfigError: An unknown name or option, or a value that can't be used.
    """
    known = encoder_names()
    if part.name not in known:
        raise ConfigError(
            f"The encoder {part.name!r} is unknown; there are {', '.join(known)}.{suggest(part.name, known)}"
        )
    factory = ENCODERS[part.name]
    accepted = [name for name in inspect.signature(factory).parameters if name != "input"]
    for option in part.options:
        if option not in accepted:
            raise ConfigError(f"The encoder {part.name!r} has no option {option!r}; it has {', '.join(accepted)}.")
    try:
        return factory(input=given, **part.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The encoder {part.name!r} can't be built from {dict(part.options)}: {error}.") from None


class GeM(nn.Module):
    """Generalised mean over the cells of a map (Radenovic et al. 2019): exponent 1 is the mean, large ones approach the
    maximum.

    Args:
        power: Initial value of the learnt exponent.
    """

    def __init__(self, power: float = 3.0) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(float(power)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C)."""
        p = self.power.clamp(1, 10)
        return x.clamp(min=1e-5).pow(p).mean((2, 3)).pow(1 / p)


@register_encoder("cnn")
class SmallCNN(nn.Module):
    """Blocks of 3x3 convolution, BatchNorm, ReLU and 2x2 pooling, then a projection: the network of few-shot papers
    (Vinyals et al. 2016).

    Args:
        input: Size and colour of the pictures.
        channels: Width of each block; every block halves the resolution.
        dim: D; 0: no projection. With pool flatten an embedding is then a map, and comparing embeddings equals
            correlating a template with a search image.
        pool: flatten (keeps positions), mean or gem.
        signed: Whether the last block has no ReLU and uses mean pooling: its features then have both signs, which suits
            cosines of maps.
        dropout: Dropout before the projection.
        edges: Number of orientations of a fixed first layer that extracts edges (`OrientedGradients`, which halves the
            resolution), for images of several modalities; 0: none.
    """

    maps = True

    def __init__(
        self,
        input: InputConfig,  # noqa: A002 - the recipe's own word
        channels: Sequence[int] = (32, 64, 128, 128),
        dim: int = 128,
        pool: str = "flatten",
        signed: bool = False,
        dropout: float = 0.0,
        edges: int = 0,
    ) -> None:
        super().__init__()
        if pool not in ("flatten", "mean", "gem"):
            raise ConfigError(f"The encoder 'cnn' has no pool {pool!r}; there are flatten, mean and gem.")
        if edges and not input.gray:
            raise ConfigError(
                "The encoder 'cnn' with edges reads gray pictures; set model.input.gray=true, or edges: 0."
            )
        self.gray, self.pool, self.stride = input.gray, pool, 2 ** len(channels) * (2 if edges else 1)
        height, width = input.height // self.stride, input.width // self.stride
        if min(height, width) < 1:
            raise ConfigError(
                f"{len(channels)} blocks leave nothing of a picture of {input.width} x {input.height}; take fewer or "
                "larger."
            )
        layers: list[nn.Module] = []
        self.edges = OrientedGradients(edges) if edges else None
        inputs = edges or (1 if input.gray else 3)
        for outputs in channels:
            layers.append(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)
                )
            )
            inputs = outputs
        if signed:
            layers[-1] = nn.Sequential(*list(layers[-1].children())[:2], nn.AvgPool2d(2))
        self.blocks = nn.Sequential(*layers)
        self.gem = GeM() if pool == "gem" else None
        self.dropout = nn.Dropout(dropout)
        features = inputs * height * width if pool == "flatten" else inputs
        self.project: nn.Module = nn.Linear(features, dim) if dim else nn.Identity()
        self.out_dim = dim or features

    def forward_map(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) BGR 0..255 -> (B, C, H // stride, W // stride)."""
        x = x.float().mean(1, keepdim=True) if self.gray else x.float()
        return self.blocks((x - 127.5) / 64 if self.edges is None else 4 * self.edges(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) BGR 0..255 -> (B, D)."""
        y = self.forward_map(x)
        pooled = y.flatten(1) if self.pool == "flatten" else self.gem(y) if self.gem is not None else y.mean((2, 3))
        return self.project(self.dropout(pooled))


@register_encoder("backbone")
class PooledBackbone(nn.Module):
    """One of the tracker's backbones, followed by pooling and a projection.

    Args:
        input: Size of the pictures.
        name: In `tracker.model.backbones.BACKBONES`.
        dim: D; 0: no projection, D is the backbone's number of channels (times the cells of the grid).
        pool: mean, gem or grid (means over grid x grid parts, which keeps positions).
        grid: Parts along each side for `grid`.
        imagenet: Whether to initialise with ImageNet weights (EfficientNet-Lite0 only).
        dropout: Dropout before the projection.
    """

    maps = True

    def __init__(
        self,
        input: InputConfig,  # noqa: A002
        name: str = "efficientnet-lite0",
        dim: int = 128,
        pool: str = "gem",
        grid: int = 3,
        imagenet: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if pool not in ("mean", "gem", "grid"):
            raise ConfigError(f"The encoder 'backbone' has no pool {pool!r}; there are mean, gem and grid.")
        if name not in BACKBONES:
            raise ConfigError(f"The backbone {name!r} is unknown; there are {', '.join(sorted(BACKBONES))}.")
        self.backbone: Backbone = build_backbone(name)
        if imagenet:
            if not isinstance(self.backbone, EfficientNetLite0):
                raise ConfigError(f"There are no ImageNet weights for the backbone {name!r}; set imagenet: false.")
            self.backbone.load_imagenet()
        self.stride, self.pool, self.grid = self.backbone.stride, pool, grid
        channels = self.backbone.out_channels + self.backbone.fine_channels
        self.gem = GeM() if pool == "gem" else None
        width = channels * (grid * grid if pool == "grid" else 1)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.BatchNorm1d(width)
        self.project: nn.Module = nn.Linear(width, dim, bias=False) if dim else nn.Identity()
        self.out_dim = dim or width

    def forward_map(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) BGR 0..255 -> (B, C, h, w)."""
        return self.backbone(x.float())

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) BGR 0..255 -> (B, D)."""
        y = self.forward_map(x)
        if self.gem is not None:
            pooled = self.gem(y)
        elif self.pool == "grid":
            pooled = F.adaptive_avg_pool2d(y, self.grid).flatten(1)
        else:
            pooled = y.mean((2, 3))
        return self.project(self.dropout(self.norm(pooled)))


class OrientedGradients(nn.Module):
    """Strength of edges at several orientations, independent of their polarity, normalised by the edges nearby.

    The channel features of oriented gradients of Ye et al. 2019 ("Fast and Robust Matching for Multimodal Remote
    Sensing Image Registration"): |cos(t) dx + sin(t) dy| for each orientation t, smoothed, and divided by their norm
    over all orientations. An image and its negative give the same output; so does a change of contrast, as far as edges
    stay above `floor`.

    Args:
        orientations: Number of orientations, evenly over 180 degrees.
        sigma: Standard deviation of the Gaussian derivative, pixels.
        floor: Gradient in gray levels per pixel below which an edge counts as noise.
    """

    stride = 2

    def __init__(self, orientations: int = 9, sigma: float = 1.0, floor: float = 1.25) -> None:
        super().__init__()
        self.floor = floor
        radius = max(1, math.ceil(3 * sigma))
        places = torch.arange(-radius, radius + 1, dtype=torch.float32)
        bell = torch.exp(-places.square() / (2 * sigma**2))
        bell = bell / bell.sum()
        slope = -places / sigma**2 * bell
        slope = slope / (slope * -places).sum()  # normalised: a ramp of one gray level per pixel gives 1
        dx, dy = bell[:, None] * -slope[None], -slope[:, None] * bell[None]
        turns = torch.arange(orientations, dtype=torch.float32) * math.pi / orientations
        kernel = turns.cos()[:, None, None] * dx + turns.sin()[:, None, None] * dy
        self.register_buffer("kernel", kernel[:, None], persistent=False)
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) gray levels -> (B, orientations, H // 2, W // 2) in [0, 1]."""
        with torch.autocast(x.device.type, enabled=False):  # half precision would round small gradients away
            x = F.pad(x.float(), (self.radius,) * 4, mode="replicate")
            strength = F.avg_pool2d(F.conv2d(x, self.kernel).abs(), 2)  # type: ignore[arg-type]
            smooth = F.avg_pool2d(F.pad(strength, (1, 1, 1, 1), mode="replicate"), 3, 1)
            return strength / (smooth.square().sum(1, keepdim=True).sqrt() + self.floor)
