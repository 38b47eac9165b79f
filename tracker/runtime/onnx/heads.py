"""Energies and heads as ONNX nodes: everything that depends on the template alone is precomputed into one matrix.

The matrix ("embedding") has a row for each template cell, padded with empty rows to a multiple of 8, and after these
(boxes head) a row for each channel of the head. Its first C + F columns multiply the channels of a search cell (F: the
fine ones); the columns after them say how each row is used (see `Column`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from tracker.model.backbone_specs import FINE_SHARE, USUAL_SIZE
from tracker.runtime.onnx.head_base import EPS, NORM_EPS, Column, HeadGraph
from tracker.runtime.onnx.network import Array, Network

NEVER = -1e30  # an offset that never wins a maximum


class ClassicHeadGraph(HeadGraph):
    """`Energy.window` and ClassicHead: the response alone."""

    def template(self, features: str) -> str:
        """(B, rows, columns)."""
        g = self.g
        cells, weight = self.split(features)
        weighted = g.op("Mul", cells, weight)
        square = self.total(g.op("Mul", weighted, cells), 1, 2)
        square = g.op("Add", g.op("Mul", weight, g.const(0.0)), square)  # one for each row
        return self.filled(g.op("Concat", weighted, weight, weight, weight, square, axis=2))

    def search(self, embedding: str, x: str, fine: str | None, features: bool) -> None:
        """Adds the output `score`."""
        g, s, energy = self.g, self.net.state, self.net.config.energy
        response = self._slide(self.channels_of(embedding), x)
        if energy != "dot":
            norm_x = self._slide(self.column(embedding, Column.WEIGHT), self.total(g.op("Mul", x, x), 1))
            first = g.op(
                "Slice", self.column(embedding, Column.SQUARE), self.net.ints(0), self.net.ints(1), self.net.ints(1)
            )
            if energy == "cosine":
                product = g.op("Mul", g.op("Max", norm_x, g.const(0.0)), first)
                response = g.op("Div", response, g.op("Sqrt", g.op("Add", product, g.const(EPS))))
            else:
                response = g.op("Sub", g.op("Sub", g.op("Mul", response, g.const(2.0)), first), norm_x)
        score = g.op("Add", g.op("Mul", response, g.const(s["head.scale"])), g.const(s["head.bias"]))
        g.output(score, "score", "float32", ("batch", "rows", "columns"))

    def _slide(self, rows: str, x: str) -> str:
        """(B, h, w) sum over the template's cells of their products with the search, each shifted to the centre."""
        return self.g.op(
            "ReduceSum", self.aligned(self.g.op("MatMul", rows, self.flat(x)), x), self.net.ints(1), keepdims=0
        )


