"""Which module imports which, lazy imports included: rooms import rooms below them, and no modules import each other.

And how long modules are.
"""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "tracker"
RANK = {
    name: rank
    for rank, names in enumerate(
        (
            ("errors", "types", "_version"),
            ("files",),
            ("settings",),
            ("geometry", "crops", "shipped", "model_config", "tracking_sections"),
            ("yaml_files", "config_words"),
            ("config_merge",),
            ("config",),
            ("media",),
            ("datasets", "model"),
            ("metrics", "runtime"),
            ("tracking",),
            ("loop", "export"),
            ("interop",),
            ("evaluation", "measure"),
            ("training",),
            ("benchmark", "matching"),
            ("web",),
            ("annotate", "serve"),
            ("cli",),
        )
    )
    for name in names
}
"""A room imports rooms of a lower rank alone; the public door (tracker/__init__.py) names what it likes."""


def imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports that run at some time: those of functions too, those for type checkers not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for other in node.orelse:
                yield from imports(ast.Module([other], []))
        else:
            yield from imports(node)


@cache
def edges() -> dict[str, set[str]]:
    """Module -> modules of the package that it imports anywhere."""
    files = {
        ".".join(("tracker", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): p
        for p in PACKAGE.rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        targets: set[str] = set()
        for node in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                targets |= {w if (w := f"{node.module}.{a.name}") in files else node.module for a in node.names}
            else:
                targets |= {a.name for a in node.names}
        found[name] = {t for t in targets if t in files and t != name}
    return found


def test_arrows_point_down() -> None:
    wrong = []
    for name, targets in edges().items():
        for target in targets - {"tracker"} if name != "tracker" else ():
            a, b = name.split(".")[1], target.split(".")[1]
            if a != b and RANK[b] >= RANK[a]:
                wrong.append(f"{name} -> {target}")
    assert not wrong, wrong


def test_no_cycles() -> None:
    graph = edges()

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for other in graph[todo.pop()] - seen:
                seen.add(other)
                todo.append(other)
        return seen

    reach = {name: reached(name) for name in graph}
    cycles = {frozenset({a} | {b for b in reach[a] if a in reach[b]}) for a in graph if a in reach[a]}
    assert not cycles, [sorted(cycle) for cycle in cycles]


def test_modules_are_short() -> None:
    lines = {p.relative_to(PACKAGE): len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert not {str(path): count for path, count in lines.items() if count > 300}
    assert statistics.median(lines.values()) <= 150
