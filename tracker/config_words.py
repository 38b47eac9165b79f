"""Error messages for configuration values of a wrong type: the key, the value, what it must be, an example."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from tracker.errors import ConfigError, shown


def check_sections(cls: type, values: Any, overrides: Mapping[str, str], where: str, prefix: str = "") -> None:
    """Raises where a section is not a mapping of keys to values."""
    hints = typing.get_type_hints(cls)
    for key, value in values.items():
        kind = hints.get(key)
        if not dataclasses.is_dataclass(kind):
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(wrong_kind(prefix + key, value, kind, overrides, where, None))
        check_sections(typing.cast(type, kind), value, overrides, where, f"{prefix}{key}.")


def wrong_kind(key: str, value: Any, kind: Any, overrides: Mapping[str, str], where: str, usual: Any) -> str:
    """The error message for a value of a wrong type: the key, the value, what it must be, an example.

    `overrides`: dotted key -> the text that the user gave for it.
    """
    said = overrides.get(key) or overrides.get(key.split("[")[0])
    place = f"The override {shown(said)}" if said else f"In {where}: {key} is {shown(value)}"
    example = (
        f", for example {_plain(usual)}"
        if usual not in (None, "", (), []) and not dataclasses.is_dataclass(kind)
        else ""
    )
    if value is None:
        start = f"{place} gives no value" if said else f"In {where}: {key} has no value"
        return f"{start}; write {_words(kind)} behind it{example}."
    end = f", and {key} must be" if said else ", and must be"
    return (
        f"{place} says {shown(value)}{end} {_words(kind)}{example}."
        if said
        else f"{place}{end} {_words(kind)}{example}."
    )


def misfit(kind: Any, value: Any) -> bool:
    """Whether a list contains an item of a type that is not allowed there."""
    if typing.get_origin(kind) not in (list, tuple) or not isinstance(value, Sequence) or isinstance(value, str):
        return False
    inner = typing.get_args(kind)[0]
    fits = {float: (int, float), int: (int,), bool: (bool,), str: (str,)}.get(inner, (object,))
    return not all(isinstance(item, fits) for item in value)


def _plain(value: Any) -> str:
    """Formats a value as it is written in yaml."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value)


def _words(kind: Any) -> str:
    """Describes a type in words."""
    plain = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if kind in plain:
        return plain[kind]
    origin, inner = typing.get_origin(kind), [k for k in typing.get_args(kind) if k not in (type(None), Ellipsis)]
    if origin in (list, tuple):
        several = {bool: "true and false", int: "whole numbers", float: "numbers", str: "texts"}
        return "a list" + (f" of {several[inner[0]]}" if inner and inner[0] in several else "")
    if origin is not None and origin is not dict and inner:
        return " or ".join(map(_words, inner))
    return "a section of keys and values"


def kind_at(cls: Any, key: str) -> Any:
    """The type declared at a dotted key of a dataclass (the item type if the key ends in a list index), or None."""
    for part in key.replace("[", ".[").split("."):
        if part.startswith("["):
            args = [k for k in typing.get_args(cls) if k is not type(None)]
            if typing.get_origin(cls) not in (list, tuple):  # an optional list
                args = [a for k in args for a in typing.get_args(k)]
            cls = args[0] if args else None
        elif dataclasses.is_dataclass(cls):
            cls = typing.get_type_hints(cls).get(part)
        else:
            return None
    return cls
