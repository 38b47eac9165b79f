"""A template from one picture placed in another, by twins whose embeddings are maps; `track --template-from` starts
there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.cli.helpers import write_video
from tracker.cli import track
from tracker.cli.common import run
from tracker.errors import BoxError, ConfigError
from tracker.matching.config import InputConfig as Input
from tracker.matching.config import MatchConfig, MatchModel, PartConfig
from tracker.matching.placing import measure_placing, place, response, square
from tracker.matching.protocols import TestConfig
from tracker.matching.store import save_matcher
from tracker.matching.twins import Twins


@pytest.fixture(scope="module")
def twins() -> Twins:
    """Untrained: random features tell one place of a busy picture from another well enough."""
    torch.manual_seed(0)
    part = PartConfig("cnn", {"channels": [8, 16], "dim": 0, "signed": True})
    return Twins(MatchModel(input=Input(width=32, height=32, gray=True), encoder=part)).eval()


def picture(seed: int = 0, size: tuple[int, int] = (160, 120)) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (size[1] // 6, size[0] // 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def test_a_thing_is_placed_where_it_is(twins: Twins) -> None:
    image = picture()
    moved = np.roll(image, (12, -20), (0, 1))
    found = place(twins, image, (80, 40, 32, 32), moved, (1.0,))
    assert np.allclose(found.box, (60, 52, 32, 32), atol=4) and found.similarity > 0.9 and found.lead > 0


def test_a_larger_one_is_found_at_its_scale(twins: Twins) -> None:
    image = picture(3)
    larger = cv2.resize(image, None, fx=1.5, fy=1.5)
    found = place(twins, image, (60, 40, 32, 24), larger, (0.7, 1.0, 1.5))
    assert np.allclose(found.box, (90, 60, 48, 36), atol=8)


def test_the_response_is_the_cosine_of_embedded_windows(twins: Twins) -> None:
    search = picture(1)
    template = search[40:72, 64:96]
    values = response(twins, template, search)
    stride = twins.side(0).stride
    assert values.shape == ((120 - 32) // stride + 1, (160 - 32) // stride + 1)
    assert np.unravel_index(values.argmax(), values.shape) == (40 // stride, 64 // stride)


def test_surroundings_give_way_where_there_is_no_room(twins: Twins) -> None:
    image = picture(4)
    found = place(twins, image, (60, 40, 40, 40), image[30:90], (1.0,), context=2.0)
    assert np.allclose(found.box, (60, 10, 40, 40), atol=5)


def test_what_cannot_be_placed(twins: Twins) -> None:
    with pytest.raises(BoxError):
        place(twins, picture(), (500, 500, 10, 10), picture())
    with pytest.raises(ConfigError, match="draw a smaller box"):
        place(twins, picture(), (10, 10, 80, 80), picture(size=(36, 36)))
    assert square((0, 0, 10, 20), picture()) == (0, 0, 20)


def test_aligned_pictures_are_measured(twins: Twins, tmp_path: Path) -> None:
    for k in range(3):
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{k}.png"), picture(k))
    config = replace(MatchConfig(), model=twins.config, data=replace(MatchConfig().data, root=str(tmp_path)))
    test = TestConfig(protocol="placing", path="one", source={"kind": "aligned", "second": "two"}, limit=3)
    figures = measure_placing(twins, test, config)
    assert figures["squares"] == 9 and figures["found"] == 1


def test_tracking_starts_from_a_picture(twins: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "twins.safetensors"
    save_matcher(model, twins, "twins")
    cv2.imwrite(str(tmp_path / "day.png"), picture())
    video = write_video(tmp_path / "clip.mp4", [np.roll(picture(), (8, 2 * k), (0, 1)) for k in range(4)])
    words = [
        str(video),
        "--template-from",
        str(tmp_path / "day.png"),
        "--template-model",
        str(model),
        "--box",
        "80,40,32,32",
    ]
    assert run(track.main, [*words, "--model", "siamtrack-n", "--save-boxes", str(tmp_path / "out.csv")]) == 0
    assert "Found in the first frame at 80,4" in capsys.readouterr().out
    assert len((tmp_path / "out.csv").read_text().splitlines()) >= 4
    with pytest.raises(SystemExit):
        track.main([str(video), "--template-from", str(tmp_path / "day.png")])
    assert "--template-from needs --box" in capsys.readouterr().err
