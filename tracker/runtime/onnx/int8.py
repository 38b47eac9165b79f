"""The search branch with int8 convolutions: pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime and
OpenVINO fuse.

The weights are quantised when the graph is built, from the float32 ones of the checkpoint: symmetric, one scale for
each output channel. What calibration gives is a range for the output of each layer (Jacob et al. 2018, "Quantization
and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 2). The template branch, the
stem, the neck and the head stay in float32. numpy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tracker.model_config import ModelConfig
from tracker.runtime.onnx.network import Array, Network, Ranges, State, conv_window

STEM = "backbone.stages.0"


class Grid(NamedTuple):
    """What a uint8 stands for: (value - zero) * scale."""

    scale: float
    zero: int


class Int8Network(Network):
    """Adds the layers of a Matcher to one graph, those with a range in int8."""

    def __init__(self, config: ModelConfig, state: State, name: str, ranges: Ranges) -> None:
        super().__init__(config, state, name)
        self.ranges = ranges
        self._grids: dict[str, Grid] = {}

    def _stem(self, pixels: str) -> str:
        """The first convolution stays in float32, where it takes less time; its output joins the others on a grid."""
        g = self.g
        x = g.op("Unsqueeze", g.op("Reshape", pixels, self.ints(0, 0, -1)), self.ints(1))
        # A Cast: behind a DequantizeLinear ONNX Runtime would quantise the weights by a scale of its own.
        x = g.op("Sub", g.op("Cast", x, to=1), g.const(127.0))
        return self._rounded(self._first(x), STEM)

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
        """A convolution and its activation; in int8 where its input and its output have a range."""
        if name not in self.ranges or x not in self._grids or bias is None:
            return super().conv(x, weight, bias, stride, pad, groups, act, name)
        g = self.g
        scales = np.maximum(np.abs(weight).max(axis=(1, 2, 3)), 1e-8).astype(np.float32) / np.float32(127)
        whole = np.clip(np.rint(weight / scales[:, None, None, None]), -127, 127)
        w = g.op(
            "DequantizeLinear", g.const(whole, "int8"), g.const(scales), g.const(np.zeros(len(scales)), "int8"), axis=0
        )
        steps = scales * np.float32(self._grids[x].scale)
        limit = 2.0**31 - 1
        counts = np.clip(np.rint(bias / steps.astype(np.float64)), -limit, limit)
        b = g.op(
            "DequantizeLinear", g.const(counts, "int32"), g.const(steps), g.const(np.zeros(len(steps)), "int32"), axis=0
        )
        y = g.op("Conv", x, w, b, **conv_window(weight, stride, pad), group=groups)
        # A range from 0 on is its own ReLU, one up to 6 its own ReLU6: what lies outside is cut off.
        return self._rounded(y, name)

    def add(self, x: str, y: str, name: str) -> str:
        """The sum of two maps of one shape."""
        if name not in self.ranges or x not in self._grids or y not in self._grids:
            return super().add(x, y, name)
        return self._rounded(self.g.op("Add", x, y), name)

    def _rounded(self, x: str, name: str) -> str:
        """x on the grid of 256 values that a layer's range gives."""
        grid = grid_of(*self.ranges[name])
        scale, zero = self.g.const(grid.scale), self.g.const(grid.zero, "uint8")
        out = self.g.op("DequantizeLinear", self.g.op("QuantizeLinear", x, scale, zero), scale, zero)
        self._grids[out] = grid
        return out


def grid_of(low: float, high: float) -> Grid:
    """256 values from `low` to `high`, 0 among them."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-6) / 255))
    return Grid(scale, int(np.clip(round(-low / scale), 0, 255)))
