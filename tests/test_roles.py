"""One word, one thing; one module, one role; nothing that only a test uses.

A role is measured by what a module touches: the command line, a window, a video file, the optimizer, ... Each belongs
to some rooms; a module elsewhere that touches it does a second job, unless `ROLES` says why that is its job.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.test_imports import edges

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tracker"
OUTSIDE = (
    *sorted((ROOT / "tools").glob("*.py")),
    *sorted((ROOT / "examples").rglob("*.py")),
    *sorted((ROOT / "examples").rglob("*.ipynb")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
    ROOT / "setup.py",
)
"""Where else the package is used: what neither it nor these name is not used."""


@dataclass(frozen=True)
class Role:
    """What a module of the role touches.

    Attributes:
        names: Modules that it imports, names and attributes of modules that it uses.
        rooms: Folders and files of the package that have the role.
        others: Further modules, and why.
    """

    names: frozenset[str]
    rooms: tuple[str, ...]
    others: Mapping[str, str] = field(default_factory=dict)


ROLES = {
    "reads a command line, prints, ends the process": Role(
        frozenset({"argparse", "print()", "input()", "SystemExit", "sys.argv", "sys.exit", "sys.stdout", "sys.stderr"}),
        ("cli/",),
        {
            "serve/process.py": "the entry of a worker process, which gets a file descriptor",
            "serve/listeners.py": "standard output is one of the places for results",
        },
    ),
    "shows a window": Role(
        frozenset({"cv2.imshow", "cv2.waitKey", "cv2.namedWindow", "cv2.selectROI"}), ("media/window.py",)
    ),
    "opens a video or camera": Role(
        frozenset({"av.open", "cv2.VideoCapture", "cv2.VideoWriter"}),
        ("media/",),
        {
            "serve/live.py": "the decoder of a live stream, which runs in a thread of `serve`",
            "serve/synthetic.py": "sends packets that were encoded before",
            "cli/doctor.py": "tries whether it works",
            "cli/health.py": "tries whether it works",
        },
    ),
    "reads and writes images": Role(
        frozenset({"cv2.imread", "cv2.imdecode", "cv2.imwrite", "cv2.imencode", "PIL"}),
        ("media/",),
        {
            "training/data/augment.py": "the artefacts of JPEG as an augmentation",
            "datasets/clips.py": "the frames of a video, decoded once, as PNG that is written quickly",
        },
    ),
    "replaces files": Role(
        frozenset({"os.replace", "os.rename"}),
        ("files.py",),
        {"cli/batch.py": "takes over the finished file of another process"},
    ),
    "trains a network": Role(frozenset({"torch.optim", ".backward"}), ("training/",)),
    "serves pages": Role(
        frozenset({"aiohttp", "http.server"}),
        ("web/",),
        {"annotate/site.py": "the page of `annotate`", "serve/control.py": "the page of `serve`"},
    ),
    "reads recipes": Role(
        frozenset({"yaml"}), ("yaml_files.py",), {"annotate/formats/yolo.py": "a data set's own format"}
    ),
}
ARRAYS_IN_COMMANDS = {
    "cv2.setNumThreads": "a process-wide setting, which only a command may change",
    "torch.set_num_threads": "a process-wide setting, which only a command may change",
    "np.__version__": "is printed",
}
"""What commands may use of the packages that compute; `doctor` and its checks try these packages themselves."""
BY_NAME = {
    "_on_": "events of the annotation page, called by the event's name",
    "_do_": "entries of a project file, called by the entry's name",
    "_repr_": "called by notebooks",
}
OVERRIDES = {
    "_get_help_string": "of argparse",
    "_print_message": "of argparse",
    "plot_curves": "of the got10k package's experiments",
}
"""Methods that another package calls."""


@cache
def trees() -> dict[str, ast.Module]:
    """Path within the package -> the module's syntax tree."""
    return {p.relative_to(PACKAGE).as_posix(): ast.parse(p.read_text(encoding="utf-8")) for p in PACKAGE.rglob("*.py")}


