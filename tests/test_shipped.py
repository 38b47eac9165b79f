"""Recipes are found by name, wherever the package lies."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tracker.config import load_config
from tracker.errors import ConfigError
from tracker.yaml_files import find_recipe, recipe_names

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", recipe_names())
def test_each_is_found_by_name_outside_the_clone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for written in (name, f"{name}.yaml", f"configs/{name}.yaml"):
        assert find_recipe(written).read_bytes() == (ROOT / "configs" / f"{name}.yaml").read_bytes()
    assert load_config(name).name


def test_a_file_here_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "siamtrack-s").write_text("name: mine\n")
    assert load_config("siamtrack-s").name == "mine"


@pytest.mark.parametrize("wrong", ["siamtrack-x", "siamtrack_s", "Siamtrack-s"])
def test_a_mistyped_name_is_guessed(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'siamtrack-[sn]'"):
        load_config(wrong)


@pytest.mark.parametrize("wrong", ["other/siamtrack-s.yaml", "nothing.yaml", ".", "configs"])
def test_paths_are_not_guessed(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(wrong)


@pytest.mark.parametrize("command", ["train", "prepare", "ablate"])
def test_commands_guess_too(command: str, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tracker.cli", command, "--config", "siamtrack-x"]
    done = subprocess.run(
        line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and "Did you mean" in done.stderr and "Traceback" not in done.stderr


def test_texts_name_commands_that_a_wheel_has() -> None:
    of_a_clone = re.compile(r"\b[a-z]+\.py --|tools/\w+\.py|configs/[a-z-]+\.yaml")
    wrong = []
    for path in (ROOT / "tracker").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in docstrings]
        wrong += [f"{path}:{node.lineno}" for node in texts if of_a_clone.search(str(node.value))]
    assert not wrong, wrong


@pytest.mark.slow
def test_the_wheel_has_them(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    if done.returncode and ("No module named pip" in done.stderr or "setuptools" in done.stderr):
        pytest.skip("pip or setuptools can't be had here")
    assert done.returncode == 0, done.stderr[-1000:]
    inside = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {f"tracker/recipes/{name}.yaml" for name in recipe_names()} <= set(inside) and "tracker/py.typed" in inside
