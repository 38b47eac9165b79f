"""Maps of many targets read at once: the same numbers as one at a time, in plain Python, in numpy and in torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.models import pictures, random_model
from tests.tracking.standin import PixelEngine, ground, pixel_tracker, put, thing
from tracker.config import TrackingConfig
from tracker.runtime.base import Engine, Response
from tracker.runtime.cuda_engine import CudaEngine, batch_room
from tracker.settings import changed
from tracker.tracking.arrays import to_host
from tracker.tracking.confidence import USUAL_ONLINE, confidence_features
from tracker.tracking.decode import weigh_boxes
from tracker.tracking.multi import MultiTracker
from tracker.tracking.observation import combined
from tracker.tracking.peaks import read_peaks
from tracker.tracking.tracker import SiamTracker
from tracker.types import TrackState

STRIDE = 16


def maps_of(seed: int, count: int, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logits, boxes around their cells, responses of an online filter, (count, 2) usual sizes."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-3, 3, (count, cells, cells)).astype(np.float32)
    at = np.arange(cells) * STRIDE + 0.5
    half = np.abs(rng.normal(20, 12, (2, count, cells, cells)))
    centre = np.stack(np.broadcast_arrays(at[None], at[:, None]))[:, None] + rng.normal(0, 5, (2, count, cells, cells))
    boxes = np.concatenate([centre - half, centre + half]).transpose(1, 0, 2, 3).astype(np.float32)
    online = rng.normal(0.2, 0.4, (count, cells, cells)).astype(np.float32)
    return logits, boxes, online, rng.uniform(15, 70, (count, 2))


def plainly(
    logits: np.ndarray,
    boxes: np.ndarray,
    online: np.ndarray | None,
    index: int,
    size: np.ndarray,
    crop: int,
    usual: float,
    usual_online: float,
) -> list[float]:
    """The features of one place in plain Python, cell by cell: what they are by their description."""
    cells = logits.shape[0]
    row, column = divmod(index, cells)
    x0, y0, x1, y1 = (float(v) for v in boxes[:, row, column])
    cx, cy, w, h = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, 1.0), max(y1 - y0, 1.0)
    begin, peak = (crop - (cells - 1) * STRIDE) / 2, float(logits[row, column])
    every = [(r, c) for r in range(cells) for c in range(cells)]
    clear = [
        (r, c)
        for r, c in every
        if abs(begin + r * STRIDE - cy) >= 0.75 * h + STRIDE or abs(begin + c * STRIDE - cx) >= 0.75 * w + STRIDE
    ]
    second = max((float(logits[at]) for at in clear), default=peak - 6)
    mean = sum(float(logits[at]) for at in clear) / len(clear) if clear else peak - 12
    nine = [(r, c) for r, c in every if abs(r - row) <= 1 and abs(c - column) <= 1]
    total = whole = 0.0
    for r, c in nine:
        a0, b0, a1, b1 = (float(v) for v in boxes[:, r, c])
        both = max(min(a1, x1) - max(a0, x0), 0) * max(min(b1, y1) - max(b0, y0), 0)
        union = max(a1 - a0, 0) * max(b1 - b0, 0) + max(x1 - x0, 0) * max(y1 - y0, 0) - both
        share = 1 / (1 + math.exp(-float(logits[r, c]))) + 1e-6
        total, whole = total + both / max(union, 1e-6) * share, whole + share
    resize = abs(math.log2(w * h / (size[0] * size[1]))) + abs(math.log2(w / h / (size[0] / size[1])))
    motion = math.hypot(cx - crop / 2, cy - crop / 2) / math.sqrt(size[0] * size[1])
    heard, lead, fallen = *USUAL_ONLINE, 0.0
    if online is not None:
        here = max(float(online[at]) for at in nine)
        heard = min(max(here, -0.5), 1.5)
        lead = min(max(here - max((float(online[at]) for at in clear), default=0.0), -1.5), 1.5)
        fallen = min(max(usual_online - heard, -0.5), 1.5)
    return [
        min(max(peak, -10), 10),
        min(max(peak - second, -5), 10),
        min(max(peak - mean, 0), 20) / 4,
        total / whole,
        min(resize, 3),
        min(motion, 4),
        heard,
        lead,
        min(max(usual - peak, -3), 6),
        fallen,
    ]


def read(arrays: tuple[np.ndarray, ...], there: np.ndarray, exponents: list[float], device: bool) -> tuple[Any, Any]:
    """The weighed maps and what is read at their best cells."""
    logits, boxes, online, sizes = arrays
    given_ = [torch.from_numpy(one) if device else one for one in (logits, boxes, online)]
    config = changed(TrackingConfig(), {"scale_penalty": 0.1, "window_influence": 0.3, "online.weight": 0.6})
    weighed = weigh_boxes(given_[0], given_[1], sizes, config, given_[2], 17, exponents, there)
    index = weighed.mixed.reshape(len(logits), -1).argmax(axis=1)
    return weighed, read_peaks(weighed, index, STRIDE, (logits.shape[1] - 1) * STRIDE + 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 13), st.data())
def test_many_are_read_as_one_is(seed: int, count: int, cells: int, data: st.DataObject) -> None:
    arrays = maps_of(seed, count, cells)
    there = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    exponents = data.draw(st.lists(st.sampled_from([1.0, 1.7]), min_size=count, max_size=count))
    crop = (cells - 1) * STRIDE + 1
    weighed, peaks = read(arrays, there, exponents, device=False)
    usual, usual_online = np.full(count, 2.5), np.full(count, 0.9)
    features = confidence_features(peaks.astype(np.float64), arrays[3], crop, usual, usual_online, there)
    for k in range(count):
        one = tuple(array[k : k + 1] for array in arrays)
        alone, alone_peaks = read(one, there[k : k + 1], exponents[k : k + 1], device=False)
        assert np.array_equal(alone.mixed[0], weighed.mixed[k])
        np.testing.assert_allclose(alone_peaks[0], peaks[k], rtol=1e-5, atol=1e-5)
        index, online = int(peaks[k, 0]), arrays[2][k] if there[k] else None
        wanted = plainly(arrays[0][k], arrays[1][k], online, index, arrays[3][k], crop, 2.5, 0.9)
        np.testing.assert_allclose(features[k], wanted, rtol=2e-5, atol=2e-5)
        row = weighed.row(k)
        assert np.array_equal(row.logits, arrays[0][k]) and np.array_equal(row.boxes, arrays[1][k])
    tensors, on_device = read(arrays, there, exponents, device=True)
    hosted = to_host([tensors.mixed, on_device])
    np.testing.assert_allclose(hosted[0], weighed.mixed, rtol=1e-5, atol=1e-5)
    if np.array_equal(hosted[1][:, 0], peaks[:, 0]):
        np.testing.assert_allclose(hosted[1], peaks, rtol=1e-4, atol=1e-4)
    else:  # two cells that are equal but for rounding
        flat = weighed.mixed.reshape(count, -1)
        here = flat[np.arange(count), hosted[1][:, 0].astype(int)]
        np.testing.assert_allclose(here, flat.max(axis=1), atol=1e-5)


def scene(frames: int) -> tuple[list[np.ndarray], list[tuple[int, int, int, int]]]:
    """Things that move over a textured ground, one of which is taken away, and their boxes in the first frame."""
    paths = [(60, 50, 2, 1), (230, 40, -1, 2), (40, 150, 3, 0), (270, 180, 0, -2)]
    images = []
    for t in range(frames):
        image = ground()
        for k, (x, y, dx, dy) in enumerate(paths[: 4 if t < 8 else 3]):
            image = put(image, thing(seed=k + 1), x + dx * t, y + dy * t)
        images.append(image)
    return images, [(x, y, 28, 28) for x, y, _, _ in paths]


class EmbeddingEngine(PixelEngine):
    """The pixel engine with something for the online filter to learn on: colours around each cell, of unit length."""

    def match(self, templates: np.ndarray, crops: Sequence[np.ndarray]) -> Response:
        found = super().match(templates, crops)
        cells = found.score.shape[1:]
        small = np.stack([cv2.resize(crop, cells[::-1], interpolation=cv2.INTER_AREA) for crop in crops])
        values = small.transpose(0, 3, 1, 2).astype(np.float32) - 127
        shifts = ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1))
        values = np.concatenate([np.roll(values, shift, (2, 3)) for shift in shifts], axis=1)
        return Response(found.score, found.boxes, values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-3))


class TensorEngine(EmbeddingEngine):
    """The same, whose maps stay on a device."""

    keeps_maps = True

    def match_on_device(self, templates: np.ndarray, crops: Sequence[np.ndarray]) -> Response:
        found = self.match(templates, crops)
        return Response(*(torch.from_numpy(one) for one in (found.score, found.boxes, found.embedding)))


def follower(engine: Engine, **changes: object) -> SiamTracker:
    """A tracker on such an engine that learns."""
    plain = pixel_tracker({"online.weight": 0.4, "online.gap": 2, "online.channels": 6, **changes})
    return SiamTracker(plain.model, engine, plain.config)


KNOTS = {
    "calibration.confidence": (-2.0, 1.3, 0.2, 0.0, 0.0, 0.0, 0.0, -0.6, 0.1, 0.2, 0.0, -0.2, -0.1),
    "calibration.knots": (2.0, 1.0, 1.0, 0.8, 0.1, 0.1),
}


@pytest.mark.parametrize("score", [{}, KNOTS], ids=["linear", "knots"])
@pytest.mark.parametrize("engine", [TensorEngine, EmbeddingEngine])
def test_several_targets_in_one_batch_are_followed_as_each_alone(
    engine: type[Engine], score: dict[str, tuple[float, ...]]
) -> None:
    """States and boxes of a MultiTracker, and of as many single trackers whose maps are on the host."""
    images, boxes = scene(20)
    several = MultiTracker(follower(engine(), **score))
    several.init(images[0], boxes)
    singles = [follower(EmbeddingEngine(), **score) for _ in boxes]
    for single, box in zip(singles, boxes, strict=True):
        single.init(images[0], box)
    states = set()
    for image in images[1:]:
        for track, single in zip(several.update(image), singles, strict=True):
            alone = single.update(image)
            assert track.state is alone.state
            np.testing.assert_allclose(track.box, alone.box, atol=0.05)
            assert track.score == pytest.approx(alone.score, abs=2e-3)
            assert track.response is not None and alone.response is not None
            np.testing.assert_allclose(track.response, alone.response, atol=5e-3)
            states.add(track.state)
    assert {TrackState.TRACKING, TrackState.LOST} <= states
    learnt = [target.filter for target in several.targets.values()]
    for one, single in zip(learnt, singles, strict=True):
        other = single.target.filter if single.target else None
        assert one is not None and other is not None
        np.testing.assert_allclose(one.to_arrays()["weights"], other.to_arrays()["weights"], atol=5e-3)


def test_a_frame_is_one_read_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning included; nothing in the frame waits for the device otherwise."""
    images, boxes = scene(9)
    several = MultiTracker(follower(TensorEngine(), **{"online.gap": 1, "template_memory.size": 0}))
    several.init(images[0], boxes)
    for image in images[1:3]:
        several.update(image)
    reads = watched(monkeypatch)
    for image in images[3:]:
        reads.clear()
        tracks = several.update(image)
        assert reads == ["cpu"]
        assert TrackState.TRACKING in {track.state for track in tracks}