@cache
def touched(path: str) -> frozenset[str]:
    """What a module imports, calls and names: `yaml`, `print()`, `sys.argv`, `.backward`."""
    names: set[str] = set()
    for node in ast.walk(trees()[path]):
        if isinstance(node, ast.Attribute):
            names |= {f".{node.attr}", ast.unparse(node) if isinstance(node.value, ast.Name) else node.attr}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names.add(f"{node.func.id}()")
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            names |= {".".join(m.split(".")[:n]) for m in modules for n in range(1, m.count(".") + 2)}
    return frozenset(names)


def test_no_class_name_is_defined_twice() -> None:
    """Nested and private classes included: a reader who searches for a class finds one."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(path)
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}


@pytest.mark.parametrize("name", ROLES)
def test_a_role_stays_in_its_rooms(name: str) -> None:
    role = ROLES[name]
    players = {path: found for path in trees() if (found := touched(path) & role.names)}
    assert not {p: sorted(f) for p, f in players.items() if not p.startswith(role.rooms) and p not in role.others}
    assert set(role.others) <= set(players), "an exception that is not needed"


def test_commands_compute_nothing() -> None:
    """A command parses, calls the library and reports."""
    wrong = {}
    for path in trees():
        if path.startswith("cli/") and path not in ("cli/doctor.py", "cli/health.py"):
            used = {n for n in touched(path) if re.match(r"(np|numpy|cv2|torch|av|scipy)\.", n)} - {"torch.nn"}
            wrong[path] = sorted(used - set(ARRAYS_IN_COMMANDS))
    assert not {path: names for path, names in wrong.items() if names}


def test_who_defines_a_network_does_not_train_it() -> None:
    both = []
    for path, tree in trees().items():
        bases = {ast.unparse(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases}
        if bases & {"nn.Module", "Module", "torch.nn.Module"} and touched(path) & ROLES["trains a network"].names:
            both.append(path)
    assert not both


def test_each_module_is_used() -> None:
    """Imported by another one, run as a command, or named where users read."""
    imported = set().union(*edges().values())
    texts = "\n".join(p.read_text(encoding="utf-8") for p in OUTSIDE)
    commands = "".join((PACKAGE / "cli" / f"{file}.py").read_text(encoding="utf-8") for file in ("__main__", "match"))
    unused = []
    for path, tree in trees().items():
        name = ".".join(("tracker", *Path(path).with_suffix("").parts))
        runs = 'if __name__ == "__main__"' in ast.unparse(tree).replace("'", '"')
        command = path.startswith("cli/") and re.search(rf'"{Path(path).stem}"[:,]', commands)
        if not (path.endswith("__init__.py") or name in imported or runs or command or name in texts):
            unused.append(path)
    assert not unused


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))


def test_nothing_is_there_for_tests_alone() -> None:
    """Each function, class and method occurs somewhere besides where it is defined: in the package, a tool, an example
    or the documentation. What registers itself by a decorator is used by its name in a recipe; `interop` is for
    programs of users."""
    used = Counter[str]()
    defined = Counter[str]()
    homes: dict[str, str] = {}
    for path, tree in trees().items():
        used += words((PACKAGE / path).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                defined[node.name] += 1
                registered = any(isinstance(d, ast.Call) for d in node.decorator_list)
                if not (
                    path.startswith("interop/")
                    or registered
                    or node.name.startswith(("__", *BY_NAME))
                    or node.name in OVERRIDES
                ):
                    homes[node.name] = path
    for file in OUTSIDE:
        used += words(file.read_text(encoding="utf-8"))
    assert not {name: path for name, path in homes.items() if used[name] <= defined[name]}


def test_no_function_is_written_twice() -> None:
    """Bodies of more than a few expressions that are equal, whatever their variables are called."""
    bodies: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if sum(1 for statement in body for _ in ast.walk(statement)) > 25:
                    bodies[plain(ast.unparse(ast.Module(body, [])), node)].append(f"{path}:{node.name}")
    assert not [names for names in bodies.values() if len(names) > 1]


def plain(body: str, function: ast.FunctionDef) -> str:
    """A body with its own variables numbered in the order of their appearance."""
    own = {a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)}
    own |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    order: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        word = match[0]
        return order.setdefault(word, f"v{len(order)}") if word in own else word

    return re.sub(r"(?<![.\w])[A-Za-z_]\w*", number, body)
