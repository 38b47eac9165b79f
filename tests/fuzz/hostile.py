"""Values, pictures, texts and bytes that somebody could give by mistake, and what damages files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator


class Evil:
    """An object whose conversions all fail."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no array")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __float__(self) -> float:
        raise RuntimeError("no number")


NUMBERS = (
    math.nan,
    math.inf,
    -math.inf,
    0,
    -0.0,
    -1,
    1,
    2,
    0.5,
    1e-300,
    1e-9,
    1e9,
    1e308,
    -1e308,
    10**400,
    -(10**400),
    2**31,
    2**63,
    2**64,
)
OTHERS: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    lambda: False,
    lambda: "",
    lambda: "abc",
    lambda: "1,2,3,4",
    lambda: "nan",
    lambda: b"\xff\x00",
    lambda: [],
    lambda: (),
    lambda: {},
    lambda: {"x": 1},
    lambda: {1, 2},
    lambda: 1j,
    lambda: object(),
    lambda: Evil(),
    lambda: iter([1, 2, 3, 4]),
    lambda: [[1, 2], [3]],
    lambda: [1, 2, [3], 4],
    lambda: ["1", "2", "3", "4"],
    lambda: [None] * 4,
    lambda: np.zeros(4, complex),
    lambda: np.zeros((2, 2)),
    lambda: np.array(5),
    lambda: np.array(["a"] * 4),
    lambda: np.array([1, None, "x", 3], object),
    lambda: np.zeros(4, "datetime64[s]"),
    lambda: np.zeros(2, [("a", int), ("b", float)]),
    lambda: np.ma.masked_array([1.0, 2, 3, 4], mask=True),
    lambda: np.zeros((0, 4)),
    lambda: np.full((3, 4), np.nan),
    lambda: int,
    lambda: lambda: 0,
)


def number(rng: Rng) -> Any:
    """A number at an edge, or an ordinary one."""
    return (
        NUMBERS[int(rng.integers(len(NUMBERS)))]
        if rng.random() < 0.7
        else float(rng.normal() * 10.0 ** rng.integers(-3, 6))
    )


def anything(rng: Rng) -> Any:
    """A value of any kind."""
    return number(rng) if rng.random() < 0.4 else OTHERS[int(rng.integers(len(OTHERS)))]()


def box(rng: Rng) -> Any:
    """What could be given as a box: often four numbers."""
    if rng.random() < 0.3:
        return anything(rng)
    values: list[Any] = rng.uniform((0, 0, 1, 1), (140, 100, 60, 60)).tolist()
    for _ in range(int(rng.integers(0, 3))):
        values[int(rng.integers(4))] = number(rng) if rng.random() < 0.8 else anything(rng)
    if rng.random() < 0.1:
        values = values[: int(rng.integers(5))] + [1.0] * int(rng.integers(3))
    return tuple(values) if rng.random() < 0.5 else values


PICTURES: tuple[Callable[[Rng], Any], ...] = (
    lambda rng: rng.integers(0, 256, (120, 160, 3), dtype=np.uint8),
    lambda rng: rng.integers(0, 256, (120, 160), dtype=np.uint8),
    lambda rng: rng.integers(0, 256, (120, 160, 4), dtype=np.uint8),
    lambda rng: rng.integers(0, 65536, (120, 160, 3), dtype=np.uint16),
    lambda rng: rng.integers(0, 2, (120, 160)).astype(bool),
    lambda rng: np.asfortranarray(rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)),
    lambda rng: rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)[::-1, ::-2],
    lambda rng: np.broadcast_to(np.uint8(9), (60, 80, 3)),
    lambda rng: np.zeros((1, 1, 3), np.uint8),
    lambda rng: np.zeros((1, 3000, 3), np.uint8),
    lambda rng: np.zeros((40000, 2, 3), np.uint8),
    lambda rng: np.zeros((0, 5, 3), np.uint8),
    lambda rng: np.zeros((5, 0, 3), np.uint8),
    lambda rng: np.zeros((5, 5, 0), np.uint8),
    lambda rng: np.zeros((5, 5, 2), np.uint8),
    lambda rng: np.zeros((3, 50, 60), np.uint8),
    lambda rng: np.zeros((1, 50, 60, 3), np.uint8),
    lambda rng: np.zeros((50, 60, 3), np.float32),
    lambda rng: np.full((50, 60, 3), np.nan),
    lambda rng: np.zeros((50, 60, 3), np.int64),
    lambda rng: np.zeros((50, 60, 3), ">u2"),
    lambda rng: np.zeros((50, 60, 3), complex),
    lambda rng: np.zeros((50, 60, 3), object),
    lambda rng: np.zeros((50, 60), [("r", "u1")]),
    lambda rng: np.ma.masked_array(np.zeros((50, 60, 3), np.uint8), mask=True),
    lambda rng: np.zeros((50, 60, 3), np.uint8).tolist(),
    anything,
)


