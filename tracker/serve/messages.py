"""What supervisor and workers tell each other: a JSON header and byte parts in one message. Nothing in it can run
code."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any


def pack(kind: str, values: Mapping[str, Any] | None = None, parts: Mapping[str, bytes] | None = None) -> bytes:
    """A message: 4 bytes length of the header (big endian), header, then the parts that it names.

    Args:
        kind: What it is about.
        values: What JSON can say.
        parts: name -> bytes.
    """
    parts = parts or {}
    header = {"kind": kind, "values": values or {}, "parts": [[name, len(data)] for name, data in parts.items()]}
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    return b"".join([struct.pack(">I", len(text)), text, *parts.values()])


def unpack(message: bytes) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    """The inverse of `pack`: kind, values, parts."""
    (length,) = struct.unpack_from(">I", message)
    header = json.loads(message[4 : 4 + length])
    at, parts = 4 + length, {}
    for name, size in header["parts"]:
        parts[name] = message[at : at + size]
        at += size
    return header["kind"], header["values"], parts


def is_kind(message: bytes, kind: str) -> bool:
    """Whether a message is of this kind, without reading the rest."""
    start = f'{{"kind":"{kind}",'.encode()
    return message[4 : 4 + len(start)] == start
