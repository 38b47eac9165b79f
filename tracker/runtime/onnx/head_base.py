"""Base of the ONNX heads: the columns of a prepared template, and sums over cells."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tracker.runtime.onnx.network import Network

EPS = 1e-6  # tracker.model.energies.EPS
NORM_EPS = 1e-12  # of torch.nn.functional.normalize


class Column(IntEnum):
    """Indices of the columns after the C + F channels."""

    WEIGHT = 0  # the cell's weight in the response (boxes: they add up to 1)
    INSIDE = 1  # added before the maximum over the target's cells
    AROUND = 2  # added before the maximum over the other cells
    SQUARE = 3  # the cell's squared length (classic: of the whole template)
    # In the rows of the head's channels (boxes relative to the template's target):
    SHIFT = 0  # added to the channel, its bias included
    HALF = 1  # first four rows: half the target's sides in pixels, left, top, right, bottom


class HeadGraph:
    """Base class of the heads.

    Args:
        net: The network.
        side: Cells along one side of a search; None: any. With a fixed size no shapes are computed at run time.
    """

    def __init__(self, net: Network, side: int | None = None) -> None:
        self.net, self.g, self.side = net, net.g, side
        self.cells = net.cells**2
        self.slots = -(-self.cells // 8) * 8
        self.rows = self.slots
        self.read = net.channels + net.fine
        self.columns = self.read + len(Column)
        self.channels = self.read + int(net.padded)

    def features(self, z: str, fine: str | None, target: str) -> str:
        """`Matcher.embed_template`: (B, C, n, n), with a padded backbone (B, C + F + 1, n, n)."""
        if self.net.padded:
            return self.g.op("Concat", *([z] if fine is None else [z, fine]), self.coverage(target), axis=1)
        # All cells count. `target` stays an input, so that the files of all models have the same interface.
        nothing = self.g.op("Mul", self.total(target, 1), self.g.const(0.0))
        return self.g.op("Add", z, self.g.op("Unsqueeze", nothing, self.net.ints(2, 3)))

    def split(self, features: str) -> tuple[str, str]:
        """(B, n*n, C + F) cells and (B, n*n, 1) weights."""
        g, net = self.g, self.net
        flat = g.op("Transpose", self.flat(features), perm=(0, 2, 1))
        if not net.padded:
            ones = g.op("Mul", g.op("Slice", flat, net.ints(0), net.ints(1), net.ints(2)), g.const(0.0))
            return flat, g.op("Add", ones, g.const(1.0))
        cells = g.op("Slice", flat, net.ints(0), net.ints(self.read), net.ints(2))
        return cells, g.op("Slice", flat, net.ints(self.read), net.ints(self.read + 1), net.ints(2))

    def coverage(self, target: str) -> str:
        """tracker.model.heads.coverage: (B, 2) target sizes -> (B, 1, n, n)."""
        net, g = self.net, self.g
        steps = (np.arange(net.cells) - (net.cells - 1) / 2) * net.stride
        half = g.op("Clip", target, g.const(2.0), g.const(float(net.config.template_size)))
        half = g.op("Mul", g.op("Unsqueeze", half, net.ints(2)), g.const(0.5))
        low = g.op("Max", g.const(steps - net.stride / 2), g.op("Neg", half))
        high = g.op("Min", g.const(steps + net.stride / 2), half)
        share = g.op(
            "Clip", g.op("Div", g.op("Sub", high, low), g.const(float(net.stride))), g.const(0.0), g.const(1.0)
        )
        rows = g.op("Unsqueeze", g.op("Gather", share, g.const(1, "int64"), axis=1), net.ints(2))
        columns = g.op("Unsqueeze", g.op("Gather", share, g.const(0, "int64"), axis=1), net.ints(1))
        return g.op("Unsqueeze", g.op("Mul", rows, columns), net.ints(1))

    def flat(self, x: str) -> str:
        """(B, C, H, W) -> (B, C, H*W)."""
        return self.g.op("Reshape", x, self.net.ints(0, 0, -1))

    def total(self, x: str, *axes: int) -> str:
        return self.g.op("ReduceSum", x, self.net.ints(*axes), keepdims=1)

    def unit(self, x: str, axis: int, eps: float) -> str:
        """x over its length along an axis."""
        norm = self.g.op("ReduceL2", x, axes=(axis,), keepdims=1)
        return self.g.op("Div", x, self.g.op("Max", norm, self.g.const(eps)))

    def filled(self, x: str, value: float = 0.0) -> str:
        """(B, n*n, k) -> (B, slots, k)."""
        return self.g.op("Pad", x, self.net.ints(0, 0, 0, 0, self.slots - self.cells, 0), self.g.const(value))

    def channels_of(self, embedding: str) -> str:
        return self.g.op("Slice", embedding, self.net.ints(0), self.net.ints(self.read), self.net.ints(2))

    def column(self, embedding: str, column: Column, first: int = 0, last: int | None = None) -> str:
        """(B, slots, 1), or the rows first ... last - 1."""
        at, net = self.read + column, self.net
        return self.g.op("Slice", embedding, net.ints(first, at), net.ints(last or self.slots, at + 1), net.ints(1, 2))

    def extent(self, x: str) -> str:
        """(2,) int64: H, W of x, a map of the search."""
        if self.side:
            return self.net.ints(self.side, self.side)
        return self.g.op("Shape", x, start=2, end=4)

    def shape(self, x: str, channels: int) -> str:
        """(4,) int64: -1, channels, H, W of x."""
        return self.g.op("Concat", self.net.ints(-1, channels), self.extent(x), axis=0)

    def aligned(self, products: str, x: str) -> str:
        """(B, slots, H*W) -> (B, slots, h, w): each cell's map, shifted to where the template's centre is."""
        n, net = self.net.cells, self.net
        down, across = np.divmod(np.arange(self.cells), n)
        if self.side and self.slots > self.cells:
            return self._looked_up(products, down, across)
        kernel = np.zeros((self.slots, 1, n, n), np.float32)
        kernel[np.arange(self.cells), 0, down, across] = 1
        maps = self.g.op("Reshape", products, self.shape(x, self.slots))
        return net.conv(maps, kernel, None, pad=n // 2 if net.padded else 0, groups=self.slots)

    def _looked_up(self, products: str, down: NDArray[np.int64], across: NDArray[np.int64]) -> str:
        """`aligned` by gathering products by index, which takes a fraction of the time of a convolution with one-hot
        kernels.

        Args:
            products: (B, slots, H*W); an empty row supplies the values outside the search.
            down, across: (cells,) row and column of each cell in the template.
        """
        g, net, side = self.g, self.net, self.side
        assert side
        pad = net.cells // 2 if net.padded else 0
        at = np.arange(side + 2 * pad - net.cells + 1) - pad
        rows, columns = at[None, :, None] + down[:, None, None], at[None, None, :] + across[:, None, None]
        inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
        places = (np.arange(self.cells)[:, None, None] * side + rows) * side + columns
        places = np.where(inside, places, self.cells * side**2).reshape(1, -1)
        places = np.pad(
            places, ((0, 0), (0, (self.slots - self.cells) * len(at) ** 2)), constant_values=self.cells * side**2
        )
        # GatherElements needs indices for each search of the batch; Gather doesn't, but takes as long as the
        # convolution.
        wanted = g.op("Concat", g.op("Shape", products, end=1), net.ints(places.size), axis=0)
        moved = g.op(
            "GatherElements",
            g.op("Reshape", products, net.ints(0, -1)),
            g.op("Expand", g.const(places, "int32"), wanted),
            axis=1,
        )
        return g.op("Reshape", moved, net.ints(0, self.slots, len(at), len(at)))
