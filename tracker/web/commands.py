"""Requests of a browser, validated before the worker gets them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracker.errors import BoxError, SiamTrackError
from tracker.types import Box

Reply = Callable[[dict[str, Any]], None]
"""Sends a message to the browser that asked; may be called from any thread."""

LONGEST_MESSAGE = 4096
"""Greatest size of a message in bytes; valid ones have about 200."""


class RequestError(SiamTrackError):
    """An invalid message."""


@dataclass(frozen=True)
class TargetRequest:
    """Track what is in the box of frame `seq`; with `add`, in addition to the current targets."""

    box: tuple[float, ...]
    seq: int
    add: bool = False


@dataclass(frozen=True)
class Hold:
    """A user begins to draw on frame `seq`: keep it."""

    seq: int


@dataclass(frozen=True)
class Release:
    """The user has stopped drawing."""


@dataclass(frozen=True)
class Drop:
    """Stop tracking one target, or all."""

    target_id: int | None


@dataclass(frozen=True)
class Record:
    """Start or stop recording."""

    on: bool


Request = TargetRequest | Hold | Release | Drop | Record


@dataclass(frozen=True)
class Command:
    """A request, and the browser that sent it."""

    request: Request
    client: int
    reply: Reply


@dataclass(frozen=True)
class Ack:
    """The browser has displayed frame `seq`; handled by the hub, not by the worker."""

    seq: int


@dataclass(frozen=True)
class Show:
    """Whether the browser wants template, search and response."""

    views: bool


def parse_message(text: str) -> Request | Ack | Show:
    """Parses a WebSocket text message.

    Raises:
        RequestError: Not JSON, unknown, or with values of a wrong type.
        BoxError: A box that is not four finite numbers with an area (whether it lies in the frame is checked later).
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise RequestError("The message is not JSON; nothing was done.") from None
    if not isinstance(message, dict):
        raise RequestError("The message is not an object with a type; nothing was done.")
    kind = message.get("type")
    if not isinstance(kind, str) or kind not in READERS:
        raise RequestError(f"The request {str(kind)[:40]!r} is not known; reload the page.")
    return READERS[kind](message)


def _whole(message: dict[str, Any], key: str) -> int:
    value = message.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise RequestError(f"{key} must be a whole number of at least 0; nothing was done.")
    return value


def _flag(message: dict[str, Any], key: str) -> bool:
    value = message.get(key, False)
    if not isinstance(value, bool):
        raise RequestError(f"{key} must be true or false; nothing was done.")
    return value


def _box(value: Any) -> tuple[float, ...]:
    if (
        not isinstance(value, list)
        or len(value) != 4
        or any(isinstance(v, bool) or not isinstance(v, int | float) for v in value)
    ):
        raise BoxError("A box is four numbers x, y, width, height in pixels; draw it again.")
    try:
        box = tuple(float(v) for v in value)
    except OverflowError:
        raise BoxError("A value of the box is too large; draw it again.") from None
    if not all(math.isfinite(v) for v in box):
        raise BoxError("A value of the box is not finite; draw it again.")
    if any(abs(v) > 1e6 for v in box):
        raise BoxError("A value of the box is too large; draw it again.")
    return box


def rounded(box: Box) -> list[float]:
    """A box for sending: pixels with two decimals."""
    return [round(float(v), 2) for v in box]


READERS: dict[str, Callable[[dict[str, Any]], Request | Ack | Show]] = {
    "ack": lambda m: Ack(_whole(m, "seq")),
    "show": lambda m: Show(_flag(m, "views")),
    "target": lambda m: TargetRequest(_box(m.get("box")), _whole(m, "seq"), _flag(m, "add")),
    "hold": lambda m: Hold(_whole(m, "seq")),
    "release": lambda m: Release(),
    "drop": lambda m: Drop(_whole(m, "id")),
    "clear": lambda m: Drop(None),
    "record": lambda m: Record(_flag(m, "on")),
}
