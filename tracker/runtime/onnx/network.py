"""The Matcher as two ONNX graphs: template branch, and search branch with head. numpy only.

What differs from the torch modules, for speed, with equal results up to rounding:
  - BatchNorm is folded into the convolutions, and so are the change from BGR to RGB and the division of the input.
  - All that depends on the template alone is computed in its branch: `embedding` is not the feature map of
    `Matcher.embed_template` but the matrix that the search features are multiplied with (`tracker.runtime.onnx.heads`).
  - The search branch has its fine channels times `FINE_SHARE`, as the online filter reads them; the head's weights make up for it.
  - The stem reads rows of pixels as they lie in memory, and a search of known size has no arithmetic on shapes.
  - Channel counts are rounded up to a multiple of 8, which lets ONNX Runtime take its blocked convolutions.
Widths, kernels and numbers of blocks are read from the arrays. `tests/test_runtime_onnx.py` holds this against torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.config import ModelConfig
from tracker.errors import DeviceError
from tracker.model.checkpoint import FINE_SHARE, STRIDES
from tracker.runtime.onnx.writer import Graph

if TYPE_CHECKING:
    from tracker.runtime.onnx.heads import BoxHeadGraph, ClassicHeadGraph

Array = NDArray[np.float32]
State = Mapping[str, Array]

PADDED = {
    "efficientnet-lite0": True,
    "efficientnet-lite0-fine": True,
    "efficientnet-lite0-80": True,
    "siamfc-alexnet": False,
}
# Stride of the first block of each stage, the stem (2) left out: tracker.model.backbones.EfficientNetLite0.LAYOUT.
LITE0_STRIDES = (1, 2, 2, 2, 1)
FINE = {"efficientnet-lite0-fine": 3}
"""Stage whose output gives the fine channels."""


def search_model(config: ModelConfig, state: State, features: bool = False, size: int | None = None) -> bytes:
    """The search branch and the head.

    Inputs: `search` uint8 (batch, height, width, 3) BGR; `embedding` float32 (templates, rows, columns) from the template
    branch, templates being 1 or batch (and batch may be 1 for several templates). Outputs: `score` float32 (batch, h, w)
    logits and, with the head "boxes", `boxes` float32 (batch, 4, h, w) xyxy in search-crop pixels.

    Args:
        config, state: Of a `LoadedModel`.
        features: Boxes head: also give `features` float32 (batch, channels, h, w), the search embedding with cells of unit
            length, which `tracker.tracking.online_filter` reads.
        size: Height and width of all searches; None: any.

    Raises:
        DeviceError: A backbone that has no ONNX graph here.
    """
    net = Network(config, state, "siamtrack_search")
    pixels = net.g.input("search", "uint8", ("batch", size or "height", size or "width", 3))
    head = _head(net, net.side(size) if size else None)
    embedding = net.g.input("embedding", "float32", ("templates", head.rows, head.columns))
    x, fine = net.embed(pixels, FINE_SHARE)
    net.g.prefix = "head_"
    head.search(embedding, x, fine, features)
    return net.g.serialize(net.metadata())


def template_model(config: ModelConfig, state: State) -> bytes:
    """The template branch.

    Inputs: `template` uint8 (batch, n, n, 3) BGR; `target` float32 (batch, 2), width and height of the target in template
    pixels. Outputs: `embedding` float32 (batch, rows, columns), to be handed to the search branch as it is; `features`
    float32 (batch, channels, h, w), the same as a feature map (`Matcher.embed_template`), for comparing templates.

    Raises:
        DeviceError: A backbone that has no ONNX graph here.
    """
    net = Network(config, state, "siamtrack_template")
    pixels = net.g.input("template", "uint8", ("batch", config.template_size, config.template_size, 3))
    target = net.g.input("target", "float32", ("batch", 2))
    head = _head(net)
    x, fine = net.embed(pixels)
    net.g.prefix = "head_"
    features = head.features(x, fine, target)
    net.g.output(head.template(features), "embedding", "float32", ("batch", head.rows, head.columns))
    net.g.output(features, "features", "float32", ("batch", head.channels, net.cells, net.cells))
    return net.g.serialize(net.metadata())


def prepare_model(config: ModelConfig, state: State) -> bytes:
    """`features` of the template branch to `embedding`, for templates that were kept as feature maps."""
    net = Network(config, state, "siamtrack_prepare")
    head = _head(net)
    features = net.g.input("features", "float32", ("batch", head.channels, net.cells, net.cells))
    net.g.output(head.template(features), "embedding", "float32", ("batch", head.rows, head.columns))
    return net.g.serialize(net.metadata())


def _head(net: Network, side: int | None = None) -> ClassicHeadGraph | BoxHeadGraph:
    from tracker.runtime.onnx.heads import BoxHeadGraph, ClassicHeadGraph

    return ClassicHeadGraph(net, side) if net.config.head == "classic" else BoxHeadGraph(net, side)


class Network:
    """Adds the layers of a Matcher to one graph.

    Attributes:
        g: The graph.
        stride, padded, channels, fine, cells: As of the Matcher; `cells` along one side of the template's embedding.
    """

    def __init__(self, config: ModelConfig, state: State, name: str) -> None:
        if config.backbone not in STRIDES:
            raise DeviceError(
                f"The backbone {config.backbone!r} has no ONNX graph (those that have: {', '.join(sorted(STRIDES))}); use --engine torch."
            )
        self.config, self.state = config, state
        self.g = Graph(name)
        self.stride = STRIDES[config.backbone]
        self.padded = PADDED[config.backbone]
        self.channels = config.neck_channels or self._backbone_channels()
        stage = FINE.get(config.backbone)
        self.fine = 4 * self._width(stage) if stage else 0
        self.cells = self.side(config.template_size)

    def side(self, size: int) -> int:
        """Cells along one side of a picture of that many pixels."""
        # AlexNet: 87 pixels of its input give the first cell.
        return (size - 1 if self.padded else size - 87) // self.stride + 1

    def metadata(self) -> dict[str, str]:
        """What a reader of the file needs to know, for the ONNX header."""
        c = self.config
        keys = ("backbone", "head", "energy", "template_size", "search_size")
        return {"stride": str(self.stride), **{key: str(getattr(c, key)) for key in keys}}

    def ints(self, *values: int) -> str:
        """A constant vector of int64."""
        return self.g.const(values, "int64")

    def fold(self, conv: str, norm: str, eps: float) -> tuple[Array, Array]:
        """Weight and bias of a convolution with the BatchNorm that follows it."""
        s = self.state
        factor = s[f"{norm}.weight"].astype(np.float64) / np.sqrt(s[f"{norm}.running_var"].astype(np.float64) + eps)
        bias = s[f"{conv}.bias"].astype(np.float64) if f"{conv}.bias" in s else 0.0
        shift = s[f"{norm}.bias"] + (bias - s[f"{norm}.running_mean"]) * factor
        return (s[f"{conv}.weight"] * factor[:, None, None, None]).astype(np.float32), shift.astype(np.float32)

    def conv(
        self, x: str, weight: Array, bias: Array | None, stride: int = 1, pad: int = 0, groups: int = 1, act: str = ""
    ) -> str:
        """A convolution and its activation: "relu", "relu6" or none."""
        inputs = [x, self.g.const(weight)] + ([] if bias is None else [self.g.const(bias)])
        y = self.g.op(
            "Conv", *inputs, kernel_shape=weight.shape[2:], strides=(stride, stride), pads=(pad,) * 4, group=groups
        )
        if act == "relu6":
            return self.g.op("Clip", y, self.g.const(0.0), self.g.const(6.0))
        return self.g.op("Relu", y) if act == "relu" else y

    def embed(self, pixels: str, share: float = 1.0) -> tuple[str, str | None]:
        """f: uint8 NHWC BGR -> (batch, C, h, w) and the fine channels (batch, F, h, w) times `share`, where the backbone has them."""
        fine = None
        if self.config.backbone == "siamfc-alexnet":
            x = self._alexnet(self.g.op("Cast", self.g.op("Transpose", pixels, perm=(0, 3, 1, 2)), to=1))
        else:
            x, fine = self._lite0(pixels, share)
        return self.conv(x, self.state["neck.weight"], None) if self.config.neck_channels else x, fine

    def _backbone_channels(self) -> int:
        if self.config.backbone == "siamfc-alexnet":
            return len(self.state["backbone.conv5.0.bias"])
        stage = max(k for k in range(1, len(LITE0_STRIDES) + 1) if self._blocks(k))
        return self._width(stage)

    def _width(self, stage: int) -> int:
        last = f"{self._blocks(stage) - 1}.bn2" if stage else "1"
        return len(self.state[f"backbone.stages.{stage}.{last}.bias"])

    def _blocks(self, stage: int) -> int:
        return len({key.split(".")[3] for key in self.state if key.startswith(f"backbone.stages.{stage}.")})

    def _lite0(self, pixels: str, share: float) -> tuple[str, str | None]:
        fine = None
        x = self._stem(pixels)
        inputs = self._width(0)
        for stage, first in enumerate(LITE0_STRIDES, 1):
            for k in range(self._blocks(stage)):
                at, y = f"backbone.stages.{stage}.{k}", x
                if f"{at}.expand.weight" in self.state:
                    y = self.conv(y, *self.fold(f"{at}.expand", f"{at}.bn0", 1e-3), act="relu6")
                weight, bias = self.fold(f"{at}.depthwise", f"{at}.bn1", 1e-3)
                stride = first if k == 0 else 1
                y = self.conv(y, weight, bias, stride, weight.shape[-1] // 2, len(bias), "relu6")
                weight, bias = self.fold(f"{at}.project", f"{at}.bn2", 1e-3)
                y = self.conv(y, weight, bias)
                x = self.g.op("Add", y, x) if stride == 1 and inputs == len(bias) else y
                inputs = len(bias)
            if stage == FINE.get(self.config.backbone):
                fine = self._quartered(x, inputs, share)
        return x, fine

    def _stem(self, pixels: str) -> str:
        """The first convolution, on rows of pixels as they lie in memory: three columns of one channel are a pixel of three."""
        g = self.g
        x = g.op("Unsqueeze", g.op("Reshape", pixels, self.ints(0, 0, -1)), self.ints(1))
        # Before the convolution, whose border stands for 127 and not for black.
        x = g.op("DequantizeLinear", x, g.const(1.0), g.const(127, "uint8"))
        weight, bias = self.fold("backbone.stages.0.0", "backbone.stages.0.1", 1e-3)
        flat = (weight[:, ::-1] / np.float32(128)).transpose(0, 2, 3, 1).reshape(len(bias), 1, 3, 9)
        y = g.op(
            "Conv", x, g.const(flat), g.const(bias), kernel_shape=(3, 9), strides=(2, 6), pads=(1, 3, 1, 3), group=1
        )
        return g.op("Clip", y, g.const(0.0), g.const(6.0))

    def _quartered(self, x: str, channels: int, share: float) -> str:
        """tracker.model.backbones.quartered of cells of length `share`: a convolution with one-hot kernels."""
        norm = self.g.op("ReduceL2", x, axes=(1,), keepdims=1)
        x = self.g.op("Div", x, self.g.op("Max", norm, self.g.const(1e-12)))
        kernel = share * np.tile(np.eye(4, dtype=np.float32).reshape(4, 1, 2, 2), (channels, 1, 1, 1))
        return self.g.op(
            "Conv", x, self.g.const(kernel), kernel_shape=(2, 2), strides=(2, 2), pads=(0, 0, 1, 1), group=channels
        )

    def _alexnet(self, x: str) -> str:
        for k, (stride, groups, pool) in enumerate(((2, 1, True), (1, 2, True), (1, 1, False), (1, 2, False)), 1):
            weight, bias = self.fold(f"backbone.conv{k}.0", f"backbone.conv{k}.1", 1e-6)
            x = self.conv(x, weight[:, ::-1] if k == 1 else weight, bias, stride, 0, groups, "relu")
            if pool:
                x = self.g.op("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2))
        return self.conv(x, self.state["backbone.conv5.0.weight"], self.state["backbone.conv5.0.bias"], groups=2)