class OnePassGraph(HeadGraph, ABC):
    """Base of the heads with boxes: response, branches, and the part that depends on the target's size in the template.

    A subclass sets `size` and `bias`: the weights (D, 2 or 0) of the target's size in the head's first convolution
    after BatchNorm is folded in, and its bias.
    """

    size: Array
    bias: Array

    @abstractmethod
    def template(self, features: str) -> str:
        """(B, rows, columns)."""

    @abstractmethod
    def search(self, embedding: str, x: str, fine: str | None, features: bool) -> None:
        """Adds the outputs `score` and `boxes`, and `features` if requested."""

    def similarity(self, embedding: str, products: str, norm: str) -> str:
        """(B, slots, H*W): the energy of each template cell with each search cell; empty rows are 0.

        Args:
            embedding: The template's matrix.
            products: (B, slots, H*W) of the template's cells with search cells of unit length.
            norm: (B, 1, H, W) length of the search cells before normalisation.
        """
        g, energy = self.g, self.net.config.energy
        if energy == "cosine":
            return products
        similar = g.op("Mul", products, self.flat(norm))
        if energy == "dot":
            return similar
        squares = g.op("Add", self.column(embedding, Column.SQUARE), self.flat(g.op("Mul", norm, norm)))
        similar = g.op("Sub", g.op("Mul", similar, g.const(2.0)), squares)
        return g.op("Mul", similar, g.const((np.arange(self.slots) < self.cells)[:, None]))

    def outputs(self, y: str, response: str, embedding: str, x: str) -> None:
        """Adds the outputs `score` and `boxes`: `tracker.model.heads.OnePassHead._outputs` of y (B, D, H, W)."""
        g, net, s = self.g, self.net, self.net.state
        for k in range(net.config.head_layers):
            y = self._layer(y, f"head.shared.{k}")
        # The branches of score and sides read the same map: each pair of layers is merged into one convolution.
        first, second = self._branches()
        y = net.conv(net.conv(y, *first, pad=1, act="relu"), *second)
        score = g.op("Slice", y, net.ints(0), net.ints(1), net.ints(1))
        score = g.op("Add", self.flat(score), g.op("Mul", response, g.const(s["head.scale"])))
        score = g.op("Reshape", score, g.op("Concat", net.ints(-1), self.extent(x), axis=0))
        sides = g.op("Slice", y, net.ints(1), net.ints(5), net.ints(1))
        sides = g.op("Exp", g.op("Clip", sides, g.const(-6.0), g.const(4.0)))
        signs = np.array([-1, -1, 1, 1])[:, None, None] * (1 if net.config.relative_boxes else net.stride)
        sides = g.op("Mul", sides, g.const(signs))
        if net.config.relative_boxes:
            half = self.column(embedding, Column.HALF, self.slots, self.slots + 4)
            sides = g.op("Mul", sides, g.op("Unsqueeze", half, net.ints(3)))
        g.output(score, "score", "float32", ("batch", "rows", "columns"))
        g.output(g.op("Add", sides, self._grid(x)), "boxes", "float32", ("batch", 4, "rows", "columns"))

    def _size_columns(self, weight: str) -> list[str]:
        """The columns SHIFT and HALF, and an empty rest, of the rows of the head's channels: (B, head channels, 1),
        ... 2).
        """
        g, net = self.g, self.net
        n, width = net.cells, len(self.bias)
        shares = g.op("Reshape", weight, net.ints(0, n, n))
        middle = g.const(n // 2, "int64")
        row, column = g.op("Gather", shares, middle, axis=1), g.op("Gather", shares, middle, axis=2)  # (B, n)
        size = g.op("Concat", self.total(row, 1), self.total(column, 1), axis=1)
        size = g.op(
            "Unsqueeze",
            g.op("Div", size, g.op("Slice", row, net.ints(n // 2), net.ints(n // 2 + 1), net.ints(1))),
            net.ints(2),
        )
        usual = g.op("Log", g.op("Mul", size, g.const(1 / USUAL_SIZE)))
        half = g.op("Mul", g.op("Concat", size, size, axis=1), g.const(net.stride / 2))
        half = g.op("Pad", half, net.ints(0, 0, 0, 0, width - 4, 0))
        shift = g.op("Add", g.op("MatMul", g.const(self.size), usual), g.const(self.bias[:, None]))
        return [shift, half, g.op("Mul", g.op("Concat", shift, shift, axis=2), g.const(0.0))]

    def _branches(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Weights and biases of the first and of the second layer of the two branches, merged: the score's channel,
        then the sides'.
        """
        net, s = self.net, self.net.state
        score, boxes = (net.fold(f"head.{name}.0.0", f"head.{name}.0.1", 1e-5) for name in ("score", "boxes"))
        first = np.concatenate([score[0], boxes[0]]), np.concatenate([score[1], boxes[1]])
        width = len(score[1])
        second = np.zeros((5, 2 * width, 1, 1), np.float32)
        second[:1, :width], second[1:, width:] = s["head.score.1.weight"], s["head.boxes.1.weight"]
        return first, (second, np.concatenate([s["head.score.1.bias"] + s["head.bias"], s["head.boxes.1.bias"]]))

    def _layer(self, x: str, at: str) -> str:
        return self.net.conv(x, *self.net.fold(f"{at}.0", f"{at}.1", 1e-5), pad=1, act="relu")

    def _grid(self, x: str) -> str:
        """(1, 4, H, W): x, y, x, y of the cells in pixels; cell i of a padded backbone is pixel index stride * i."""
        g, net = self.g, self.net
        extent = self.extent(x)
        full = g.op("Concat", net.ints(1, 1), extent, axis=0)
        parts = []
        for axis, keep in ((1, (0, 1, 2)), (0, (0, 1, 3))):
            count = g.op("Gather", extent, g.const(axis, "int64"), axis=0)
            steps = g.op("Cast", g.op("Range", g.const(0, "int64"), count, g.const(1, "int64")), to=1)
            steps = g.op("Add", g.op("Mul", steps, g.const(float(net.stride))), g.const(0.5))
            parts.append(g.op("Expand", g.op("Unsqueeze", steps, net.ints(*keep)), full))
        return g.op("Concat", *parts, *parts, axis=1)


class BoxHeadGraph(OnePassGraph):
    """BoxHead; tracker.model.heads documents the computation.

    Its first layer is linear in maps that are themselves linear in the unit search features x: template cells times x,
    mean template times x, and x. One matrix product gives all of them; only shifts and maxima need more.
    """

    def __init__(self, net: Network, side: int | None = None) -> None:
        super().__init__(net, side)
        weight, self.bias = net.fold("head.mix", "head.mix_bn", 1e-5)
        cut = np.cumsum([net.channels, net.channels, self.cells, self.cells, 3, net.fine, net.fine])
        parts = np.split(weight[:, :, 0, 0], cut, axis=1)
        self.match, self.own, self.similar, self.moved, self.extra, self.match_fine, self.own_fine, self.size = parts
        self.rows = self.slots + len(self.bias)

    def template(self, features: str) -> str:
        """(B, rows, columns)."""
        g, net = self.g, self.net
        cells, weight = self.split(features)
        fine = None
        if net.fine:
            whole = cells
            cells = g.op("Slice", whole, net.ints(0), net.ints(net.channels), net.ints(2))
            fine = self._fine_context(
                g.op("Slice", whole, net.ints(net.channels), net.ints(self.read), net.ints(2)), weight
            )
        mean = self.unit(
            self.total(g.op("Mul", cells, weight), 1), 2, NORM_EPS
        )  # (B, 1, C); the length cancels the division
        gain = np.float32(net.channels**0.5)
        context = g.op("Add", g.op("Mul", mean, g.const(self.match * gain)), g.const(self.own * gain * 0.3))
        if net.config.energy == "cosine":
            cells = self.unit(cells, 2, EPS)
            context = g.op("Add", context, g.op("MatMul", g.const(self.similar), cells))
        share = g.op("Div", weight, self.total(weight, 1))
        around = g.op("Mul", weight, g.const(-4.0))
        inside = g.op("Sub", g.const(-4.0), around)
        square = self.total(g.op("Mul", cells, cells), 2)
        columns = [self.filled(share), self.filled(inside, NEVER), self.filled(around, NEVER), self.filled(square)]
        top, bottom = self.filled(cells), context
        if fine is not None:
            top = g.op("Pad", top, net.ints(0, 0, 0, 0, 0, net.fine))
            bottom = g.op("Concat", bottom, fine, axis=2)
        top = g.op("Concat", top, *columns, axis=2)
        if net.config.relative_boxes:
            bottom = g.op("Concat", bottom, *self._size_columns(weight), axis=2)
        else:
            bottom = g.op("Pad", bottom, net.ints(0, 0, 0, 0, 0, len(Column)))
        return g.op("Concat", top, bottom, axis=1)

    def _fine_context(self, cells: str, weight: str) -> str:
        """(B, head channels, F): weights of the first layer for the fine channels of a search cell, for this target."""
        g, gain = self.g, np.float32((self.net.fine / 4) ** 0.5 / FINE_SHARE)  # the search has them times that share
        like = self.unit(self.total(g.op("Mul", cells, weight), 1), 2, NORM_EPS)
        return g.op("Add", g.op("Mul", like, g.const(self.match_fine * gain * 2)), g.const(self.own_fine * gain * 0.3))

    def search(self, embedding: str, x: str, fine: str | None, features: bool) -> None:
        """Adds the outputs `score` and `boxes`, and `features` if requested."""
        g, net = self.g, self.net
        norm = g.op("Max", g.op("ReduceL2", x, axes=(1,), keepdims=1), g.const(NORM_EPS))
        name = "features" if features else ""
        unit = g.op("Div", x, norm, name="" if fine else name)
        read = unit if fine is None else g.op("Concat", unit, fine, axis=1, name=name)
        products = g.op("MatMul", self.channels_of(embedding), self.flat(read))
        similar = g.op("Slice", products, net.ints(0), net.ints(self.slots), net.ints(1))
        context = g.op("Slice", products, net.ints(self.slots), net.ints(self.rows), net.ints(1))
        similar = self.similarity(embedding, similar, norm)
        moved = self.flat(self.aligned(similar, x))
        share = g.op("Reshape", self.column(embedding, Column.WEIGHT), net.ints(0, 1, -1))
        response = g.op("MatMul", share, moved)
        peaks = [
            g.op("ReduceMax", g.op("Add", similar, self.column(embedding, part)), axes=(1,), keepdims=1)
            for part in (Column.INSIDE, Column.AROUND)
        ]
        parts, weights = [moved, response, *peaks], [self._wide(self.moved), self.extra]
        if net.config.energy != "cosine":
            parts, weights = [similar, *parts], [self._wide(self.similar), *weights]
        mixed = g.op("MatMul", g.const(np.concatenate(weights, axis=1)), g.op("Concat", *parts, axis=1))
        relative = net.config.relative_boxes
        bias = self.column(embedding, Column.SHIFT, self.slots, self.rows) if relative else g.const(self.bias[:, None])
        y = g.op("Relu", g.op("Add", g.op("Add", mixed, context), bias))
        y = g.op("Reshape", y, self.shape(x, len(self.bias)))
        self.outputs(y, response, embedding, x)
        if features:
            g.output(read, "features", "float32", ("batch", self.read, "rows", "columns"))

    def _wide(self, weight: np.ndarray) -> np.ndarray:
        """Zero columns for the empty rows."""
        return np.pad(weight, ((0, 0), (0, self.slots - self.cells)))