def picture(rng: Rng) -> Any:
    """What could be given as a picture."""
    return PICTURES[0](rng) if rng.random() < 0.4 else PICTURES[int(rng.integers(len(PICTURES)))](rng)


WORDS = (
    "nan",
    ".nan",
    ".inf",
    "-1",
    "0",
    "1e400",
    "9" * 5000,
    "[",
    "]",
    "{",
    "}",
    "[1,2",
    "*a",
    "&a [*a]",
    "@",
    "%",
    "=",
    "?",
    "!",
    "!!set {a}",
    "!!python/object:os.system {}",
    "${nope}",
    "${",
    "${oc.env:NOT_SET}",
    "???",
    "null",
    "~",
    "true",
    "'",
    '"',
    "\\",
    "\t",
    "\u00b2",
    "\ud83d",
    "\x00",
    "- a",
    "a: b",
    "|",
    ">",
    "2026-01-01",
    "0x10",
    "1_000",
    "1:30",
    "[[1],[2,[3]]]",
    "{a: {b: {c: 1}}}",
    "",
    " ",
)


def word(rng: Rng) -> str:
    """A word that yaml, a number reader or a shell could stumble over."""
    return WORDS[int(rng.integers(len(WORDS)))]


def damaged_bytes(data: bytes, rng: Rng) -> bytes:
    """Bytes cut short, turned, repeated or left out."""
    out = bytearray(data)
    kind = int(rng.integers(6))
    at = int(rng.integers(max(len(out), 1)))
    if kind == 0:
        return bytes(out[:at])
    if kind == 1:
        for _ in range(int(rng.integers(1, 12))):
            if out:
                out[int(rng.integers(len(out)))] = int(rng.integers(256))
    elif kind == 2:
        del out[at : at + int(rng.integers(1, 200))]
    elif kind == 3:
        out[at:at] = out[: int(rng.integers(1, 200))]
    elif kind == 4:
        out[at : at + 16] = bytes(rng.integers(0, 256, 16, dtype=np.uint8))
    else:
        return bytes(rng.integers(0, 256, int(rng.integers(0, 200)), dtype=np.uint8))
    return bytes(out)


def damaged_text(text: str, rng: Rng) -> str:
    """A text with words, lines or characters replaced."""
    lines = text.split("\n")
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(lines)))
        kind = int(rng.integers(5))
        if kind == 0:
            lines[at] = word(rng)
        elif kind == 1:
            parts = lines[at].replace(",", " , ").split(" ")
            parts[int(rng.integers(len(parts)))] = word(rng)
            lines[at] = " ".join(parts)
        elif kind == 2:
            del lines[at]
            lines = lines or [""]
        elif kind == 3:
            lines.insert(at, lines[int(rng.integers(len(lines)))])
        else:
            place = int(rng.integers(len(lines[at]) + 1))
            lines[at] = lines[at][:place] + word(rng) + lines[at][place:]
    return "\n".join(lines)


def damaged_json(value: Any, rng: Rng) -> str:
    """A json value with one of its parts replaced, left out, or of another kind."""
    value = json.loads(json.dumps(value))
    others = (None, True, -1, 0, 5, 1e308, math.nan, math.inf, "", "x", [], {}, [1], {"a": 1}, 10**30)

    def change(node: Any, depth: int) -> Any:
        if not isinstance(node, dict | list) or not node or rng.random() < 0.15 * depth:
            return others[int(rng.integers(len(others)))]
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = keys[int(rng.integers(len(keys)))]
        if rng.random() < 0.2:
            del node[key]
        else:
            node[key] = change(node[key], depth + 1)
        return node

    return json.dumps(change(value, 0))


def damaged_arrays(arrays: dict[str, np.ndarray], rng: Rng) -> dict[str, np.ndarray]:
    """Named arrays of which one has another shape or type, holds NaN, or is missing."""
    out = dict(arrays)
    name = list(out)[int(rng.integers(len(out)))]
    array = out[name]
    kind = int(rng.integers(8))
    if kind == 0:
        del out[name]
    elif kind == 1:
        out[name] = array[..., : max(array.shape[-1] // 2, 0)] if array.ndim else np.zeros(3)
    elif kind == 2:
        out[name] = array.reshape(-1)
    elif kind == 3:
        out[name] = array.astype(np.float64) * np.nan if array.dtype.kind in "fiub" else np.zeros(2)
    elif kind == 4:
        out[name] = array[:0] if array.ndim else np.zeros(0)
    elif kind == 5:
        out[name] = np.array(["a", "b"])
    elif kind == 6:
        out[name] = (
            (array.astype(np.float64) * -1e30).astype(np.float32) if array.dtype.kind in "fiub" else np.zeros(())
        )
    else:
        out[name] = array[None]
    return out
