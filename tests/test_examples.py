"""The examples run as they stand: scripts as a user runs them, the notebook in a kernel."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
CLIP = str(ROOT / "demo" / "helicopter.mp4")
BOX = (ROOT / "demo" / "helicopter.txt").read_text().splitlines()[0]


def run(name: str, *options: str, folder: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), CLIP, *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_follow(tmp_path: Path) -> None:
    text = run("follow.py", "--box", BOX, "--frames", "12", folder=tmp_path)
    assert "12 frames tracking" in text
    with open(tmp_path / "boxes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(12))
    assert abs(float(rows[-1]["x"]) - float(BOX.split(",")[0])) < 20


def test_several_targets(tmp_path: Path) -> None:
    from tracker import open_source

    text = run("several_targets.py", "--box", BOX, "--box", "60,60,50,50", "--frames", "14", folder=tmp_path)
    assert "target 2 is followed from frame 10 on" in text and text.count("box [") == 3
    with open_source(tmp_path / "several.mp4") as source:
        assert sum(1 for _ in source) == 13


def test_find_again(tmp_path: Path) -> None:
    text = run("find_again.py", "--box", BOX, "--other", CLIP, "--learn", "12", "--frames", "60", folder=tmp_path)
    assert text.startswith("found in frame "), text


@pytest.mark.slow
def test_notebook(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(EXAMPLES / "response.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 2


def test_the_notebook_is_kept_without_outputs() -> None:
    text = (EXAMPLES / "response.ipynb").read_text(encoding="utf-8")
    assert '"outputs": []' in text and "image/png" not in text
