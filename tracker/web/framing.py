"""Binary messages of a JSON header and parts of bytes: 4 bytes length of the header (big endian), header, parts."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any


def join_parts(header: Mapping[str, Any], parts: Iterable[tuple[str, bytes]]) -> bytes:
    """A message of a header, to which the names and sizes of the parts are added as `parts`, and the parts.

    Args:
        header: Values that JSON can represent.
        parts: (name, bytes) each.
    """
    parts = list(parts)
    whole = {**header, "parts": [[name, len(data)] for name, data in parts]}
    text = json.dumps(whole, allow_nan=False, separators=(",", ":")).encode()
    return b"".join([struct.pack(">I", len(text)), text, *(data for _, data in parts)])


def split_parts(message: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The inverse of `join_parts`: the header, and the parts by name."""
    (length,) = struct.unpack_from(">I", message)
    header = json.loads(message[4 : 4 + length])
    at, parts = 4 + length, {}
    for name, size in header["parts"]:
        parts[name] = message[at : at + size]
        at += size
    return header, parts