def test_the_engine_of_a_gpu_leaves_its_maps_there_and_later_calls_leave_them_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its twin on the CPU."""
    model = random_model("boxes cosine")
    engine, crops = CudaEngine(model.module, "cpu", torch.float32), pictures(3, 97)
    templates = engine.embed_template(pictures(3, 65), np.full((3, 2), 30.0, np.float32))
    reads = watched(monkeypatch)
    kept = engine.match_on_device(templates, crops)
    assert not reads
    hosted = engine.match(templates, crops)
    engine.match_on_device(templates, crops[::-1])
    for name in ("score", "boxes", "embedding"):
        assert len(getattr(kept, name)) == 3 and np.array_equal(getattr(kept, name).numpy(), getattr(hosted, name))


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what waits for a device, as it is called from now on."""
    reads: list[str] = []
    for name in ("cpu", "item", "tolist", "__bool__", "__float__", "__int__", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, counted(name, getattr(torch.Tensor, name), reads))
    return reads


def counted(name: str, real: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        calls.append(name)
        return real(*args)

    return call


@pytest.mark.parametrize("lost", [True, False])
def test_the_views_of_a_bank_are_combined_where_their_maps_are(lost: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = maps_of(0, 3, 5)[:2]
    want = combined(Response(*maps), 0.3, lost)
    score = maps[0]
    by_hand = np.maximum(score[0], np.maximum(score[1], score[2])) if lost else None
    if by_hand is None:
        by_hand = np.float32(0.7) * score[0] + np.float32(0.3) * np.maximum(score[1], score[2])
    np.testing.assert_allclose(want.score[0], by_hand, rtol=1e-6)
    tensors = Response(*(torch.from_numpy(one) for one in maps))
    reads = watched(monkeypatch)
    got = combined(tensors, 0.3, lost)
    assert not reads and got.boxes is not None and want.boxes is not None
    assert np.array_equal(got.score.numpy(), want.score) and np.array_equal(got.boxes.numpy(), want.boxes)


def test_maps_of_the_host_and_of_a_device_are_read_together() -> None:
    host, device = np.arange(6, dtype=np.float32).reshape(2, 3), torch.arange(4.0).reshape(2, 2)
    read_ = to_host([host, device, host + 1, device + 1])
    assert [one.tolist() for one in read_] == [one.tolist() for one in (host, device, host + 1, device + 1)]
    assert all(isinstance(one, np.ndarray) for one in read_)


def test_batches_come_in_few_sizes() -> None:
    rooms = [batch_room(count) for count in range(1, 401)]
    assert all(count <= room <= max(1.5 * count, count) for count, room in enumerate(rooms, 1))
    assert all(room <= 1.25 * count for count, room in enumerate(rooms, 1) if count > 64)
    assert len(set(rooms)) < 26 and rooms == sorted(rooms) and [batch_room(room) for room in rooms] == rooms
