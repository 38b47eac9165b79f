"""What runs on a GPU gives what a CPU gives: `pytest -m gpu` where there is one; elsewhere all of it is skipped."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import moving_square
from tests.runtime.models import pictures, random_model
from tests.tracking.standin import ground, put, thing
from tests.training.standin import SETTINGS, ToyMatcher, ToySource
from tests.training.test_resident import pictures as samples
from tests.training.test_resident import same
from tracker.crops import Crop
from tracker.errors import DeviceError
from tracker.geometry import iou
from tracker.model.checkpoint import load_model
from tracker.runtime.cuda_engine import BATCH, FEW, CudaEngine, batch_room
from tracker.runtime.select import build_engine
from tracker.runtime.torch_engine import TorchEngine
from tracker.tracking.multi import MultiTracker
from tracker.tracking.tracker import SiamTracker
from tracker.training.config import train_config
from tracker.training.data.batch import PairBatch
from tracker.training.data.device_moves import DeviceMoves
from tracker.training.data.pairs import SamplePairs
from tracker.training.data.resident import ResidentPairs
from tracker.training.data.sampling import PairConfig
from tracker.training.trainer import Trainer
from tracker.types import TrackState

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


@pytest.mark.parametrize("name", ["siamtrack-s", "siamtrack-n", "siamfc-alexnet"])
@pytest.mark.parametrize("count", [1, 5])
def test_the_engine_agrees_with_float32_on_the_cpu(name: str, count: int) -> None:
    model = load_model(name)
    config = model.config.model
    shots, targets = pictures(count, config.template_size, seed=1), np.full((count, 2), 40, np.float32)
    crops = pictures(count, config.search_size, seed=2)
    plain = TorchEngine(model.module)
    want = plain.match(plain.embed_template(shots, targets), crops)
    engine = CudaEngine(load_model(name).module)
    got = engine.match(engine.embed_template(shots, targets), crops)
    assert engine.dtype == torch.float16 and got.score.dtype == np.float32
    assert np.abs(got.score - want.score).max() <= 0.02 * np.abs(want.score).max()
    if want.boxes is not None and got.boxes is not None:
        assert np.abs(got.boxes - want.boxes).max() <= 1.0


def test_auto_takes_it_and_its_tracks_are_those_of_the_cpu() -> None:
    images, boxes = moving_square(frames=16)
    tracks = []
    for device, engine in (("auto", "auto"), ("cpu", "torch")):
        tracker = SiamTracker.from_pretrained(device=device, engine=engine)
        if device == "auto":
            assert tracker.engine.name == "cuda"
        tracker.init(images[0], boxes[0])
        tracks.append(np.stack([tracker.update(image).box for image in images[1:]]))
    assert iou(*tracks).mean() > 0.97


def test_many_targets_are_followed_as_each_alone() -> None:
    places = [(60 + 150 * (n % 4), 60 + 150 * (n // 4)) for n in range(12)]
    frames = []
    for k in range(10):
        frame = ground(640, 480)
        for n, (x, y) in enumerate(places):
            frame = put(frame, thing(30, n), x + 2 * k, y + k)
        frames.append(frame)
    boxes = np.array([(x, y, 30, 30) for x, y in places], float)
    model = load_model("siamtrack-s")
    several = MultiTracker(SiamTracker(model, build_engine(model, "cuda", "auto")), 1)
    several.init(frames[0], boxes)
    alone = []
    for box in boxes:
        tracker = SiamTracker(model, build_engine(load_model("siamtrack-s"), "cuda", "auto"))
        tracker.init(frames[0], box)
        alone.append(tracker)
    for frame in frames[1:]:
        for one, other in zip(several.update(frame), alone, strict=True):
            single = other.update(frame)
            assert one.state == single.state == TrackState.TRACKING
            assert iou(one.box[None], single.box[None])[0] > 0.9


def test_a_graph_serves_all_counts_of_a_room() -> None:
    model = random_model("boxes cosine")
    engine = CudaEngine(model.module)
    templates = engine.embed_template(pictures(6, 65), np.full((6, 2), 30.0, np.float32))
    for count in (5, 6, 5):
        assert batch_room(count) == 6
        engine.match(templates[:count], pictures(count, 97))
    assert engine.captured == 1


def test_templates_by_the_graph_are_those_of_a_batch() -> None:
    model = load_model("siamtrack-s")
    engine, size = CudaEngine(model.module), model.config.model.template_size
    shots, targets = pictures(BATCH, size), np.array([[20 + k, 60 - k] for k in range(BATCH)], np.float32)
    whole = engine.to_host(engine.embed_template(shots, targets))
    for count in (1, FEW, FEW + 2):
        some = engine.to_host(engine.embed_template(shots[:count], targets[:count]))
        assert np.abs(some - whole[:count]).max() <= 0.02 * np.abs(whole).max()


def test_frames_that_follow_each_other_are_uploaded_each() -> None:
    """Pinned memory is filled again while the copy before may still run."""
    model = random_model("boxes cosine")
    engine = CudaEngine(model.module)
    templates = engine.embed_template(pictures(12, 65), np.full((12, 2), 30.0, np.float32))
    crops, fills = [Crop.around((40 + 9 * k, 90), 80, 97) for k in range(12)], [(0.0, 0.0, 0.0)] * 12
    frames = [np.full((200, 300, 3), 7 * k, np.uint8) + ground(300, 200) // 2 for k in range(6)]
    kept = [engine.match_windows_on_device(templates, engine.upload(frame), crops, fills) for frame in frames]
    for frame, one in zip(frames, kept, strict=True):
        want = engine.match(templates, [crop.cut(frame, fill) for crop, fill in zip(crops, fills, strict=True)])
        assert np.abs(one.score.cpu().numpy() - want.score).max() <= 0.02 * np.abs(want.score).max()


def test_pictures_that_follow_each_other_are_each_matched() -> None:
    """Nothing waits for the device in between, and the pinned pictures are filled again."""
    model = random_model("boxes cosine")
    engine = CudaEngine(model.module)
    templates = engine.embed_template(pictures(8, 65), np.full((8, 2), 30.0, np.float32))
    each = [pictures(8, 97, seed=k) for k in range(6)]
    kept = [engine.match_on_device(templates, crops) for crops in each]
    for crops, response in zip(each, kept, strict=True):
        assert np.array_equal(response.score.cpu().numpy(), engine.match(templates, crops).score)


def test_too_much_for_the_card_is_a_sentence() -> None:
    engine = CudaEngine(random_model("boxes cosine").module)
    with pytest.raises(DeviceError, match="out of memory"):
        engine.match(
            engine.embed_template(pictures(1, 65), np.full((1, 2), 30.0, np.float32)),
            [np.zeros((16385, 16385, 3), np.uint8)] * 200,
        )


@pytest.mark.parametrize("moves", [DeviceMoves(), DeviceMoves(turn=20, shift=4, scale=0.1, light=0.1)])
def test_resident_pairs_are_those_of_the_cpu(moves: DeviceMoves) -> None:
    parts = [samples(6, 1), samples(4, 2)]
    config = PairConfig(negative_pairs=0.4, box_jitter=0.15, moves=moves)
    here = ResidentPairs(parts, config, 8, 3, 0, torch.device("cuda"))
    if not moves.any:
        same(SamplePairs(parts, config, 8, 3, 0).batch(5, 0, 1), host(here.batch(5, 0, 1)))
        return
    there = ResidentPairs(parts, config, 8, 3, 0, torch.device("cpu"))
    one, other = host(here.batch(5, 0, 1)), there.batch(5, 0, 1)
    assert (one.search - other.search).abs().max() < 0.1 and (one.box - other.box).abs().max() < 1e-3


def host(batch: PairBatch) -> PairBatch:
    values = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return dataclasses.replace(batch, **{k: v.cpu() for k, v in values.items() if isinstance(v, torch.Tensor)})


@pytest.mark.parametrize("compiled", ["off", "on"])
def test_training_there_follows_the_curve_of_the_cpu(tmp_path: Path, compiled: str) -> None:
    curves = []
    for device in ("cuda", "cpu"):
        config = train_config({**SETTINGS, "steps": 24, "compile": compiled if device == "cuda" else "off"})
        torch.manual_seed(0)
        folder = tmp_path / device
        folder.mkdir()
        Trainer(ToyMatcher(), ToySource(8), config, folder, device=torch.device(device)).run()
        with open(folder / "log.csv", newline="") as file:
            curves.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert np.allclose(*curves, rtol=0.02) and curves[0][-1] < curves[0][0]
