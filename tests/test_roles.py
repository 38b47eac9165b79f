"""One word, one thing; one module, one role."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tracker"


@cache
def trees() -> dict[str, ast.Module]:
    """Path within the package -> the module's syntax tree."""
    return {p.relative_to(PACKAGE).as_posix(): ast.parse(p.read_text(encoding="utf-8")) for p in PACKAGE.rglob("*.py")}


def test_no_class_name_is_defined_twice() -> None:
    """Nested and private classes included: a reader who searches for a class finds one."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(path)
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}
