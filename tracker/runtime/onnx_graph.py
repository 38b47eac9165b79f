"""The Matcher as two ONNX graphs: template branch and search branch with head. numpy only.

BatchNorm is folded into the convolutions, and the change from BGR to RGB and the division of the input into the first
one. Batch and picture size are dynamic. The embedding of a template is the one of `Matcher.embed_template`, so that
engines may exchange templates. `tests/test_runtime_onnx.py` holds this file against the torch modules.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tracker.config import ModelConfig
from tracker.errors import DeviceError
from tracker.runtime.onnx_file import Graph

Array = NDArray[np.float32]
State = Mapping[str, Array]
EPS = 1e-6  # tracker.model.energy.EPS
NORM_EPS = 1e-12  # of torch.nn.functional.normalize

# Repeats, kernel, stride, expansion, channels: tracker.model.backbones.EfficientNetLite0.LAYOUT
LITE0 = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
STRIDES = {"efficientnet-lite0": 16, "siamfc-alexnet": 8}
CHANNELS = {"efficientnet-lite0": 112, "siamfc-alexnet": 256}
PADDED = {"efficientnet-lite0": True, "siamfc-alexnet": False}


def search_model(config: ModelConfig, state: State) -> bytes:
    """The search branch and the head.

    Inputs: `search` uint8 (batch, height, width, 3) BGR; `embedding` float32 (templates, channels, rows, columns) from the
    template branch, templates being 1 or batch. Outputs: `score` float32 (batch, h, w) logits and, with the head "boxes",
    `boxes` float32 (batch, 4, h, w) xyxy in search-crop pixels.

    Raises:
        DeviceError: A backbone that has no ONNX graph here.
    """
    net = _Net(config, state, "siamtrack_search")
    g = net.g
    pixels = g.input("search", "uint8", ("batch", "height", "width", 3))
    cells, channels = net.cells, net.channels + int(net.padded)
    embedding = g.input("embedding", "float32", ("templates", channels, cells, cells))
    x = net.embed(pixels)
    if config.head == "classic":
        g.output(net.classic_head(embedding, x), "score", "float32", ("batch", "rows", "columns"))
    else:
        score, boxes = net.box_head(embedding, x)
        g.output(score, "score", "float32", ("batch", "rows", "columns"))
        g.output(boxes, "boxes", "float32", ("batch", 4, "rows", "columns"))
    return g.serialize(net.metadata())


def template_model(config: ModelConfig, state: State) -> bytes:
    """The template branch.

    Inputs: `template` uint8 (batch, n, n, 3) BGR; `target` float32 (batch, 2), width and height of the target in template
    pixels. Output: `embedding` float32 (batch, channels, rows, columns), see `Matcher.embed_template`.

    Raises:
        DeviceError: A backbone that has no ONNX graph here.
    """
    net = _Net(config, state, "siamtrack_template")
    g, size, cells = net.g, config.template_size, net.cells
    pixels = g.input("template", "uint8", ("batch", size, size, 3))
    target = g.input("target", "float32", ("batch", 2))
    z = net.embed(pixels)
    if net.padded:
        z = g.op("Concat", z, net.coverage(target), axis=1)
    else:
        # The classic network doesn't use the target's size; a sum times zero keeps the two branches' inputs the same.
        nothing = g.op("Mul", g.op("ReduceSum", target, g.const([1], "int64"), keepdims=1), g.const(0.0))
        z = g.op("Add", z, g.op("Unsqueeze", nothing, g.const([2, 3], "int64")))
    g.output(z, "embedding", "float32", ("batch", net.channels + int(net.padded), cells, cells))
    return g.serialize(net.metadata())


class _Net:
    """Adds the parts of a Matcher to one graph."""

    def __init__(self, config: ModelConfig, state: State, name: str) -> None:
        if config.backbone not in STRIDES:
            raise DeviceError(
                f"The backbone {config.backbone!r} has no ONNX graph (those that have: {', '.join(sorted(STRIDES))}); use --engine torch."
            )
        self.config, self.state = config, state
        self.g = Graph(name)
        self.stride = STRIDES[config.backbone]
        self.padded = PADDED[config.backbone]
        self.channels = config.neck_channels or CHANNELS[config.backbone]
        size = config.template_size
        self.cells = (size - 1) // self.stride + 1 if self.padded else (size - 87) // 8 + 1

    def metadata(self) -> dict[str, str]:
        c = self.config
        return {
            "backbone": c.backbone,
            "head": c.head,
            "energy": c.energy,
            "stride": str(self.stride),
            "template_size": str(c.template_size),
            "search_size": str(c.search_size),
        }

    # Layers

    def fold(self, conv: str, norm: str, eps: float) -> tuple[Array, Array]:
        """Weight and bias of a convolution with the BatchNorm that follows it."""
        s = self.state
        weight = s[f"{conv}.weight"].astype(np.float64)
        factor = s[f"{norm}.weight"].astype(np.float64) / np.sqrt(s[f"{norm}.running_var"].astype(np.float64) + eps)
        bias = s[f"{conv}.bias"].astype(np.float64) if f"{conv}.bias" in s else 0.0
        shift = s[f"{norm}.bias"] + (bias - s[f"{norm}.running_mean"]) * factor
        return (weight * factor[:, None, None, None]).astype(np.float32), shift.astype(np.float32)

    def conv(self, x: str, weight: Array, bias: Array | None, stride: int = 1, pad: int = 0, groups: int = 1, act: str = "") -> str:
        inputs = [x, self.g.const(weight)] + ([] if bias is None else [self.g.const(bias)])
        kernel = weight.shape[2:]
        y = self.g.op("Conv", *inputs, kernel_shape=kernel, strides=(stride, stride), pads=(pad,) * 4, group=groups)
        if act == "relu6":
            return self.g.op("Clip", y, self.g.const(0.0), self.g.const(6.0))
        return self.g.op("Relu", y) if act == "relu" else y

    def embed(self, pixels: str) -> str:
        """f: uint8 NHWC BGR -> features."""
        x = self.g.op("Cast", self.g.op("Transpose", pixels, perm=(0, 3, 1, 2)), to=1)
        x = self.alexnet(x) if self.config.backbone == "siamfc-alexnet" else self.lite0(x)
        return self.conv(x, self.state["neck.weight"], None) if self.config.neck_channels else x

    def lite0(self, x: str) -> str:
        x = self.g.op("Sub", x, self.g.const(127.0))  # before the convolution: its border is padded with grey 127
        weight, bias = self.fold("backbone.stages.0.0", "backbone.stages.0.1", 1e-3)
        x = self.conv(x, np.ascontiguousarray(weight[:, ::-1]) / np.float32(128), bias, 2, 1, act="relu6")
        inputs = 32
        for stage, (repeats, kernel, stride, expand, outputs) in enumerate(LITE0, 1):
            for k in range(repeats):
                at, y = f"backbone.stages.{stage}.{k}", x
                if expand > 1:
                    y = self.conv(y, *self.fold(f"{at}.expand", f"{at}.bn0", 1e-3), act="relu6")
                depthwise = self.fold(f"{at}.depthwise", f"{at}.bn1", 1e-3)
                y = self.conv(y, *depthwise, stride if k == 0 else 1, kernel // 2, inputs * expand, act="relu6")
                y = self.conv(y, *self.fold(f"{at}.project", f"{at}.bn2", 1e-3))
                x = self.g.op("Add", y, x) if k > 0 else y
                inputs = outputs
        return x

    def alexnet(self, x: str) -> str:
        for k, (stride, groups, pool) in enumerate(((2, 1, True), (1, 2, True), (1, 1, False), (1, 2, False)), 1):
            weight, bias = self.fold(f"backbone.conv{k}.0", f"backbone.conv{k}.1", 1e-6)
            x = self.conv(x, np.ascontiguousarray(weight[:, ::-1]) if k == 1 else weight, bias, stride, 0, groups, "relu")
            if pool:
                x = self.g.op("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2))
        return self.conv(x, self.state["backbone.conv5.0.weight"], self.state["backbone.conv5.0.bias"], groups=2)

    # Comparisons

    def coverage(self, target: str) -> str:
        """tracker.model.heads.coverage: (batch, 2) -> (batch, 1, cells, cells)."""
        g, stride = self.g, self.stride
        steps = (np.arange(self.cells) - (self.cells - 1) / 2) * stride
        half = g.op("Clip", target, g.const(2.0), g.const(float(self.config.template_size)))
        half = g.op("Mul", g.op("Unsqueeze", half, g.const([2], "int64")), g.const(0.5))
        low = g.op("Max", g.const(steps - stride / 2), g.op("Neg", half))
        high = g.op("Min", g.const(steps + stride / 2), half)
        share = g.op("Clip", g.op("Div", g.op("Sub", high, low), g.const(float(stride))), g.const(0.0), g.const(1.0))
        rows = g.op("Unsqueeze", g.op("Gather", share, g.const(1, "int64"), axis=1), g.const([2], "int64"))
        columns = g.op("Unsqueeze", g.op("Gather", share, g.const(0, "int64"), axis=1), g.const([1], "int64"))
        return g.op("Unsqueeze", g.op("Mul", rows, columns), g.const([1], "int64"))

    def split(self, embedding: str) -> tuple[str, str]:
        """(templates, n*n, C) cells and (templates, n*n, 1, 1) weights of an embedding."""
        g, n2 = self.g, self.cells**2
        flat = g.op("Transpose", g.op("Reshape", embedding, g.const([0, 0, n2], "int64")), perm=(0, 2, 1))
        if not self.padded:
            return flat, g.const(np.ones((1, n2, 1, 1)))
        last, axis = self.channels, g.const([2], "int64")
        z = g.op("Slice", flat, g.const([0], "int64"), g.const([last], "int64"), axis)
        w = g.op("Slice", flat, g.const([last], "int64"), g.const([last + 1], "int64"), axis)
        return z, g.op("Unsqueeze", w, g.const([3], "int64"))

    def dots(self, z: str, x: str) -> str:
        """(templates, n*n, C) x (batch, C, H, W) -> (batch, n*n, H, W)."""
        g = self.g
        out = g.op("MatMul", z, g.op("Reshape", x, g.const([0, 0, -1], "int64")))
        # The shape is taken from both: the first two axes from the product, the last two from the search.
        shape = g.op("Concat", g.const([0, 0], "int64"), self.extent(x), axis=0)
        return g.op("Reshape", out, shape)

    def extent(self, x: str) -> str:
        """(2,) int64: H and W of x."""
        g = self.g
        return g.op("Slice", g.op("Shape", x), g.const([2], "int64"), g.const([4], "int64"))

    def slide(self, weighted: str, x: str) -> str:
        """Window response from cells: each cell's dot products, shifted to one place and summed."""
        n, margin = self.cells, self.cells // 2 if self.padded else 0
        kernel = np.eye(n * n, dtype=np.float32).reshape(1, n * n, n, n)
        return self.conv(self.dots(weighted, x), kernel, None, pad=margin)

    def classic_head(self, embedding: str, x: str) -> str:
        """`Energy.window` and ClassicHead -> (batch, H, W)."""
        g, energy = self.g, self.config.energy
        z, w = self.split(embedding)
        w = g.op("Squeeze", w, g.const([3], "int64"))  # (templates, n*n, 1)
        weighted = g.op("Mul", z, w)
        response = self.slide(weighted, x)
        if energy != "dot":
            squares = g.op("ReduceSum", g.op("Mul", weighted, z), g.const([1, 2], "int64"), keepdims=1)
            norm_z = g.op("Unsqueeze", squares, g.const([3], "int64"))
            norm_x = self.slide(w, g.op("ReduceSum", g.op("Mul", x, x), g.const([1], "int64"), keepdims=1))
            if energy == "cosine":
                product = g.op("Mul", norm_z, g.op("Max", norm_x, g.const(0.0)))
                response = g.op("Div", response, g.op("Sqrt", g.op("Add", product, g.const(EPS))))
            else:
                response = g.op("Sub", g.op("Sub", g.op("Mul", response, g.const(2.0)), norm_z), norm_x)
        score = g.op("Add", g.op("Mul", response, g.const(self.state["head.scale"])), g.const(self.state["head.bias"]))
        return g.op("Squeeze", score, g.const([1], "int64"))

    def unit(self, x: str, axis: int, eps: float) -> str:
        norm = self.g.op("ReduceL2", x, axes=(axis,), keepdims=1)
        return self.g.op("Div", x, self.g.op("Max", norm, self.g.const(eps)))

    def cell_energy(self, z: str, x: str) -> str:
        """`Energy.cells` -> (batch, n*n, H, W)."""
        g, energy = self.g, self.config.energy
        if energy == "dot":
            return self.dots(z, x)
        if energy == "cosine":
            return self.dots(self.unit(z, 2, EPS), self.unit(x, 1, EPS))
        norm_z = g.op("Unsqueeze", g.op("ReduceSum", g.op("Mul", z, z), g.const([2], "int64"), keepdims=1), g.const([3], "int64"))
        norm_x = g.op("ReduceSum", g.op("Mul", x, x), g.const([1], "int64"), keepdims=1)
        return g.op("Sub", g.op("Sub", g.op("Mul", self.dots(z, x), g.const(2.0)), norm_z), norm_x)

    # Head

    def box_head(self, embedding: str, x: str) -> tuple[str, str]:
        """BoxHead -> (batch, H, W) score logits and (batch, 4, H, W) corners."""
        g, s, n = self.g, self.state, self.cells
        z, w = self.split(embedding)
        similar = self.cell_energy(z, x)
        one_hot = np.eye(n * n, dtype=np.float32).reshape(n * n, 1, n, n)
        aligned = self.conv(similar, one_hot, None, pad=n // 2, groups=n * n)
        channel = g.const([1], "int64")
        total = g.op("ReduceSum", w, channel, keepdims=1)
        response = g.op("Div", g.op("ReduceSum", g.op("Mul", aligned, w), channel, keepdims=1), total)
        apart = g.op("Mul", w, g.const(4.0))
        inside = g.op("ReduceMax", g.op("Add", similar, g.op("Sub", apart, g.const(4.0))), axes=(1,), keepdims=1)
        around = g.op("ReduceMax", g.op("Sub", similar, apart), axes=(1,), keepdims=1)
        flat = g.op("Squeeze", w, g.const([3], "int64"))
        mean = g.op("Div", g.op("ReduceSum", g.op("Mul", z, flat), channel, keepdims=1), g.op("Squeeze", total, g.const([3], "int64")))
        mean = g.op("Unsqueeze", g.op("Squeeze", self.unit(mean, 2, NORM_EPS), channel), g.const([2, 3], "int64"))
        gain = float(self.channels**0.5)
        x_hat = self.unit(x, 1, NORM_EPS)
        match = g.op("Mul", x_hat, g.op("Mul", mean, g.const(gain)))
        own = g.op("Mul", x_hat, g.const(gain * 0.3))
        if_one = g.op(
            "Expand",
            own,
            g.op(
                "Concat",
                g.op("Slice", g.op("Shape", similar), g.const([0], "int64"), g.const([1], "int64")),
                g.const([1, 1, 1], "int64"),
                axis=0,
            ),
        )
        y = g.op("Concat", match, if_one, similar, aligned, response, inside, around, axis=1)
        y = self.conv(y, *self.fold("head.mix", "head.mix_bn", 1e-5), act="relu")
        for k in range(self.config.head_layers):
            y = self.layer(y, f"head.shared.{k}")
        score = self.conv(self.layer(y, "head.score.0"), s["head.score.1.weight"], s["head.score.1.bias"] + s["head.bias"], pad=0)
        score = g.op("Add", score, g.op("Mul", response, g.const(s["head.scale"])))
        sides = self.conv(self.layer(y, "head.boxes.0"), s["head.boxes.1.weight"], s["head.boxes.1.bias"])
        sides = g.op("Mul", g.op("Exp", g.op("Clip", sides, g.const(-6.0), g.const(4.0))), g.const([[[-1.0]], [[-1.0]], [[1.0]], [[1.0]]]))
        boxes = g.op("Mul", g.op("Add", sides, self.grid(x)), g.const(float(self.stride)))
        return g.op("Squeeze", score, channel), boxes

    def layer(self, x: str, at: str) -> str:
        return self.conv(x, *self.fold(f"{at}.0", f"{at}.1", 1e-5), pad=1, act="relu")

    def grid(self, x: str) -> str:
        """(1, 4, H, W): x, y, x, y of the cells, in strides; cell i of a padded backbone is pixel index stride * i."""
        g = self.g
        shape = self.extent(x)
        parts = []
        for axis, keep in ((1, [0, 1, 2]), (0, [0, 1, 3])):
            count = g.op("Gather", shape, g.const(axis, "int64"), axis=0)
            steps = g.op("Cast", g.op("Range", g.const(0, "int64"), count, g.const(1, "int64")), to=1)
            steps = g.op("Add", steps, g.const(0.5 / self.stride))
            full = g.op("Concat", g.const([1, 1], "int64"), shape, axis=0)
            parts.append(g.op("Expand", g.op("Unsqueeze", steps, g.const(keep, "int64")), full))
        return g.op("Concat", *parts, *parts, axis=1)
