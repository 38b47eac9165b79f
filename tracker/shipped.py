"""The recipes that ship with the package, by name: those of configs/ in the clone."""

from __future__ import annotations

from pathlib import Path

from tracker.errors import ConfigError
from tracker.files import suggest

PACKAGE = Path(__file__).resolve().parent
SUFFIXES = (".yaml", ".yml")


def folder() -> Path:
    """Where they lie: in an installed package beside this file, in a clone in configs/."""
    inside = PACKAGE / "recipes"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def names() -> list[str]:
    """Their names, such as siamtrack-s; recipes of matchers (match-*) are of another kind (`tracker.matching`)."""
    return sorted(path.stem for path in folder().glob("*.yaml") if not path.stem.startswith("match-"))


def find(wanted: str | Path) -> Path:
    """The file that is meant: a path that exists, or the name of a shipped recipe.

    Args:
        wanted: As given by --config. A file of that name comes first; configs/NAME.yaml is understood outside of a
            clone too.

    Raises:
        ConfigError: Neither.
    """
    path = Path(wanted)
    if path.is_file():
        return path
    shipped = folder() / f"{path.stem if path.suffix in SUFFIXES else path.name}.yaml"
    if path.parent in (Path("."), Path("configs")) and path.name and shipped.is_file():
        return shipped
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise ConfigError(
            f"The configuration {path} does not exist: {what}; the shipped ones are called {', '.join(names())}."
        )
    hint = suggest(str(wanted), names())
    raise ConfigError(
        f"The configuration {str(wanted)!r} does not exist.{hint} Name a file, or one of {', '.join(names())}."
    )
