"""Reading yaml files, and finding the recipes that ship with the package by name. Alias bombs and keys that are not
strings are refused."""

from __future__ import annotations

import io
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracker.errors import ConfigError, reading
from tracker.files import as_path, read_text, suggest


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a yaml file, or in the shipped recipe of that name.

    Raises:
        ConfigError: The file is missing, isn't yaml, or isn't a mapping.
    """
    from omegaconf import OmegaConf

    file = find_recipe(as_path(path, ConfigError, "configuration"))
    with reading(lambda reason: ConfigError(f"The configuration {file} is not readable yaml: {reason}")):
        text = read_text(file)
        check_yaml(text)
        loaded = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=True)
    if not isinstance(loaded, dict):
        raise ConfigError(f"The configuration {file} holds a {type(loaded).__name__}; it must hold keys and values.")
    for key in _odd_keys(loaded):
        hint = (
            "; yaml reads on, off, yes and no as true and false, quotes keep them words"
            if isinstance(key, bool)
            else ""
        )
        raise ConfigError(f"In {file}: the key {key!r} is not a word{hint}.")
    return typing.cast("dict[str, Any]", loaded)


MOST_NODES = 100_000
"""Values that a yaml file may hold once its aliases are written out: nine lines of nested aliases can make a
billion."""


def check_yaml(text: str) -> None:
    """Raises where a yaml text would be endless or absurdly large once its aliases are expanded, without expanding
    them.

    Raises:
        ValueError: It is.
    """
    import yaml

    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        key = id(node)
        if key in open_nodes:
            raise ValueError("an alias (*name) stands inside of what it names")
        if key not in sizes:
            open_nodes.add(key)
            parts = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
            sizes[key] = 1 + (sum(map(size, parts)) if isinstance(node, yaml.CollectionNode) else 0)
            open_nodes.discard(key)
        if sizes[key] > MOST_NODES:
            raise ValueError(f"it holds more than {MOST_NODES} values once its aliases are written out")
        return sizes[key]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None:
        size(root)


def _odd_keys(value: object) -> Iterator[object]:
    """The keys that are not strings, at any depth."""
    if isinstance(value, dict):
        yield from (key for key in value if not isinstance(key, str))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _odd_keys(item)


PACKAGE = Path(__file__).resolve().parent
SUFFIXES = (".yaml", ".yml")


def recipe_folder() -> Path:
    """The folder of the recipes: beside this file in an installed package, configs/ in a clone."""
    inside = PACKAGE / "recipes"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def recipe_names() -> list[str]:
    """The names of the shipped recipes, such as siamtrack-s; recipes of matchers (match-*) are listed by
    `tracker.matching`."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml") if not path.stem.startswith("match-"))


def find_recipe(wanted: str | Path) -> Path:
    """The file of a recipe: an existing path, or the name of a shipped recipe.

    Args:
        wanted: As given by --config. A file of that name comes first; configs/NAME.yaml is understood outside of a
            clone too.

    Raises:
        ConfigError: Neither.
    """
    path = Path(wanted)
    if path.is_file():
        return path
    shipped = recipe_folder() / f"{path.stem if path.suffix in SUFFIXES else path.name}.yaml"
    if path.parent in (Path("."), Path("configs")) and path.name and shipped.is_file():
        return shipped
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise ConfigError(
            f"The configuration {path} does not exist: {what}; the shipped ones are called {', '.join(recipe_names())}."
        )
    hint = suggest(str(wanted), recipe_names())
    raise ConfigError(
        f"The configuration {str(wanted)!r} does not exist.{hint} Name a file, or one of {', '.join(recipe_names())}."
    )
