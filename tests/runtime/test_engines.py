"""Engines against torch in float32: on responses, and in the track of a whole clip."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import moving_square
from tests.runtime.models import CASES, pictures, random_model
from tracker.geometry import iou
from tracker.model.checkpoint import LoadedModel, shipped_models
from tracker.runtime.base import Engine
from tracker.runtime.cuda_engine import BATCH, FEW, CudaEngine
from tracker.runtime.onnxruntime_engine import OnnxEngine
from tracker.runtime.select import build_engine
from tracker.runtime.torch_engine import TorchEngine
from tracker.tracking.tracker import SiamTracker

# Largest difference of a score logit as a share of the largest logit, and of a box side in pixels (torch 2.6
# gives 0.0203 in a box of 947 pixels of random weights, torch 2.13 less).
FLOAT32 = (2e-5, 0.03)
HALF = (0.06, 8.0)


def engine_of(name: str, model: LoadedModel) -> Engine:
    if name == "cuda twin, float32":
        return CudaEngine(model.module, "cpu", torch.float32)
    if name == "cuda twin, bfloat16":
        return CudaEngine(model.module, "cpu", torch.bfloat16)
    pytest.importorskip(name)
    return build_engine(model, "cpu", name, threads=1)


def agree(
    model: LoadedModel, engine: Engine, tolerance: tuple[float, float], size: int, templates: int, searches: int
) -> None:
    reference = TorchEngine(model.module)
    shots = pictures(templates, model.config.model.template_size, seed=1)
    targets = np.array([[30, 20], [12, 50]], np.float32)[:templates]
    crops = pictures(searches, size, seed=2)
    want = reference.match(reference.embed_template(shots, targets), crops)
    got = engine.match(engine.embed_template(shots, targets), crops)
    assert got.score.shape == want.score.shape and got.score.dtype == np.float32
    assert np.abs(got.score - want.score).max() <= tolerance[0] * np.abs(want.score).max()
    assert (got.boxes is None) == (want.boxes is None)
    if want.boxes is not None and got.boxes is not None:
        # Random weights give boxes of over a thousand pixels, whose rounding is larger, too.
        assert np.abs(got.boxes - want.boxes).max() <= tolerance[1] * max(1.0, np.abs(want.boxes).max() / 1000)
        assert got.embedding is not None and want.embedding is not None
        assert np.abs(got.embedding[:1] - want.embedding[:1]).max() <= tolerance[0]
        coarse = got.embedding[:, : model.module.channels]
        np.testing.assert_allclose(np.linalg.norm(coarse, axis=1), 1, atol=max(tolerance[0], 1e-4))


@pytest.mark.parametrize("case", CASES)
def test_onnxruntime_gives_the_responses_of_torch(case: str) -> None:
    model = random_model(case)
    engine = OnnxEngine(model.config.model, model.state)
    usual = model.config.model.search_size
    for size, templates, searches in ((usual, 1, 1), (usual, 2, 2), (usual, 1, 2), (usual + 32, 1, 1)):
        agree(model, engine, FLOAT32, size, templates, searches)


@pytest.mark.parametrize("case", ["boxes cosine", "attention cosine, fine, relative", "alexnet dot"])
@pytest.mark.parametrize("name", ["openvino", "cuda twin, float32"])
def test_other_engines_agree_with_torch(name: str, case: str) -> None:
    model = random_model(case)
    engine = engine_of(name, model)
    usual = model.config.model.search_size
    for templates, searches in ((1, 1), (2, 2), (1, 2)):
        agree(model, engine, FLOAT32, usual, templates, searches)


@pytest.mark.slow  # CPUs without bfloat16 instructions emulate them
@pytest.mark.parametrize("case", ["boxes cosine", "alexnet dot"])
def test_half_precision_agrees_within_its_own_tolerance(case: str) -> None:
    model = random_model(case)
    agree(model, engine_of("cuda twin, bfloat16", model), HALF, model.config.model.search_size, 1, 1)


def test_energy_and_head_run_in_float16_where_they_may() -> None:
    """By the twin; AlexNet's dot products and bfloat16 stay in float32."""
    model = random_model("boxes cosine")
    engine = CudaEngine(model.module, "cpu", torch.float16)
    assert engine.head_dtype == torch.float16
    agree(model, engine, (0.02, 4.0), model.config.model.search_size, 1, 1)
    for case, kind in (("alexnet dot", torch.float16), ("boxes cosine", torch.bfloat16)):
        assert CudaEngine(random_model(case).module, "cpu", kind).head_dtype == torch.float32


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "cuda twin, float32"])
@pytest.mark.parametrize("case", ["boxes cosine", "attention cosine", "classic cosine"])
def test_engines_give_the_same_track(name: str, case: str) -> None:
    images, boxes = moving_square(frames=8)
    model = random_model(case)
    tracks = []
    for engine in (TorchEngine(model.module), engine_of(name, model)):
        tracker = SiamTracker(model, engine)
        tracker.init(images[0], boxes[0])
        tracks.append(np.stack([tracker.update(image).box for image in images[1:]]))
    assert iou(*tracks).mean() > 0.98


