"""The layers of a Matcher's backbone and neck, added to an ONNX graph; numpy only.

See `tracker.runtime.onnx.graphs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import DeviceError
from tracker.model.backbone_specs import SPECS
from tracker.model_config import ModelConfig
from tracker.runtime.onnx.writer import Graph

Array = NDArray[np.float32]
State = Mapping[str, Array]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Ranges:
    """Result of calibrating a backbone: all that int8 needs beside the weights.

    Attributes:
        limits: Layer -> lowest and highest value of its output, after the shift and scale of its block.
        means: Layer -> (C,) mean of each channel of its output, likewise.
        frames: Block -> (2, C) shift and scale of each channel of its output: the graph holds (y - shift) / scale.
    """

    limits: Mapping[str, tuple[float, float]]
    means: Mapping[str, Vector]
    frames: Mapping[str, Vector]


# Stride of the first block of each stage, the stem (2) left out: tracker.model.backbones.EfficientNetLite0.LAYOUT.
LITE0_STRIDES = (1, 2, 2, 2, 1)


def conv_window(weight: Array, stride: int | tuple[int, int], pad: int | tuple[int, int]) -> dict[str, Any]:
    """The attributes of a convolution that define the position of its kernel."""
    strides, pads = (value if isinstance(value, tuple) else (value, value) for value in (stride, pad))
    return {"kernel_shape": weight.shape[2:], "strides": strides, "pads": (*pads, *pads)}


class Network:
    """Adds the layers of a Matcher to one graph.

    Attributes:
        g: The graph.
        stride, padded, channels, fine, cells: As of the Matcher; `cells` along one side of the template's embedding.
    """

    def __init__(self, config: ModelConfig, state: State, name: str) -> None:
        spec = SPECS.get(config.backbone)
        if spec is None or not spec.onnx:
            known = ", ".join(sorted(name for name, one in SPECS.items() if one.onnx))
            raise DeviceError(
                f"The backbone {config.backbone!r} has no ONNX graph (those that have: {known}); use --engine torch."
            )
        self.config, self.state = config, state
        self.g = Graph(name)
        self.spec, self.stride, self.padded = spec, spec.stride, spec.padded
        self.channels = config.neck_channels or self._backbone_channels()
        self.fine = 4 * self._width(spec.fine_stage) if spec.fine_stage else 0
        self.cells = self.side(config.template_size)
        self.taps: dict[str, str] = {}

    def side(self, size: int) -> int:
        """Cells along one side of a picture of that many pixels."""
        return self.spec.cells(size)

    def metadata(self) -> dict[str, str]:
        """Metadata for the ONNX header."""
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
        self,
        x: str,
        weight: Array,
        bias: Array | None,
        stride: int | tuple[int, int] = 1,
        pad: int | tuple[int, int] = 0,
        groups: int = 1,
        act: str = "",
        name: str = "",
    ) -> str:
        """A convolution and its activation: "relu", "relu6" or none. `name`: of a layer that can be quantised."""
        inputs = [x, self.g.const(weight)] + ([] if bias is None else [self.g.const(bias)])
        y = self.g.op("Conv", *inputs, **conv_window(weight, stride, pad), group=groups)
        if act == "relu6":
            return self.tapped(name, self.g.op("Clip", y, self.g.const(0.0), self.g.const(6.0)))
        return self.tapped(name, self.g.op("Relu", y) if act == "relu" else y)

    def add(self, x: str, y: str, name: str) -> str:
        """The sum of two maps of one shape."""
        return self.tapped(name, self.g.op("Add", x, y))

    def tapped(self, name: str, output: str) -> str:
        """Records the output of a layer under a name."""
        if name:
            self.taps[name] = output
        return output

    def embed(self, pixels: str, share: float = 1.0) -> tuple[str, str | None]:
        """f: uint8 NHWC BGR -> (batch, C, h, w) and the fine channels (batch, F, h, w) multiplied by `share`, if the
        backbone has them."""
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
                    y = self.conv(y, *self.fold(f"{at}.expand", f"{at}.bn0", 1e-3), act="relu6", name=f"{at}.expand")
                weight, bias = self.fold(f"{at}.depthwise", f"{at}.bn1", 1e-3)
                stride = first if k == 0 else 1
                y = self.conv(y, weight, bias, stride, weight.shape[-1] // 2, len(bias), "relu6", f"{at}.depthwise")
                weight, bias = self.fold(f"{at}.project", f"{at}.bn2", 1e-3)
                y = self.conv(y, weight, bias, name=f"{at}.project")
                x = self.add(y, x, f"{at}.sum") if stride == 1 and inputs == len(bias) else y
                inputs = len(bias)
            if stage == self.spec.fine_stage:
                fine = self._quartered(x, inputs, share)
        return x, fine

    def _stem(self, pixels: str) -> str:
        """The first convolution, on rows of pixels as they lie in memory: three columns of one channel hold a pixel's
        three channels."""
        g = self.g
        x = g.op("Unsqueeze", g.op("Reshape", pixels, self.ints(0, 0, -1)), self.ints(1))
        # Before the convolution, so that padding means 127 and not black.
        return self._first(g.op("DequantizeLinear", x, g.const(1.0), g.const(127, "uint8")))

    def _first(self, x: str) -> str:
        """The first convolution: (batch, 1, height, 3 width) pixels around 0 -> (batch, C, h, w)."""
        weight, bias = self.fold("backbone.stages.0.0", "backbone.stages.0.1", 1e-3)
        flat = (weight[:, ::-1] / np.float32(128)).transpose(0, 2, 3, 1).reshape(len(bias), 1, 3, 9)
        return self.conv(x, flat, bias, (2, 6), (1, 3), act="relu6", name="backbone.stages.0")

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
