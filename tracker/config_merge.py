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


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} -> {"a": {"b": 1}}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return result


def moved(values: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """Nested values of a configuration class, those under a name of an earlier version (`Checked.moved`) put where
    they belong today; where both stand, today's counts."""
    places, kinds = getattr(cls, "moved", {}), _sections(cls)
    result: dict[str, Any] = {}
    old: dict[str, Any] = {}
    for key, value in values.items():
        if key in places and not isinstance(value, Mapping):
            old[key] = value
        else:
            result[key] = moved(value, kinds[key]) if key in kinds and isinstance(value, Mapping) else value
    for key, value in old.items():
        section, name = places[key].split(".")
        if isinstance(result.setdefault(section, {}), dict):
            result[section].setdefault(name, value)
    return result


def _moved_override(key: str, value: Any, cls: type) -> tuple[str, Any]:
    """Dotted key and value of an override, put where they belong today."""
    *sections, name = key.split(".")
    for section in sections:
        if section not in (inner := _sections(cls)):
            return key, value
        cls = inner[section]
    if isinstance(value, Mapping):
        return key, moved(value, _sections(cls)[name]) if name in _sections(cls) else value
    return ".".join([*sections, getattr(cls, "moved", {}).get(name, name)]), value


def _sections(cls: type) -> dict[str, type]:
    """Field -> class of the sections nested in a configuration class."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if dataclasses.is_dataclass(hints[f.name])}  # type: ignore[arg-type,misc]


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
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(overrides, str) or not isinstance(overrides, Sequence):
        raise ConfigError(f"The overrides {shown(overrides)} are no list of key=value texts.")
    for text in overrides:
        if not isinstance(text, str) or "=" not in text:
            raise ConfigError(
                f"The override {shown(text)} is not of the form key=value, for example tracking.window_influence=0.2."
            )
    if not isinstance(values, Mapping):
        raise ConfigError(f"In {where}: {shown(values)} stands where keys and values are expected.")
    known, old = _known_keys(type(base)), _old_keys(type(base))
    with reading(lambda reason: ConfigError(f"In {where}: {reason}")):
        given = OmegaConf.create(moved(renamed(dict(values)), type(base)))
        for text in overrides:
            _override(given, text, type(base), where)
        plain = OmegaConf.to_container(given, resolve=True)
        for key in _flatten(plain):
            _check_key(key, known, old, where)
        schema = OmegaConf.structured(base)
        _check_sections(type(base), plain, overrides, where)
        try:
            result = OmegaConf.to_object(OmegaConf.merge(schema, given))
        except OmegaConfBaseException as error:
            key = error.full_key or ""
            if _kind(type(base), key) is None:  # a tuple is told without its key
                key = next(
                    (k for k in _flatten(plain) if _misfit(_kind(type(base), k), OmegaConf.select(given, k))), ""
                )
            kind = _kind(type(base), key)
            if kind is None:
                raise
            raise ConfigError(
                _wrong(key, OmegaConf.select(given, key), kind, overrides, where, _select(base, key))
            ) from None
    return typing.cast(T, result)


def _check_sections(cls: type, values: Any, overrides: Sequence[str], where: str, prefix: str = "") -> None:
    """A section holds keys and values, and nothing else."""
    hints = typing.get_type_hints(cls)
    for key, value in values.items():
        kind = hints.get(key)
        if not dataclasses.is_dataclass(kind):
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(_wrong(prefix + key, value, kind, overrides, where, None))
        _check_sections(typing.cast(type, kind), value, overrides, where, f"{prefix}{key}.")


def _wrong(key: str, value: Any, kind: Any, overrides: Sequence[str], where: str, usual: Any) -> str:
    """The sentence on a value of a wrong type: the key, the value, what it must be, an example."""
    said = [text for text in overrides if text.split("=", 1)[0].rstrip() in (key, key.split("[")[0])]
    place = f"The override {shown(said[-1])}" if said else f"In {where}: {key} is {shown(value)}"
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


def _misfit(kind: Any, value: Any) -> bool:
    """Whether a list holds something that its type doesn't."""
    if typing.get_origin(kind) not in (list, tuple) or not isinstance(value, Sequence) or isinstance(value, str):
        return False
    inner = typing.get_args(kind)[0]
    fits = {float: (int, float), int: (int,), bool: (bool,), str: (str,)}.get(inner, (object,))
    return not all(isinstance(item, fits) for item in value)


def _plain(value: Any) -> str:
    """A value as it is written in yaml."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value)


def _words(kind: Any) -> str:
    """A type in words."""
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


def _kind(cls: Any, key: str) -> Any:
    """The type that stands at a dotted key of a dataclass, or None; of an item where a place in a list is named."""
    for part in key.replace("[", ".[").split("."):
        if part.startswith("["):
            args = [k for k in typing.get_args(cls) if k is not type(None)]
            if typing.get_origin(cls) not in (list, tuple):  # a list that may be left out
                args = [a for k in args for a in typing.get_args(k)]
            cls = args[0] if args else None
        elif dataclasses.is_dataclass(cls):
            cls = typing.get_type_hints(cls).get(part)
        else:
            return None
    return cls


def _select(base: Any, key: str) -> Any:
    """The value at a dotted key, or None."""
    for part in key.split("."):
        base = getattr(base, part, None)
    return base


def _override(values: Any, text: str, cls: type, where: str) -> None:
    """Sets what `key=value` says in an OmegaConf container; a number in the key is a place in a list."""
    from omegaconf import OmegaConf

    key, value = text.split("=", 1)
    key = ".".join(RENAMED_KEYS.get(part, part) for part in key.split("."))
    with reading(
        lambda reason: ConfigError(
            f"In {where}: the value of the override {shown(text)} is not readable yaml: {reason}"
        )
    ):
        check_yaml(value)
        parsed = OmegaConf.from_dotlist([f"value={value}"]).value
        parsed = renamed(OmegaConf.to_container(parsed)) if OmegaConf.is_config(parsed) else parsed
    reason = f"In {where}: the override {shown(text)} names no place of a list or section that is there"
    with reading(lambda why: ConfigError(f"{reason} ({why}); places in a list count from 0.")):
        OmegaConf.update(values, *_moved_override(key, parsed, cls), merge=True)


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


def _old_keys(cls: type, prefix: str = "") -> dict[str, str]:
    """Dotted names of earlier versions -> dotted names of today."""
    keys = {prefix + old: prefix + new for old, new in getattr(cls, "moved", {}).items()}
    for name, kind in _sections(cls).items():
        keys |= _old_keys(kind, f"{prefix}{name}.")
    return keys


def _flatten(values: Any, prefix: str = "") -> list[str]:
    if not isinstance(values, dict):
        return []
    keys = []
    for name, value in values.items():
        keys.append(f"{prefix}{name}")
        keys.extend(_flatten(value, f"{prefix}{name}."))
    return keys


def _check_key(key: str, known: Mapping[str, bool], old: Mapping[str, str], where: str) -> None:
    parts = key.split(".")
    if key in known or any(known.get(".".join(parts[:n]), False) for n in range(1, len(parts))):
        return
    near = difflib.get_close_matches(key, {**known, **old}, n=1, cutoff=0.5)
    near = near or [k for k in known if k.split(".")[-1] == parts[-1]]
    hint = f"Did you mean {old.get(near[0], near[0])!r}?" if near else f"Known keys: {', '.join(sorted(known))}."
    raise ConfigError(f"In {where}: the key {key!r} is unknown. {hint}")
