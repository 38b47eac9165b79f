"""First weights: those of another model, whole or in parts."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tracker.config import Config
from tracker.errors import WeightsError
from tracker.model.checkpoint import load_model
from tracker.training.initialise import initial_model


def wider() -> Config:
    """siamtrack-n with a head of another width."""
    config = load_model("siamtrack-n").config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, head_channels=8))


def test_a_trunk_is_taken_and_a_head_of_another_shape_starts_at_random() -> None:
    source = load_model("siamtrack-n").module
    model = initial_model(wider(), 3, "siamtrack-n", ("backbone", "neck"))
    for part in ("backbone", "neck"):
        taken, given = getattr(model, part).state_dict(), getattr(source, part).state_dict()
        assert taken and all(torch.equal(value, given[name]) for name, value in taken.items())
    fresh = initial_model(wider(), 3, "random").head.state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in model.head.state_dict().items())


def test_a_part_that_does_not_fit_is_named() -> None:
    with pytest.raises(WeightsError, match=r"do not fit the head of this recipe.*--init-parts"):
        initial_model(wider(), 3, "siamtrack-n")
