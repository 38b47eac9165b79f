"""Checkpoints: foreign formats, what a file keeps, settings rewritten in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.model.test_siamese_network import ALEXNET, SMALL, build
from tracker.config import Config
from tracker.errors import ConfigError, WeightsError
from tracker.model.checkpoint import load_model, save_model, update_tracking
from tracker.model.siamese_network import SiameseNetwork


def test_the_siamfc_pytorch_format_loads(tmp_path: Path) -> None:
    module = SiameseNetwork(replace(ALEXNET, template_size=127, search_size=255))
    state = {key: value for key, value in module.state_dict().items() if key.startswith("backbone.")}
    assert (
        "backbone.conv1.0.weight" in state
        and "backbone.conv5.0.bias" in state
        and "backbone.conv2.1.running_var" in state
    )
    file = tmp_path / "siamfc_alexnet_e50.pth"
    torch.save(state, file)
    loaded = load_model(file)
    assert loaded.name == "siamfc-alexnet" and not loaded.has_boxes and loaded.stride == 8
    assert (loaded.config.model.template_size, loaded.config.model.search_size) == (127, 255)
    assert loaded.config.tracking.scale_step == pytest.approx(1.0375)
    for key, value in state.items():
        assert np.array_equal(loaded.module.state_dict()[key].numpy(), value.numpy()), key
    assert float(loaded.module.head.scale) == pytest.approx(0.001)  # type: ignore[arg-type]


def test_other_pickles_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save({"weight": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match=r"siamfc-pytorch format"):
        load_model(file)
    file.write_bytes(b"no pickle at all")
    with pytest.raises(WeightsError):
        load_model(file)


def test_a_checkpoint_keeps_weights_and_configuration(tmp_path: Path) -> None:
    module = build(SMALL)
    file = tmp_path / "model.safetensors"
    save_model(file, module, Config(name="mine", model=SMALL), {"steps": 3})
    loaded = load_model(file)
    assert loaded.name == "mine" and loaded.config.model == SMALL
    assert all(np.array_equal(loaded.state[key], value.numpy()) for key, value in module.state_dict().items())


def test_tracking_constants_of_a_checkpoint_can_be_rewritten(tmp_path: Path) -> None:
    module = build(SMALL)
    file = tmp_path / "model.safetensors"
    save_model(file, module, Config(name="mine", model=SMALL), {"steps": 3})
    before = load_model(file)
    update_tracking(
        file, {"confidence": (-1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0), "lost_score": 0.125}, {"calibrated": True}
    )
    after = load_model(file)
    assert after.config.tracking.calibration.confidence == (-1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert after.config.tracking.states.lost_score == 0.125
    assert after.config.model == before.config.model
    assert all(np.array_equal(after.state[key], value) for key, value in before.state.items())
    with pytest.raises(ConfigError, match="lost_score"):
        update_tracking(file, {"lost_scor": 0.1})
    assert list(tmp_path.iterdir()) == [file]
