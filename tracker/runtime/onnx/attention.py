"""The head "attention" as ONNX nodes; `tracker.model.attention` documents the computation.

Keys and values of the template's cells are columns of its matrix (after those of
`tracker.runtime.onnx.head_base.Column`), two blocks of the width for each layer, so that only search cells are
projected in each frame.
"""

from __future__ import annotations

import numpy as np

from tracker.model.backbone_specs import FINE_SHARE
from tracker.runtime.onnx.head_base import EPS, NORM_EPS, Column
from tracker.runtime.onnx.heads import OnePassGraph
from tracker.runtime.onnx.network import Array, Network


class AttentionGraph(OnePassGraph):
    """AttentionHead."""

    def __init__(self, net: Network, side: int | None = None) -> None:
        super().__init__(net, side)
        weight, self.bias = net.fold("head.mix", "head.mix_bn", 1e-5)
        self.width, self.heads = len(self.bias), net.config.attention_heads
        self.layers = [f"head.attention.{k}" for k in range(net.config.attention_layers)]
        self.mixed, self.size = np.split(weight[:, :, 0, 0], [self.width + 1], axis=1)
        self.rows = self.slots + self.width
        self.columns = self.read + len(Column) + 2 * self.width * len(self.layers)

    def template(self, features: str) -> str:
        """(B, rows, columns)."""
        g, net = self.g, self.net
        whole, weight = self.split(features)
        cells = g.op("Slice", whole, net.ints(0), net.ints(net.channels), net.ints(2)) if net.fine else whole
        tokens = self._tokens(whole, cells, weight)
        attended = []
        for at in self.layers:
            key = g.op("Mul", self._dense(tokens, f"{at}.key"), g.const(float((self.width / self.heads) ** -0.5)))
            attended += [self.filled(key), self.filled(self._dense(tokens, f"{at}.value"))]
        if net.config.energy == "cosine":
            cells = self.unit(cells, 2, EPS)
        share = g.op("Div", weight, self.total(weight, 1))
        square = self.total(g.op("Mul", cells, cells), 2)
        nothing = g.op("Mul", self.filled(share), g.const(0.0))
        read = self.filled(cells)
        if net.fine:
            read = g.op("Pad", read, net.ints(0, 0, 0, 0, 0, net.fine))
        top = g.op("Concat", read, self.filled(share), nothing, nothing, self.filled(square), *attended, axis=2)
        # The rows of the head's channels: only what depends on the target's size.
        before, after = self.read, self.columns - self.read - len(Column)
        if net.config.relative_boxes:
            sizes = g.op("Concat", *self._size_columns(weight), axis=2)
            bottom = g.op("Pad", sizes, net.ints(0, 0, before, 0, 0, after))
        else:
            first = g.op("Slice", top, net.ints(0), net.ints(1), net.ints(1))
            bottom = g.op("Mul", g.op("Expand", first, net.ints(1, self.width, 1)), g.const(0.0))
        return g.op("Concat", top, bottom, axis=1)

    def search(self, embedding: str, x: str, fine: str | None, features: bool) -> None:
        """Adds the outputs `score` and `boxes`, and `features` if requested."""
        g, net = self.g, self.net
        norm = g.op("Max", g.op("ReduceL2", x, axes=(1,), keepdims=1), g.const(NORM_EPS))
        unit = g.op("Div", x, norm)
        read = unit if fine is None else g.op("Concat", unit, fine, axis=1)
        cells = g.op("Slice", embedding, net.ints(0, 0), net.ints(self.slots, net.channels), net.ints(1, 2))
        similar = self.similarity(embedding, g.op("MatMul", cells, self.flat(unit)), norm)
        share = g.op("Reshape", self.column(embedding, Column.WEIGHT, 0, self.slots), net.ints(0, 1, -1))
        response = g.op("MatMul", share, self.flat(self.aligned(similar, x)))
        y = g.op("Add", g.op("MatMul", g.const(self._token(FINE_SHARE)), self.flat(read)), self._bias("head.token"))
        for k, at in enumerate(self.layers):
            y = self._layer_of(y, embedding, at, self.read + len(Column) + 2 * self.width * k)
        y = g.op("Add", g.op("MatMul", g.const(self.mixed[:, : self.width]), y), g.op("Mul", response, self._last()))
        relative = net.config.relative_boxes
        bias = self.column(embedding, Column.SHIFT, self.slots, self.rows) if relative else g.const(self.bias[:, None])
        y = g.op("Reshape", g.op("Relu", g.op("Add", y, bias)), self.shape(x, self.width))
        self.outputs(y, response, embedding, x)
        if features:
            g.output(read, "features", "float32", ("batch", self.read, "rows", "columns"))

    def _layer_of(self, x: str, embedding: str, at: str, first: int) -> str:
        """`tracker.model.attention.CrossAttention` on (B, D, H*W); its keys and values start at the given column of the
        matrix.
        """
        g, net, d = self.g, self.net, self.width // self.heads
        key, value = (
            self._apart(
                g.op("Slice", embedding, net.ints(0, start), net.ints(self.cells, start + self.width), net.ints(1, 2))
            )
            for start in (first, first + self.width)
        )
        query = g.op("Reshape", self._project(x, f"{at}.query"), net.ints(0, self.heads, d, -1))
        query = g.op("Transpose", query, perm=(0, 1, 3, 2))  # (B, heads, H*W, d)
        logits = g.op("MatMul", query, g.op("Transpose", key, perm=(0, 1, 3, 2)))
        seen = g.op("MatMul", g.op("Softmax", logits, axis=-1), value)
        seen = g.op("Reshape", g.op("Transpose", seen, perm=(0, 1, 3, 2)), net.ints(0, self.width, -1))
        x = self._normed(g.op("Add", x, self._project(seen, f"{at}.join")), f"{at}.first_bn")
        wide = g.op("Relu", self._project(x, f"{at}.wide"))
        return self._normed(g.op("Add", x, self._project(wide, f"{at}.narrow")), f"{at}.second_bn")

    def _tokens(self, whole: str, cells: str, weight: str) -> str:
        """(B, n*n, D) input tokens of the template's cells.

        Args:
            whole: (B, n*n, C + F) cells.
            cells: Their first C channels.
            weight: (B, n*n, 1) fraction of each that the target covers.
        """
        g, net, s = self.g, self.net, self.net.state
        read = self.unit(cells, 2, NORM_EPS)
        if net.fine:
            fine = g.op("Slice", whole, net.ints(net.channels), net.ints(self.read), net.ints(2))
            read = g.op("Concat", read, fine, axis=2)
        place = s["head.place"].reshape(self.width, self.cells).T + s["head.token.bias"]
        tokens = g.op("Add", g.op("MatMul", read, g.const(self._token(1.0).T)), g.const(place))
        return g.op("Add", tokens, g.op("Mul", weight, g.const(s["head.target"].reshape(1, self.width))))

    def _token(self, share: float) -> Array:
        """(D, C + F) projection of cells of unit length, and of fine channels that are multiplied by `share`."""
        net = self.net
        gain = np.full(self.read, net.channels**0.5, np.float32)
        gain[net.channels :] = (net.fine / 4) ** 0.5 / share
        return net.state["head.token.weight"][:, :, 0, 0] * gain

    def _last(self) -> str:
        """(D, 1) weights of the first convolution for the response."""
        return self.g.const(self.mixed[:, self.width :])

    def _bias(self, name: str) -> str:
        return self.g.const(self.net.state[f"{name}.bias"][:, None])

    def _project(self, x: str, name: str) -> str:
        """A 1x1 convolution on (B, D, H*W)."""
        weight = self.g.const(self.net.state[f"{name}.weight"][:, :, 0, 0])
        return self.g.op("Add", self.g.op("MatMul", weight, x), self._bias(name))

    def _dense(self, x: str, name: str) -> str:
        """The same on (B, n*n, D)."""
        s = self.net.state
        product = self.g.op("MatMul", x, self.g.const(s[f"{name}.weight"][:, :, 0, 0].T))
        return self.g.op("Add", product, self.g.const(s[f"{name}.bias"]))

    def _normed(self, x: str, name: str) -> str:
        """BatchNorm on (B, D, H*W)."""
        s = self.net.state
        gain = s[f"{name}.weight"] / np.sqrt(s[f"{name}.running_var"] + np.float32(1e-5))
        shift = s[f"{name}.bias"] - s[f"{name}.running_mean"] * gain
        return self.g.op("Add", self.g.op("Mul", x, self.g.const(gain[:, None])), self.g.const(shift[:, None]))

    def _apart(self, x: str) -> str:
        """(B, n*n, D) -> (B, heads, n*n, D / heads)."""
        parted = self.g.op("Reshape", x, self.net.ints(0, 0, self.heads, self.width // self.heads))
        return self.g.op("Transpose", parted, perm=(0, 2, 1, 3))
