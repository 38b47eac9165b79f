"""The examples run as they stand: scripts as a user runs them, the notebook in a kernel."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
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


def test_teacher_sees_where_the_target_is(tmp_path: Path) -> None:
    """Networks of FEAR-XS's form whose score is the brightness: places and boxes come back in pixels of the search."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def save(name: str, nodes: list[object], inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> str:
        tensors = [[helper.make_tensor_value_info(n, kind, s) for n, s in part.items()] for part in (inputs, outputs)]
        graph, sets = helper.make_graph(nodes, name, *tensors), [helper.make_opsetid("", 13)]
        file = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), file)
        return str(file)

    first = save(
        "init",
        [helper.make_node("GlobalAveragePool", ["image"], ["features"])],
        {"image": [1, 3, 128, 128]},
        {"features": [1, 3, 1, 1]},
    )
    sides = helper.make_tensor("sides", kind, [1, 4, 16, 16], [8.0] * 1024)
    second = save(
        "track",
        [
            helper.make_node("AveragePool", ["image"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
            helper.make_node("Sub", ["pooled", "template_features"], ["less"]),
            helper.make_node("ReduceMean", ["less"], ["cls"], axes=[1], keepdims=1),
            helper.make_node("Constant", [], ["bbox"], value=sides),
        ],
        {"image": [1, 3, 256, 256], "template_features": [1, 3, 1, 1]},
        {"bbox": [1, 4, 16, 16], "cls": [1, 1, 16, 16]},
    )
    sys.path.insert(0, str(EXAMPLES))
    try:
        from teacher_fear_xs import FearXS
    finally:
        sys.path.remove(str(EXAMPLES))
    search = np.full((257, 257, 3), 60, np.uint8)
    search[82:98, 170:190] = 250  # around (180, 90)
    size = np.array([40, 30], np.float32)
    (said,) = FearXS([first, second])(np.zeros((129, 129, 3), np.uint8), size, [search])
    score, xs, ys, boxes = (np.asarray(part) for part in said)
    y, x = np.unravel_index(score.argmax(), score.shape)
    # A cell is 16 px of a crop of 5 x 40 by 5 x 30 px on 256 x 256.
    assert abs(xs[x] - 180) <= 16 * 200 / 256 and abs(ys[y] - 90) <= 16 * 150 / 256
    assert np.allclose(boxes[:, y, x], [xs[x] - 6.25, ys[y] - 4.6875, xs[x] + 6.25, ys[y] + 4.6875])


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
