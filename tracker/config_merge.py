"""Merging of nested values and `key=value` overrides into frozen dataclasses: OmegaConf does the typing, its complaints
become sentences."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from tracker.errors import ConfigError, reading, shown
from tracker.yaml_files import check_yaml

T = TypeVar("T")


RENAMED_KEYS = {
    "impostors": "negative_pairs",
    "impostor_weight": "negative_pair_weight",
    "impostor_temperature": "negative_pair_temperature",
    "cross_impostors": "cross_negative_pairs",
    "convention": "box_jitter",
    "elsewhere_frames": "distractor_frames",
    "elsewhere_gap": "distractor_gap",
}
"""Keys of version 0.1.0, in recipes, overrides and headers of checkpoints -> today's."""


RENAMED_VALUES = {("name", "imitation"): "distillation"}
"""(key, value) of version 0.1.0 -> today's value."""


def renamed(value: Any) -> Any:
    """Nested mappings and lists with today's names for keys and values of earlier versions; where both stand, today's
    counts."""
    if isinstance(value, list | tuple):
        return [renamed(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    old = {RENAMED_KEYS[k]: v for k, v in value.items() if k in RENAMED_KEYS}
    new = {k: v for k, v in value.items() if k not in RENAMED_KEYS}
    named = {k: RENAMED_VALUES.get((k, v), v) if isinstance(v, str) else v for k, v in {**old, **new}.items()}
    return {k: renamed(v) for k, v in named.items()}


def merge(base: T, values: Mapping[str, Any], overrides: Sequence[str] = (), where: str = "the configuration") -> T:
    """A dataclass instance with some of its fields replaced, types checked.

    Args:
        base: A frozen dataclass instance, nested ones included.
        values: Nested mapping of new values.
        overrides: Dotted `key=value` texts; these win. A number is a place in a list: `train.losses.0.weight=0.5`.
        where: What to call the origin in an error.

    Raises:
        ConfigError: As `load_config`.
    """
    from omegaconf import OmegaConf

    if isinstance(overrides, str) or not isinstance(overrides, Sequence):
        raise ConfigError(f"The overrides {shown(overrides)} are no list of key=value texts.")
    for text in overrides:
        if not isinstance(text, str) or "=" not in text:
            raise ConfigError(
                f"The override {shown(text)} is not of the form key=value, for example tracking.window_influence=0.2."
            )
    if not isinstance(values, Mapping):
        raise ConfigError(f"In {where}: {shown(values)} stands where keys and values are expected.")
    known = _known_keys(type(base))
    with reading(lambda reason: ConfigError(f"In {where}: {reason}")):
        given = OmegaConf.create(renamed(dict(values)))
        for text in overrides:
            key, value = text.split("=", 1)
            _override(given, ".".join(RENAMED_KEYS.get(part, part) for part in key.split(".")) + "=" + value, where)
        for key in _flatten(OmegaConf.to_container(given, resolve=True)):
            _check_key(key, known, where)
        schema = OmegaConf.structured(base)
        result = OmegaConf.to_object(OmegaConf.merge(schema, given))
    return typing.cast(T, result)


def _override(values: Any, text: str, where: str) -> None:
    """Sets what `key=value` says in an OmegaConf container; a number in the key is a place in a list."""
    from omegaconf import OmegaConf

    key, value = text.split("=", 1)
    with reading(
        lambda reason: ConfigError(
            f"In {where}: the value of the override {shown(text)} is not readable yaml: {reason}"
        )
    ):
        check_yaml(value)
        parsed = OmegaConf.from_dotlist([f"value={value}"]).value
    reason = f"In {where}: the override {shown(text)} names no place of a list or section that is there"
    with reading(lambda why: ConfigError(f"{reason} ({why}); places in a list count from 0.")):
        OmegaConf.update(values, key, parsed, merge=True)


def to_dict(config: Any) -> dict[str, Any]:
    """The nested plain dict of a configuration (for checkpoints and logs)."""
    return dataclasses.asdict(config)


def _known_keys(cls: type, prefix: str = "") -> dict[str, bool]:
    """Dotted keys of a dataclass -> whether anything may stand below it (a free-form dict)."""
    keys: dict[str, bool] = {}
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        kind = hints[item.name]
        if dataclasses.is_dataclass(kind):
            keys[prefix + item.name] = False
            keys.update(_known_keys(typing.cast(type, kind), f"{prefix}{item.name}."))
        else:
            keys[prefix + item.name] = typing.get_origin(kind) is dict
    return keys


def _flatten(values: Any, prefix: str = "") -> list[str]:
    if not isinstance(values, dict):
        return []
    keys = []
    for name, value in values.items():
        keys.append(f"{prefix}{name}")
        keys.extend(_flatten(value, f"{prefix}{name}."))
    return keys


def _check_key(key: str, known: Mapping[str, bool], where: str) -> None:
    parts = key.split(".")
    if key in known or any(known.get(".".join(parts[:n]), False) for n in range(1, len(parts))):
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5) or [k for k in known if k.split(".")[-1] == parts[-1]]
    hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(sorted(known))}."
    raise ConfigError(f"In {where}: the key {key!r} is unknown. {hint}")
