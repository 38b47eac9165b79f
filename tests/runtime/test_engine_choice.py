"""Which engine runs, where and on how many threads; what can't run is a sentence."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.runtime.models import pictures, random_model
from tracker.errors import DeviceError, WeightsError
from tracker.model.checkpoint import load_model, save_model
from tracker.runtime.cuda_engine import CudaEngine
from tracker.runtime.onnxruntime_engine import OnnxEngine
from tracker.runtime.select import build_engine, default_threads


def test_auto_takes_the_fastest_on_a_cpu_and_says_why(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO):
        engine = build_engine(random_model("boxes cosine"), "cpu")
    assert engine.name == "onnxruntime" and "engine auto: onnxruntime (SIAMTRACK_ENGINE" in caplog.text
    if importlib.util.find_spec("openvino") is None:  # else it depends on the processor
        monkeypatch.delenv("SIAMTRACK_ENGINE")
        with caplog.at_level(logging.INFO):
            engine = build_engine(random_model("boxes cosine"), "cpu")
        assert engine.name == "onnxruntime" and "engine auto: onnxruntime (the fastest on a CPU)" in caplog.text


@pytest.mark.parametrize(
    ("device", "engine", "words"),
    [
        ("cpu", "tensorrt", "there are auto, torch, onnxruntime"),
        ("gpu", "auto", "'gpu' is unknown; give auto, cpu, cuda or cuda:N"),
        ("mps", "torch", "not supported"),
        ("cuda", "onnxruntime", "runs on cpu"),
        ("cpu", "cuda", "runs on cuda"),
    ],
)
def test_engines_and_devices_that_do_not_fit_are_sentences(device: str, engine: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words.replace("(", r"\(")):
        build_engine(random_model("boxes cosine"), device, engine)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("engine", ["auto", "torch", "cuda"])
def test_missing_cuda_is_a_sentence(engine: str) -> None:
    with pytest.raises(DeviceError, match="'cuda' is not there"):
        build_engine(random_model("boxes cosine"), "cuda", engine)


def test_out_of_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("boxes cosine")
    engine = CudaEngine(model.module, "cpu", torch.float32)

    def fail(*args: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(engine, "_network", fail)
    template = engine.embed_template(pictures(1, model.config.model.template_size), np.array([[30, 20]], np.float32))
    with pytest.raises(DeviceError, match="out of memory; follow fewer targets"):
        engine.match(template, pictures(1, model.config.model.search_size))


def test_an_array_that_is_missing_is_a_sentence() -> None:
    model = random_model("boxes cosine")
    state = {key: value for key, value in model.state.items() if key != "neck.weight"}
    with pytest.raises(WeightsError, match=r"neck\.weight"):
        OnnxEngine(model.config.model, state)


def test_starting_with_onnxruntime_imports_no_torch(tmp_path: Path) -> None:
    model = random_model("boxes cosine")
    save_model(tmp_path / "m.safetensors", model.module, model.config)
    code = (
        "import sys; from tracker import SiamTracker; "
        f"t = SiamTracker.from_pretrained({str(tmp_path / 'm.safetensors')!r}, device='cpu'); "
        "print(t.engine.name, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.split() == ["onnxruntime", "False"]


def test_a_changed_model_configuration_that_does_not_fit_the_weights_is_a_sentence(tmp_path: Path) -> None:
    model = random_model("boxes cosine")
    save_model(tmp_path / "m.safetensors", model.module, model.config)
    with pytest.raises(WeightsError, match="does not fit"):
        load_model(tmp_path / "m.safetensors", overrides=["model.head_channels=40"])


def test_threads_follow_omp_num_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == default_threads(None) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= default_threads() <= 4 and default_threads() <= default_threads(None)


def test_several_targets_take_all_cores_unless_a_number_of_threads_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)), raising=False)
    model = random_model("boxes cosine")
    threads = [
        (e.threads, e.parallel_threads) for e in (build_engine(model, "cpu", "onnxruntime", n) for n in (None, 1))
    ]  # type: ignore[attr-defined]
    assert threads == [(4, 6), (1, 1)]
