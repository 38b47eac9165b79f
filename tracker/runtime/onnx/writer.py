"""A small writer of ONNX files: graph nodes and numpy arrays in, bytes out. numpy only.

ONNX is protocol buffers with a public schema (onnx.proto3, IR version 8). Writing the few messages that a network needs
takes little code, builds a model in milliseconds and needs neither the onnx package nor torch's exporter, so the ONNX
Runtime engine builds its graph from the checkpoint at every start instead of keeping a second file up to date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

OPSET = 17
IR_VERSION = 8
# TensorProto.DataType
TYPES: dict[str, int] = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10}

Attribute = int | float | str | Sequence[int]
Dim = int | str


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as 64-bit two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, array: NDArray) -> bytes:
    dims = b"".join(_int(1, n) for n in array.shape)
    raw = np.ascontiguousarray(array).tobytes()
    return dims + _int(2, TYPES[str(array.dtype)]) + _bytes(8, name) + _bytes(9, raw)


def _attribute(name: str, value: Attribute) -> bytes:
    head = _bytes(1, name)
    if isinstance(value, int):
        return head + _int(3, value) + _int(20, 2)
    if isinstance(value, float):
        return head + _varint(2 << 3 | 5) + np.float32(value).tobytes() + _int(20, 1)
    if isinstance(value, str):
        return head + _bytes(4, value) + _int(20, 3)
    return head + b"".join(_int(8, int(v)) for v in value) + _int(20, 7)


def _value(name: str, kind: str, shape: Sequence[Dim]) -> bytes:
    dims = b"".join(_bytes(1, _bytes(2, d) if isinstance(d, str) else _int(1, d)) for d in shape)
    tensor = _int(1, TYPES[kind]) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


class Graph:
    """Nodes in the order in which they are added; every operation returns the name of its output."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = ""  # prefix of the names of later nodes
        self._nodes: list[bytes] = []
        self._initializers: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._consts: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0

    def input(self, name: str, kind: str, shape: Sequence[Dim]) -> str:
        """Declares an input; a dimension is a number or a name (a dynamic dimension)."""
        self._inputs.append(_value(name, kind, shape))
        return name

    def const(self, value: ArrayLike, dtype: str = "float32", name: str = "") -> str:
        """A constant; equal constants are stored once."""
        array = np.asarray(value, dtype=dtype)
        key = (dtype, array.shape, array.tobytes())
        if key not in self._consts:
            self._consts[key] = name or f"const_{len(self._consts)}"
            self._initializers.append(_tensor(self._consts[key], array))
        return self._consts[key]

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Attribute) -> str:
        """Adds a node with one output and returns the output's name; an empty input name omits an optional input."""
        self._count += 1
        output = name or f"{self.prefix}{kind.lower()}_{self._count}"
        node = b"".join(_bytes(1, i) for i in inputs) + _bytes(2, output) + _bytes(3, output) + _bytes(4, kind)
        node += b"".join(_bytes(5, _attribute(key, value)) for key, value in attributes.items())
        self._nodes.append(node)
        return output

    def output(self, source: str, name: str, kind: str, shape: Sequence[Dim]) -> None:
        """Declares an output under a name; a node that already has that name is not copied."""
        if source != name:
            self.op("Identity", source, name=name)
        self._outputs.append(_value(name, kind, shape))

    def serialize(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """The bytes of an ONNX file."""
        graph = b"".join(_bytes(1, n) for n in self._nodes) + _bytes(2, self.name)
        for field, items in ((5, self._initializers), (11, self._inputs), (12, self._outputs)):
            graph += b"".join(_bytes(field, item) for item in items)
        model = (
            _int(1, IR_VERSION) + _bytes(2, "siamtrack") + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _int(2, OPSET))
        )
        for key, value in (metadata or {}).items():
            model += _bytes(14, _bytes(1, key) + _bytes(2, value))
        return model
