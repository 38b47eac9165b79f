"""What docstrings and documentation name exists: modules, their members, files and tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*sorted((ROOT / "tracker").rglob("*.py")), *sorted((ROOT / "examples").rglob("*.py"))]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOTTED = re.compile(r"`(tracker(?:\.\w+)+)")
FILES = re.compile(r"`?\b((?:tracker|tests|docs|configs|tools|examples)/[\w/.-]+\.(?:py|md|yaml|ipynb|json))\b")
ROOM_FILES = re.compile(r"`((?:\w+/)+\w+\.py)`")
MADE_UP = {"configs/NAME.yaml", "tracker.cli.NAME", "tools/hp_search.py"}  # placeholders, and a file of pysot


@cache
def members(path: Path) -> set[str]:
    """The names that a module defines or imports, and those of its classes as CLASS.NAME."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                targets = inner.targets if isinstance(inner, ast.Assign) else [getattr(inner, "target", inner)]
                found |= {f"{node.name}.{name}" for t in targets if (name := getattr(t, "id", getattr(t, "name", "")))}
        found |= {str(getattr(node, key)) for key in ("name", "id") if isinstance(getattr(node, key, None), str)}
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(a.asname or a.name).split(".")[-1] for a in node.names}
    return found


def exists(dotted: str) -> bool:
    """Whether `tracker.a.b.Name` or `tracker.a.b.Name.member` is there."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:n])
        module = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
        if module.is_file():
            rest = parts[n:]
            if not rest or parts[:n] == ["tracker"]:  # the public names come from other modules
                return not rest or rest[0] in module.read_text(encoding="utf-8")
            return rest[0] in members(module) and (len(rest) == 1 or ".".join(rest[:2]) in members(module))
    return False


def texts() -> list[tuple[str, str]]:
    """(file, its prose): docstrings and comments of modules, whole pages of the documentation."""
    return [(p.relative_to(ROOT).as_posix(), p.read_text(encoding="utf-8")) for p in (*SOURCES, *PAGES)]


def test_dotted_names_exist() -> None:
    wrong = [
        f"{file}: {name}"
        for file, text in texts()
        for name in DOTTED.findall(text)
        if name not in MADE_UP and not exists(name)
    ]
    assert not wrong, "\n".join(wrong)


def test_files_exist() -> None:
    wrong = [
        f"{file}: {name}"
        for file, text in texts()
        for name in FILES.findall(text)
        if name not in MADE_UP and not (ROOT / name).exists()
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", ["architecture.md", "lost.md"])
def test_files_of_rooms_exist(page: str) -> None:
    named = ROOM_FILES.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert named
    missing = [name for name in named if not any((ROOT / base / name).is_file() for base in ("", "tracker"))]
    assert not missing


@pytest.mark.parametrize("page", ["find_again", "follow", "several_targets"])
def test_how_tos_include_their_program(page: str) -> None:
    """A formatter of Python in Markdown once made an expression of the mark that includes the file."""
    assert f'\n--8<-- "examples/{page}.py"\n' in (ROOT / "docs" / "howto" / f"{page}.md").read_text(encoding="utf-8")
    assert (ROOT / "examples" / f"{page}.py").is_file()
