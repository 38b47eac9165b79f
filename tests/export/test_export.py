"""Exported files, used as somebody without our code uses them: ONNX Runtime alone, OpenCV alone, torch alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.cli.helpers import ROOT, tool, write_video
from tests.conftest import moving_square
from tests.evaluation.trees import otb_tree
from tests.runtime.models import pictures, random_model
from tracker.model.checkpoint import LoadedModel, save_model
from tracker.runtime.torch_engine import TorchEngine

# branch files, inputs of the template branch, search pictures -> score, boxes or None
Runner = Callable[[Path, Path, np.ndarray, np.ndarray, np.ndarray], list[np.ndarray]]


def export(*args: object) -> subprocess.CompletedProcess[str]:
    return tool("export", *map(str, args), cwd=ROOT)


def run_onnxruntime(
    template: Path, search: Path, crop: np.ndarray, target: np.ndarray, pixels: np.ndarray
) -> list[np.ndarray]:
    import onnxruntime as ort

    first = ort.InferenceSession(str(template), providers=["CPUExecutionProvider"])
    embedding = first.run(["embedding"], {"template": crop, "target": target})[0]
    second = ort.InferenceSession(str(search), providers=["CPUExecutionProvider"])
    return second.run(None, {"search": pixels, "embedding": embedding})


def run_opencv(
    template: Path, search: Path, crop: np.ndarray, target: np.ndarray, pixels: np.ndarray
) -> list[np.ndarray]:
    first = cv2.dnn.readNetFromONNX(str(template))
    first.setInput(crop, "template")
    first.setInput(target, "target")
    embedding = first.forward("embedding")
    second = cv2.dnn.readNetFromONNX(str(search))
    second.setInput(pixels, "search")
    second.setInput(embedding, "embedding")
    return list(second.forward(["score", "boxes"]))


def run_torch(
    template: Path, search: Path, crop: np.ndarray, target: np.ndarray, pixels: np.ndarray
) -> list[np.ndarray]:
    embedding = torch.export.load(template).module()(torch.from_numpy(crop), torch.from_numpy(target))
    return [out.numpy() for out in torch.export.load(search).module()(torch.from_numpy(pixels), embedding)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Path]:
    """A small model, and the folder with its ONNX files."""
    folder = tmp_path_factory.mktemp("export")
    model = random_model("boxes cosine")
    checkpoint = folder / "small.safetensors"
    save_model(checkpoint, model.module, model.config)
    done = export("--model", checkpoint, "--output", folder / "out")
    assert done.returncode == 0, done.stderr
    assert "stride 16 px" in done.stdout
    return model, folder / "out"


def check(model: LoadedModel, folder: Path, suffix: str, runner: Runner, size: int) -> None:
    crop = np.stack(pictures(1, model.config.model.template_size, seed=5))
    pixels = np.stack(pictures(1, size, seed=6))
    target = np.array([[30, 22]], np.float32)
    reference = TorchEngine(model.module)
    want = reference.match(reference.embed_template(list(crop), target), list(pixels))
    files = [folder / f"{model.name}-{branch}{suffix}" for branch in ("template", "search")]
    score, *boxes = runner(*files, crop, target, pixels)
    assert np.abs(score.reshape(want.score.shape) - want.score).max() < 1e-4 * np.abs(want.score).max()
    if want.boxes is not None:
        assert np.abs(boxes[0] - want.boxes).max() < 0.02


@pytest.mark.parametrize("size", [129, 257])
@pytest.mark.parametrize("runner", [run_onnxruntime, run_opencv])
def test_onnx_files_work_without_our_code(exported: tuple[LoadedModel, Path], runner: Runner, size: int) -> None:
    if runner is run_opencv and int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("the ONNX importer of OpenCV 4 does not know all operations")
    check(*exported, ".onnx", runner, size)


def test_onnx_files_say_what_they_are(exported: tuple[LoadedModel, Path]) -> None:
    onnx = pytest.importorskip("onnx")
    for branch, inputs, outputs in (
        ("template", ["template", "target"], ["embedding", "features"]),
        ("search", ["search", "embedding"], ["score", "boxes"]),
    ):
        loaded = onnx.load(exported[1] / f"{exported[0].name}-{branch}.onnx")
        onnx.checker.check_model(loaded, full_check=True)
        assert [value.name for value in loaded.graph.input] == inputs
        assert [value.name for value in loaded.graph.output] == outputs
        notes = {item.key: item.value for item in loaded.metadata_props}
        assert notes["stride"] == "16" and notes["search_size"] == "129"


def test_existing_files_are_left_alone(exported: tuple[LoadedModel, Path]) -> None:
    checkpoint = exported[1].parent / "small.safetensors"
    done = export("--model", checkpoint, "--output", exported[1])
    assert done.returncode == 2 and "exists; give another --output or --overwrite" in done.stderr
    assert export("--model", checkpoint, "--output", exported[1], "--overwrite").returncode == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--int8"], "--int8 needs crops to calibrate on"),
        (["--int8", "--dataset", "otb", "--root", "nowhere", "--format", "torch"], "add onnx to --format"),
        (["--model", "nothing"], "neither a shipped model"),
    ],
)
def test_mistakes_are_sentences(tmp_path: Path, args: list[str], words: str) -> None:
    done = export("--output", tmp_path / "out", *args)
    assert done.returncode == 2 and words in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["missing", "empty", "no boxes", "boxes that are none"])
def test_int8_without_usable_material_writes_nothing(
    exported: tuple[LoadedModel, Path], tmp_path: Path, kind: str
) -> None:
    root = tmp_path / "data"
    if kind != "missing":
        root.mkdir()
    if kind.endswith(("boxes", "none")):
        write_video(root / "a.mp4", moving_square(5)[0])
    if kind.endswith("none"):
        (root / "a.txt").write_text("here,and,there,too\n" * 5)
    checkpoint = exported[1].parent / "small.safetensors"
    done = export("--model", checkpoint, "--output", tmp_path / "out", "--int8", "--dataset", "folder", "--root", root)
    assert done.returncode == 2 and "data" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists(), "exit code 2 says that nothing was written"


@pytest.mark.slow  # torch.export traces for some seconds
def test_torch_files_work_without_our_code(tmp_path: Path) -> None:
    model = random_model("alexnet dot")  # few operations: quick to trace
    save_model(tmp_path / "small.safetensors", model.module, model.config)
    done = export("--model", tmp_path / "small.safetensors", "--output", tmp_path, "--format", "torch")
    assert done.returncode == 0, done.stderr
    check(model, tmp_path, ".pt2", run_torch, 191)
    check(model, tmp_path, ".pt2", run_torch, 255)


@pytest.mark.slow
def test_int8_files_are_near_and_say_their_cost(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model = random_model("boxes cosine")
    save_model(tmp_path / "small.safetensors", model.module, model.config)
    otb_tree(tmp_path / "data")
    args = ["--model", tmp_path / "small.safetensors", "--output", tmp_path / "out", "--int8", "--crops", "6"]
    done = export(*args, "--dataset", "otb", "--root", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert "int8 calibrated on" in done.stdout and ("a cost of" in done.stdout or "not measured" in done.stdout)
    crop, pixels = np.stack(pictures(1, 65)), np.stack(pictures(1, 129))
    target = np.array([[30, 22]], np.float32)
    names = [
        [tmp_path / "out" / f"{model.name}{tail}-{branch}.onnx" for branch in ("template", "search")]
        for tail in ("", "-int8")
    ]
    full, small = (run_onnxruntime(*files, crop, target, pixels)[0] for files in names)
    assert np.corrcoef(full.ravel(), small.ravel())[0, 1] > 0.9


def test_the_example_of_the_page_runs(exported: tuple[LoadedModel, Path], tmp_path: Path) -> None:
    images, boxes = moving_square(8)
    write_video(tmp_path / "video.mp4", images)
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    for old, new in (
        ("siamtrack-n-", str(exported[1] / f"{exported[0].name}-")),
        ("video.mp4", str(tmp_path / "video.mp4")),
        ("368, 190, 32, 27", ", ".join(str(int(v)) for v in boxes[0])),
    ):
        assert old in code
        code = code.replace(old, new)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = np.array([[float(value) for value in line.split()] for line in done.stdout.splitlines()])
    assert found.shape == (len(images) - 1, 5) and np.isfinite(found).all()
