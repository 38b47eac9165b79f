"""Merges nested values and `key=value` overrides into frozen dataclasses. OmegaConf checks the types; its errors become
sentences."""

from __future__ import annotations

import dataclasses
import logging
import re
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from tracker.config_words import check_sections, kind_at, misfit, wrong_kind
from tracker.errors import ConfigError, reading, shown
from tracker.files import nearest_word
from tracker.yaml_files import check_yaml

T = TypeVar("T")

logger = logging.getLogger(__name__)

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
    """Replaces keys and values of earlier versions by today's names in nested mappings and lists; if both are present,
    today's wins."""
    if isinstance(value, list | tuple):
        return [renamed(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    old = {RENAMED_KEYS[k]: v for k, v in value.items() if k in RENAMED_KEYS}
    new = {k: v for k, v in value.items() if k not in RENAMED_KEYS}
    named = {k: RENAMED_VALUES.get((k, v), v) if isinstance(v, str) else v for k, v in {**old, **new}.items()}
    return {k: renamed(v) for k, v in named.items()}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Expands dotted keys: {"a.b": 1} -> {"a": {"b": 1}}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return result


def moved(values: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """Moves values given under the name of an earlier version (`Checked.moved`) to their section of today; if both are
    present, today's wins."""
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
    """The dotted key and value of an override, under today's name."""
    *sections, name = key.split(".")
    for section in sections:
        if section not in (inner := _sections(cls)):
            return key, value
        cls = inner[section]
    if isinstance(value, Mapping):
        return key, moved(value, _sections(cls)[name]) if name in _sections(cls) else value
    return ".".join([*sections, getattr(cls, "moved", {}).get(name, name)]), value


def _sections(cls: type) -> dict[str, type]:
    """Maps the fields of a configuration class that are nested sections to their classes."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if dataclasses.is_dataclass(hints[f.name])}  # type: ignore[arg-type,misc]


def merge(base: T, values: Mapping[str, Any], overrides: Sequence[str] = (), where: str = "the configuration") -> T:
    """A copy of a dataclass instance with some fields replaced, types checked.

    Args:
        base: A frozen dataclass instance, nested ones included.
        values: Nested mapping of new values.
        overrides: Dotted `key=value` strings; they take precedence over `values`. A number in the key is a list index:
            `train.losses.0.weight=0.5`.
        where: Name of the origin, for error messages.

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
        said = {_override(given, text, type(base), where): text for text in overrides}
        _drop_removed(given, type(base), where)
        plain = OmegaConf.to_container(given, resolve=True)
        for key in _flatten(plain):
            _check_key(key, known, old, where)
        check_sections(type(base), plain, said, where)
        try:
            schema = OmegaConf.structured(base)
            _unlock(schema)
            return typing.cast(T, OmegaConf.to_object(OmegaConf.merge(schema, given)))
        except ConfigError as error:
            raise ConfigError(f"In {where}: {error}") from None
        except OmegaConfBaseException as error:
            key = error.full_key or ""
            if kind_at(type(base), key) is None:  # OmegaConf's message about a tuple does not contain its key
                misfits = (k for k in _flatten(plain) if misfit(kind_at(type(base), k), OmegaConf.select(given, k)))
                key = next(misfits, "")
            kind = kind_at(type(base), key)
            if kind is None:
                raise
            usual: Any = base
            for part in key.split("."):
                usual = getattr(usual, part, None)
            raise ConfigError(wrong_kind(key, OmegaConf.select(given, key), kind, said, where, usual)) from None


def _drop_removed(given: Any, cls: type, where: str, prefix: str = "") -> None:
    """Drops the settings of earlier versions that are gone (`Checked.removed`), from an OmegaConf container; one that
    was not 0, its default, is reported."""
    from omegaconf import OmegaConf

    for key in getattr(cls, "removed", ()):
        *sections, name = f"{prefix}{key}".split(".")
        holder = given
        for section in sections:
            holder = holder.get(section) if OmegaConf.is_dict(holder) else None
        if OmegaConf.is_dict(holder) and name in holder and (value := holder.pop(name)) != 0:
            _report_removed(where, f"{prefix}{key}", shown(value))
    for name, kind in _sections(cls).items():
        _drop_removed(given, kind, where, f"{prefix}{name}.")


@cache
def _report_removed(where: str, name: str, value: str) -> None:
    """Logs once what has no effect: options are checked before they are used, so they are merged more than once."""
    logger.warning("In %s: %s=%s has no effect; the setting is gone.", where, name, value)


def _unlock(node: Any) -> None:
    """Makes nested frozen dataclasses writable for the merge: OmegaConf 2.3 treats them as read-only, 2.4 does not."""
    from omegaconf import OmegaConf

    OmegaConf.set_readonly(node, False)
    for key in node if OmegaConf.is_dict(node) else ():
        child = node.get(key)
        if OmegaConf.is_dict(child):
            _unlock(child)


def _override(values: Any, text: str, cls: type, where: str) -> str:
    """Applies one `key=value` to an OmegaConf container and returns the key; a number in the key is a list index."""
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
        key, parsed = _moved_override(key, parsed, cls)
        OmegaConf.update(values, key, parsed, merge=True)
    return key.rstrip()


def to_dict(config: Any) -> dict[str, Any]:
    """Converts a configuration to nested plain dicts (for checkpoints and logs)."""
    return dataclasses.asdict(config)


def _known_keys(cls: type, prefix: str = "") -> dict[str, bool]:
    """Dotted keys of a dataclass -> whether arbitrary keys may follow below it (a free-form dict). An item of a list of
    dataclasses is `key[]`."""
    keys: dict[str, bool] = {}
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        kind = hints[item.name]
        if dataclasses.is_dataclass(kind):
            keys[prefix + item.name] = False
            keys.update(_known_keys(typing.cast(type, kind), f"{prefix}{item.name}."))
        elif typing.get_origin(kind) is list and dataclasses.is_dataclass(inner := typing.get_args(kind)[0]):
            keys[prefix + item.name] = False
            keys.update(_known_keys(typing.cast(type, inner), f"{prefix}{item.name}[]."))
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
    """Dotted keys of nested mappings; those in an item of a list begin with `key[index].`."""
    if not isinstance(values, dict):
        return []
    keys = []
    for name, value in values.items():
        keys.append(f"{prefix}{name}")
        keys.extend(_flatten(value, f"{prefix}{name}."))
        for k, item in enumerate(value if isinstance(value, list) else ()):
            keys.extend(_flatten(item, f"{prefix}{name}[{k}]."))
    return keys


def _check_key(key: str, known: Mapping[str, bool], old: Mapping[str, str], where: str) -> None:
    parts = re.sub(r"\[\d+\]", "[]", key).split(".")
    if ".".join(parts) in known or any(known.get(".".join(parts[:n]), False) for n in range(1, len(parts))):
        return
    start = key[: key.rfind("]") + 1] + "." if "]" in key else ""
    inner = re.sub(r"\[\d+\]", "[]", start)
    if start and any(k.startswith(inner) for k in known):
        known, old = {k.removeprefix(inner): free for k, free in known.items() if k.startswith(inner)}, {}
    elif inner[:-3] in known:  # no sections belong into this list; its type is checked elsewhere
        return
    else:
        known, start = {k: free for k, free in known.items() if "[]" not in k}, ""
    same = (k for k in known if k.split(".")[-1] == parts[-1])
    near = nearest_word(key.removeprefix(start), {**known, **old}, 0.5) or next(same, "")
    hint = f"Did you mean {start + old.get(near, near)!r}?" if near else f"Known keys: {', '.join(sorted(known))}."
    raise ConfigError(f"In {where}: the key {key!r} is unknown. {hint}")
