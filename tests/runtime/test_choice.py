"""Which engine `auto` stands for: by fake timers, what is remembered, and what int8 is built from."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracker.errors import DeviceError, WeightsError
from tracker.evaluation.specs import TrackerSpec
from tracker.model.checkpoint import LoadedModel, load_model
from tracker.runtime import choice as choosing
from tracker.runtime import processor
from tracker.runtime.base import Engine, Response
from tracker.runtime.choice import EngineChoice, candidates, choose
from tracker.runtime.onnx.int8 import grid_of
from tracker.runtime.onnxruntime_engine import OnnxEngine
from tracker.runtime.ranges import load_ranges, save_ranges
from tracker.runtime.select import build_engine, resolve_engine
from tracker.settings import changed

NAMES = ["onnxruntime", "onnxruntime-int8"]


class Clock:
    """Seconds that only a fake engine spends."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeEngine(Engine):
    """Takes so many seconds for a match."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def embed_template(self, crops: Any, targets: Any) -> int:
        return 0

    def match(self, templates: Any, crops: Any) -> Response:
        self.clock.now += self.seconds
        return Response(np.zeros((1, 1, 1), np.float32), None)

    stack = to_host = from_host = embed_template  # type: ignore[assignment]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadedModel]:
    monkeypatch.delenv(choosing.VARIABLE, raising=False)
    monkeypatch.setattr(choosing, "_chosen", {})
    yield load_model("siamtrack-n")


def fakes(times: dict[str, float]) -> tuple[Clock, Callable[[str], Engine]]:
    clock = Clock()
    return clock, lambda name: FakeEngine(clock, times[name])


@pytest.mark.parametrize(("int8", "chosen"), [(0.004, 1), (0.0085, 1), (0.0095, 0), (0.02, 0)])
def test_the_fastest_is_chosen_where_it_is_clearly_faster(
    model: LoadedModel, tmp_path: Path, int8: float, chosen: int
) -> None:
    clock, build = fakes(dict(zip(NAMES, (0.01, int8), strict=True)))
    found = choose(model, build, NAMES, clock, tmp_path / "engines.json")
    assert found.engine == NAMES[chosen] and found.ms == pytest.approx({NAMES[0]: 10, NAMES[1]: 1e3 * int8})


def test_a_choice_holds_for_the_process_and_is_remembered(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cache" / "engines.json"
    clock, build = fakes(dict(zip(NAMES, (0.01, 0.005), strict=True)))
    first = choose(model, build, NAMES, clock, file)
    clock, slower = fakes(dict(zip(NAMES, (0.01, 0.5), strict=True)))
    assert choose(model, slower, NAMES, clock, file) is first
    monkeypatch.setattr(choosing, "_chosen", {})  # another process
    assert choose(model, slower, NAMES, clock, file) == first and clock.now == 0
    other = replace(
        model, config=replace(model.config, tracking=changed(model.config.tracking, {"small_search.size": 0}))
    )
    assert choose(other, slower, NAMES, clock, file).engine == NAMES[0], "other windows are measured for themselves"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": {"engine": 3, "reason": "", "ms": {}}}', "\x00"])
def test_a_damaged_memory_is_measured_anew(
    model: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    file = tmp_path / "engines.json"
    file.write_text(content)
    clock, build = fakes(dict(zip(NAMES, (0.01, 0.005), strict=True)))
    with caplog.at_level(logging.WARNING):
        assert choose(model, build, NAMES, clock, file).engine == NAMES[1]
    assert str(file) in caplog.text and "measured again" in caplog.text
    assert [entry["engine"] for entry in json.loads(file.read_text()).values()] == [NAMES[1]]


def test_a_folder_that_cannot_be_written_is_no_trouble(model: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    clock, build = fakes(dict(zip(NAMES, (0.01, 0.005), strict=True)))
    assert choose(model, build, NAMES, clock, tmp_path / "file" / "engines.json").engine == NAMES[1]


def test_an_engine_that_cannot_be_built_is_left_out(model: LoadedModel, tmp_path: Path) -> None:
    clock = Clock()

    def build(name: str) -> Engine:
        if name != NAMES[0]:
            raise DeviceError("It is broken.")
        return FakeEngine(clock, 0.01)

    assert choose(model, build, NAMES, clock, tmp_path / "engines.json").engine == NAMES[0]


def test_the_variable_names_the_engine(model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, build = fakes(dict(zip(NAMES, (0.01, 0.5), strict=True)))
    monkeypatch.setenv(choosing.VARIABLE, NAMES[1])
    assert choose(model, build, NAMES, clock, tmp_path / "engines.json").engine == NAMES[1] and clock.now == 0


def test_int8_is_a_candidate_where_the_processor_gains(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, ranges = replace(model, path=tmp_path / "calibrated.safetensors"), load_ranges(model)
    assert ranges is not None
    vnni = ("avx2", "avx512_vnni")
    cases = (
        (("avx2",), 0.0, False),
        (vnni, 0.003, True),
        (("asimddp",), -0.01, True),
        (vnni, 0.004, False),
        (vnni, None, False),
    )
    for flags, cost, there in cases:
        save_ranges(tmp_path / "calibrated.int8.json", own, ranges, {}, cost)
        monkeypatch.setattr(choosing, "processor", lambda flags=flags: ("some", flags))
        assert ("onnxruntime-int8" in candidates(own)) == there
    assert set(processor.INT8) <= set(processor.TELLING)
    assert "onnxruntime-int8" not in candidates(replace(model, path=tmp_path / "own.safetensors"))


def test_results_of_precisions_have_keys_of_their_own(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for name in NAMES:
        found = EngineChoice(name, "", {})
        monkeypatch.setattr(choosing, "choose", lambda *args, found=found: found)
        spec = TrackerSpec("siamtrack", "siamtrack-n", "n", (("device", "cpu"), ("engine", "auto"))).resolved()
        assert spec.option("engine") == name == resolve_engine(model, "cpu")[0] and spec.option("skip") == "auto"
        assert spec.resolved() is spec
        keys.add(spec.fingerprint())
    assert len(keys) == 2


def test_ranges_belong_to_their_weights(model: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ranges = load_ranges(model)
    assert ranges and all(low < high for low, high in ranges.limits.values())
    assert all((scale > 0).all() and scale.max() == 1 for _, scale in ranges.frames.values())
    path = tmp_path / "own.safetensors"
    own = replace(model, path=path)
    save_ranges(tmp_path / "own.int8.json", own, ranges, {})
    again = load_ranges(own)
    assert again and again.limits == ranges.limits and set(again.means) == set(ranges.means)
    for one, other in ((again.means, ranges.means), (again.frames, ranges.frames)):
        assert all(np.array_equal(one[name], other[name]) for name in other)
    other = replace(own, state={key: value + 1 for key, value in model.state.items()})
    with pytest.raises(WeightsError, match="other weights"):
        load_ranges(other)
    for content in (
        "",
        "{}",
        '{"weights": "", "ranges": {"a": [0, 1]}}',
        '{"weights": "", "ranges": {"a": [1]}, "means": {}, "frames": {}}',
        '{"weights": "", "ranges": {"a": [0, NaN]}, "means": {}, "frames": {}}',
        '{"weights": "", "ranges": {}, "means": {"a": [[1]]}, "frames": {}}',
        '{"weights": "", "ranges": {}, "means": {}, "frames": {"a": [[0], [0]]}}',
        '{"weights": "", "ranges": {}, "means": {}, "frames": {"a": [0, 1]}}',
    ):
        (tmp_path / "own.int8.json").write_text(content)
        with pytest.raises(WeightsError, match="calibrate again"):
            load_ranges(own)
        assert candidates(own) == [name for name in candidates(model) if name != "onnxruntime-int8"]
    with pytest.raises(DeviceError, match="not calibrated for int8"):
        build_engine(replace(model, path=None), "cpu", "onnxruntime-int8")


def test_the_grid_of_a_range_holds_zero() -> None:
    for low, high in ((0.0, 6.0), (-3.0, 5.0), (1.0, 2.0), (-2.0, -1.0), (0.0, 0.0)):
        grid = grid_of(low, high)
        assert 0 <= grid.zero <= 255 and grid.scale > 0
        values = (np.arange(256) - grid.zero) * grid.scale
        assert 0 in values and values[0] <= min(low, 0) + grid.scale and values[-1] >= max(high, 0) - grid.scale


def test_frames_of_channels_change_nothing_but_the_grid(model: LoadedModel) -> None:
    """In a network without a single range, shifts and scales fold into the weights and out again."""
    ranges = load_ranges(model)
    assert ranges is not None
    config, rng = model.config.model, np.random.default_rng(0)
    search = rng.integers(0, 256, (1, config.template_size, config.template_size, 3), np.uint8)
    sums = {layer: limits for layer, limits in ranges.limits.items() if layer.endswith(".sum")}
    plain, framed = (OnnxEngine(config, model.state, ranges=r) for r in (None, replace(ranges, limits=sums)))
    embedded = plain.embed_template(list(search), np.array([[40, 40]], np.float32))
    one, other = (engine.match(embedded, search) for engine in (plain, framed))
    assert one.embedding is not None and other.embedding is not None
    assert np.allclose(one.embedding, other.embedding, atol=1e-4) and np.allclose(one.score, other.score, atol=1e-3)


def test_int8_answers_as_float32_does(model: LoadedModel) -> None:
    rng = np.random.default_rng(0)
    small = [np.kron(rng.integers(0, 256, (n // 8 + 1, n // 8 + 1, 3), np.uint8), np.ones((8, 8, 1), np.uint8))[:n, :n]
             for n in (97, 145)]  # fmt: skip
    full = OnnxEngine(model.config.model, model.state, sizes=(145,))
    int8 = OnnxEngine(model.config.model, model.state, sizes=(145,), ranges=load_ranges(model))
    assert (full.name, int8.name) == ("onnxruntime", "onnxruntime-int8")
    target = np.array([[48, 48]], np.float32)
    one, other = (engine.match(engine.embed_template(small[:1], target), small[1:]) for engine in (full, int8))
    assert one.embedding is not None and other.embedding is not None
    cosines = (one.embedding * other.embedding).sum(axis=1) / np.linalg.norm(one.embedding, axis=1)
    cosines /= np.linalg.norm(other.embedding, axis=1)
    assert cosines.mean() > 0.97 and not np.array_equal(one.score, other.score)
    assert np.corrcoef(one.score.ravel(), other.score.ravel())[0, 1] > 0.9
