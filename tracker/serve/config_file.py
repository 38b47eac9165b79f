"""Reads `streams.yaml`, and the streams and targets that a request adds, and checks them key by key."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tracker.config_merge import merge
from tracker.errors import ConfigError
from tracker.files import is_file
from tracker.media.sinks.open import check_video_name
from tracker.serve.config import DetectionsConfig, MqttConfig, ServeConfig, StreamConfig, TargetConfig
from tracker.yaml_files import read_yaml

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


def load_serve_config(path: str | Path) -> ServeConfig:
    """The configuration in a yaml file.

    Raises:
        ConfigError: Missing or malformed file, unknown key (with the nearest known one), value of a wrong type or out
            of bounds.
    """
    if not is_file(path):
        raise ConfigError(
            f"The file {path} does not exist; name a file that lists streams, docs/serve.md has one to start from."
        )
    values = read_yaml(path)
    streams = values.pop("streams", None) or {}
    if not isinstance(streams, dict):
        raise ConfigError(
            f"In {path}: `streams` must hold a name and what it is for each stream, not a {type(streams).__name__}."
        )
    results = values.get("results")
    mqtt = _part(results, "mqtt", MqttConfig(), f"results of {path}") if isinstance(results, dict) else None
    config = merge(ServeConfig(), values, where=str(path))
    config = replace(config, results=replace(config.results, mqtt=mqtt))
    return replace(
        config, streams={str(name): parse_stream(str(name), one, str(path)) for name, one in streams.items()}
    )


def _part(values: dict[str, Any], key: str, base: T, where: str) -> T | None:
    """Removes an optional section from the values: `base` with its changes, or None if the section is absent."""
    part = values.pop(key, None)
    if part is None or part is False:
        return None
    if not isinstance(part, dict):
        raise ConfigError(f"In {where}: `{key}` must hold keys and values, not {part!r}.")
    return merge(base, part, where=f"{key} of {where}")


def parse_stream(name: str, values: Any, where: str) -> StreamConfig:
    """Parses one stream, from a mapping or from its source alone.

    Args:
        name: Name of the stream.
        values: Its value in the file.
        where: Name of the origin, for error messages.

    Raises:
        ConfigError: As `load_serve_config`.
    """
    where = f"stream {name!r} of {where}"
    _check_name(name, where)
    if isinstance(values, (str, int)) and not isinstance(values, bool):
        values = {"source": values}
    if not isinstance(values, dict):
        raise ConfigError(f"In {where}: it needs at least `source: FILE or URL`.")
    values = dict(values)
    if isinstance(values.get("live"), bool):  # yaml reads yes and no as true and false
        values["live"] = "yes" if values["live"] else "no"
    if isinstance(values.get("source"), int) and not isinstance(values["source"], bool):
        values["source"] = str(values["source"])
    targets = values.pop("targets", None) or {}
    if isinstance(targets, list):
        targets = {str(k): one for k, one in enumerate(targets)}
    if not isinstance(targets, dict):
        raise ConfigError(f"In {where}: `targets` must hold a name and a box for each target.")
    detections = _part(values, "detections", DetectionsConfig(), where)
    config = merge(StreamConfig(), values, where=where)
    config = replace(
        config, detections=detections, targets={str(k): parse_target(str(k), one, where) for k, one in targets.items()}
    )
    if not config.source:
        raise ConfigError(f"In {where}: it needs `source: FILE or URL`.")
    found = config.detections
    if found is not None:
        if (found.file is None) == (found.url is None):
            raise ConfigError(f"In {where}: `detections` needs either `file` or `url`.")
        if found.url is not None and not re.match(r"https?://", found.url):
            raise ConfigError(f"In {where}: detections.url is {found.url!r}; it must begin with http:// or https://.")
    if config.record.boxes and Path(config.record.boxes).suffix.lower() not in (".csv", ".jsonl"):
        raise ConfigError(f"In {where}: record.boxes is {config.record.boxes!r}; its name must end in .csv or .jsonl.")
    if config.record.video:
        check_video_name(config.record.video)
    return config


def parse_target(name: str, values: Any, where: str) -> TargetConfig:
    """Parses one target, from a mapping or from its box alone.

    Raises:
        ConfigError: As `load_serve_config`.
    """
    where = f"target {name!r} of {where}"
    _check_name(name, where)
    if isinstance(values, list):
        values = {"box": values}
    ways = "`box: [x, y, w, h]`, `known: FILE.npz` or `gallery: FILE.npz`"
    if not isinstance(values, dict):
        raise ConfigError(f"In {where}: it needs {ways}.")
    config = merge(TargetConfig(), values, where=where)
    if sum(way is not None for way in (config.box, config.known, config.gallery)) != 1:
        raise ConfigError(f"In {where}: it needs one of {ways}.")
    if config.gallery is None and (config.thing is not None or config.threshold is not None):
        raise ConfigError(f"In {where}: `thing` and `threshold` belong to a target with `gallery`.")
    if config.box is not None and (len(config.box) != 4 or min(config.box[2:]) <= 0):
        raise ConfigError(f"In {where}: the box {list(config.box)} is not x, y, w, h in pixels with w and h above 0.")
    return config


def _check_name(name: str, where: str) -> None:
    if not NAME.match(name):
        raise ConfigError(
            f"In {where}: a name has up to 64 letters, digits, dots, dashes and underscores, and begins with the "
            "first two."
        )