@pytest.mark.skipif("siamtrack-s" not in shipped_models(), reason="the default weights are not in the package yet")
def test_shipped_model_tracks_alike_in_torch_and_onnxruntime() -> None:
    images, boxes = moving_square(frames=12)
    tracks = []
    for engine in ("torch", "onnxruntime"):
        tracker = SiamTracker.from_pretrained(engine=engine, device="cpu")
        tracker.init(images[0], boxes[0])
        tracks.append(np.stack([tracker.update(image).box for image in images[1:]]))
    assert iou(*tracks).mean() > 0.98


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "cuda twin, float32"])
def test_templates_go_to_the_host_and_back_and_can_be_stacked(name: str) -> None:
    model = random_model("boxes cosine")
    engine = TorchEngine(model.module) if name == "torch" else engine_of(name, model)
    shots, crops = pictures(2, model.config.model.template_size), pictures(2, model.config.model.search_size)
    targets = np.array([[30, 20], [12, 50]], np.float32)
    both = engine.embed_template(shots, targets)
    one_by_one = engine.stack([engine.embed_template(shots[k : k + 1], targets[k : k + 1]) for k in range(2)])
    back = engine.from_host(engine.to_host(both))
    want = engine.match(both, crops)
    for other in (one_by_one, back):
        assert np.abs(engine.match(other, crops).score - want.score).max() < 1e-4
    channels, cells = model.module.channels + 1, model.module.template_cells
    assert engine.to_host(both).shape == (2, channels, cells, cells)


def test_any_number_of_templates_is_embedded_in_two_shapes() -> None:
    model = random_model("boxes cosine")
    engine, plain = CudaEngine(model.module, "cpu", torch.float32), TorchEngine(model.module)
    size = model.config.model.template_size
    for count in (1, FEW, FEW + 1, BATCH, BATCH + FEW + 2):
        shots = pictures(count, size, seed=count)
        targets = np.array([[20 + k, 40 - k] for k in range(count)], np.float32)
        want, got = plain.embed_template(shots, targets), engine.embed_template(shots, targets)
        np.testing.assert_allclose(engine.to_host(got), plain.to_host(want), atol=1e-4)


def test_results_of_one_match_stay_when_the_next_one_runs() -> None:
    model = random_model("boxes cosine")
    for engine in (OnnxEngine(model.config.model, model.state), CudaEngine(model.module, "cpu", torch.float32)):
        template = engine.embed_template(
            pictures(1, model.config.model.template_size), np.array([[30, 20]], np.float32)
        )
        first, second = pictures(2, model.config.model.search_size)
        kept = engine.match(template, [first])
        copy = kept.score.copy()
        engine.match(template, [second])
        assert np.array_equal(kept.score, copy)


def test_an_engine_for_several_threads_at_once_takes_the_same_templates() -> None:
    model = random_model("boxes cosine")
    engine = OnnxEngine(model.config.model, model.state, threads=2)
    twin = engine.one_thread()
    assert (engine.threads, twin.threads) == (2, 1) and engine.one_thread() is twin and twin.one_thread() is twin
    template = engine.embed_template(pictures(1, model.config.model.template_size), np.array([[30, 20]], np.float32))
    size = model.config.model.search_size
    # Also of a size whose graph is still to be compiled, which all threads ask for at once.
    batches = [pictures(2, side, seed=seed) for seed, side in enumerate((size, size, size + 32, size + 32))]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda crops: twin.match(template, crops), batches))
    for crops, got in zip(batches, results, strict=True):
        assert np.abs(got.score - engine.match(template, crops).score).max() < 1e-4


def test_small_windows_take_one_thread_and_full_ones_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("boxes cosine")
    size, counts = model.config.model.search_size, []
    monkeypatch.setattr(OnnxEngine, "_session", lambda self, graph, threads: counts.append(threads))
    OnnxEngine(model.config.model, model.state, threads=3, sizes=(size - 64,))
    assert sorted(counts) == [1, 3]


def test_templates_that_are_matched_together_are_copied_once() -> None:
    model = random_model("boxes cosine")
    engine = OnnxEngine(model.config.model, model.state)
    one, two = (
        engine.embed_template(pictures(1, model.config.model.template_size, seed=k), np.array([[30, 20]]))
        for k in (0, 1)
    )
    both = engine.stack([one, two])
    assert engine.stack([one, two]) is both and engine.stack([two, one]) is not both
    assert np.array_equal(both.embedding, np.concatenate([one.embedding, two.embedding]))


def test_what_was_stacked_goes_with_its_templates() -> None:
    model = random_model("boxes cosine")
    engine = OnnxEngine(model.config.model, model.state)
    left: list[weakref.ref[Any]] = []
    for seed in range(20):  # a tracker after another, as a program does that follows one thing and then the next
        several = [
            engine.embed_template(pictures(1, model.config.model.template_size, seed=seed + k), np.array([[30, 20]]))
            for k in range(3)
        ]
        for count in range(1, 6):  # and several windows of one of them
            left.append(weakref.ref(engine.stack(several[:1] * count)))
        whole = engine.stack(several)
        assert engine.stack(several) is whole and engine.stack(several[::-1]) is not whole
        left += [weakref.ref(whole), *map(weakref.ref, several)]
        assert sum(one() is not None for one in left) <= 8
    del several, whole
    gc.collect()
    assert not any(one() is not None for one in left)
