"""The search branch with int8 convolutions: pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime and
OpenVINO fuse.

The weights are quantised when the graph is built, from the float32 ones of the checkpoint: symmetric, one scale per
output channel. Calibration provides (`Ranges`):
  - a range for the output of each layer (Jacob et al. 2018, "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference", section 2);
  - a shift and a scale for each channel that leaves a block. Blocks end without an activation and are read by 1x1
    convolutions, so both fold into the weights around them, and the channels of one map, which share a range, fill it
    alike (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1);
  - the mean of each channel, from which the error that rounded weights make in the mean is taken off (section 4.2).
The template branch, the stem, the first depthwise convolution, the neck and the head stay in float32: the first
depthwise convolution takes differences of neighbouring pixels, and its weights in int8 alone would put a tenth of the
embedding's energy into error. numpy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tracker.model_config import ModelConfig
from tracker.runtime.onnx.network import Array, Network, Ranges, State, Vector, conv_window

ENTRY = "backbone.stages.1.0.depthwise"
"""The last layer in float32: its output is the first to be quantised."""


class QuantisationParameters(NamedTuple):
    """Quantisation parameters: a uint8 value represents (value - zero) * scale."""

    scale: float
    zero: int


class Int8Network(Network):
    """Adds the layers of a Matcher to one graph, in int8 where a layer has a range."""

    def __init__(self, config: ModelConfig, state: State, name: str, ranges: Ranges) -> None:
        super().__init__(config, state, name)
        self.ranges = ranges
        self._grids: dict[str, tuple[QuantisationParameters, str]] = {}
        """Output -> its quantisation grid, and the layer that it belongs to."""
        self._frame: Vector | None = None
        """(2, C) shift and scale of the channels that the next block reads."""

    def fold(self, conv: str, norm: str, eps: float) -> tuple[Array, Array]:
        """Weight and bias of a convolution, including the shifts and scales of the blocks around it."""
        weight, bias = super().fold(conv, norm, eps)
        block, _, part = conv.rpartition(".")
        if part == "expand" and self._frame is not None:
            shift, scale = self._frame
            bias = bias + weight[:, :, 0, 0] @ shift
            weight = weight * scale[None, :, None, None]
        elif part == "project" and block in self.ranges.frames:
            self._frame = shift, scale = self.ranges.frames[block]
            # In a sum the other term already contains the shift.
            bias = (bias - (0.0 if f"{block}.sum" in self.ranges.limits else shift)) / scale
            weight = weight / scale[:, None, None, None]
        return weight.astype(np.float32), bias.astype(np.float32)

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
        """A convolution and its activation; in int8 if its input and its output have a range."""
        if name == ENTRY and name in self.ranges.limits:
            return self._rounded(super().conv(x, weight, bias, stride, pad, groups, act), name)
        if name not in self.ranges.limits or x not in self._grids or bias is None:
            return super().conv(x, weight, bias, stride, pad, groups, act, name)
        g, (grid, source) = self.g, self._grids[x]
        scales = np.maximum(np.abs(weight).max(axis=(1, 2, 3)), 1e-8).astype(np.float32) / np.float32(127)
        whole = np.clip(np.rint(weight / scales[:, None, None, None]), -127, 127)
        if source in self.ranges.means:
            error = (weight - whole * scales[:, None, None, None]).sum(axis=(2, 3))
            means = self.ranges.means[source]
            bias = bias + (error[:, 0] * means if groups > 1 else error @ means)
        w = g.op(
            "DequantizeLinear", g.const(whole, "int8"), g.const(scales), g.const(np.zeros(len(scales)), "int8"), axis=0
        )
        steps = scales * np.float32(grid.scale)
        limit = 2.0**31 - 1
        counts = np.clip(np.rint(bias / steps.astype(np.float64)), -limit, limit)
        b = g.op(
            "DequantizeLinear", g.const(counts, "int32"), g.const(steps), g.const(np.zeros(len(steps)), "int32"), axis=0
        )
        y = g.op("Conv", x, w, b, **conv_window(weight, stride, pad), group=groups)
        # A range starting at 0 acts as ReLU, one from 0 to 6 as ReLU6: values outside are clipped.
        return self._rounded(y, name)

    def add(self, x: str, y: str, name: str) -> str:
        """The sum of two maps of one shape."""
        if name not in self.ranges.limits or x not in self._grids or y not in self._grids:
            return super().add(x, y, name)
        return self._rounded(self.g.op("Add", x, y), name)

    def _lite0(self, pixels: str, share: float) -> tuple[str, str | None]:
        x, fine = super()._lite0(pixels, share)
        return self._as_it_was(x), fine

    def _quartered(self, x: str, channels: int, share: float) -> str:
        return super()._quartered(self._as_it_was(x), channels, share)

    def _as_it_was(self, x: str) -> str:
        """The output of the last block, without its shift and scale."""
        if self._frame is None:
            return x
        shift, scale = (self.g.const(values[None, :, None, None]) for values in self._frame)
        return self.g.op("Add", self.g.op("Mul", x, scale), shift)

    def _rounded(self, x: str, name: str) -> str:
        """Rounds x to the 256 values that a layer's range gives."""
        grid = grid_of(*self.ranges.limits[name])
        scale, zero = self.g.const(grid.scale), self.g.const(grid.zero, "uint8")
        out = self.g.op("DequantizeLinear", self.g.op("QuantizeLinear", x, scale, zero), scale, zero)
        self._grids[out] = grid, name
        return out


def grid_of(low: float, high: float) -> QuantisationParameters:
    """The grid of 256 values from `low` to `high`, with 0 among them."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-6) / 255))
    return QuantisationParameters(scale, int(np.clip(round(-low / scale), 0, 255)))
