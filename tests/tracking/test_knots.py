"""A score whose slopes change at knots: values by hand, files without knots, its fit, and its errors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import moving_square
from tests.runtime.models import random_model
from tests.tracking.standin import pixel_tracker
from tracker.config import Config, TrackingConfig
from tracker.errors import ConfigError
from tracker.evaluation.robustness.calibration import CalibrationSamples, calibrate, fit_score
from tracker.model.checkpoint import load_model, save_model, update_tracking
from tracker.runtime.select import build_engine
from tracker.settings import changed
from tracker.tracking.confidence import FEATURES, check_weights, hinges, probability
from tracker.tracking.tracker import SiamTracker

F = len(FEATURES)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_values_by_hand() -> None:
    weights, knots = (0.5, 1.0, -2.0, 3.0, 0.25), (1.0, 0.5)
    below, above = [0.5, 0.5], [2.0, 1.5]
    assert probability(below, weights, knots) == pytest.approx(sigmoid(0.5 + 0.5 - 2 * 0.5), abs=1e-12)
    logit = 0.5 + 2.0 - 2 * 1.5 + 3 * (2.0 - 1.0) + 0.25 * (1.5 - 0.5)
    assert probability(above, weights, knots) == pytest.approx(sigmoid(logit), abs=1e-12)
    assert np.array_equal(hinges(np.array([below, above]), knots), [[0, 0], [1, 1]])
    more = probability([[*below, 9.0], [*above, 9.0]], weights, knots)  # a feature that the model has no weight for
    assert more == pytest.approx([float(probability(x, weights, knots)) for x in (below, above)], abs=1e-12)


@given(st.lists(st.floats(-8, 8), min_size=F, max_size=F), st.lists(st.floats(-2, 2), min_size=F + 1, max_size=F + 1))
def test_without_further_slopes_it_is_the_score_without_knots(values: list[float], weights: list[float]) -> None:
    flat = probability(values, weights)
    assert probability(values, weights, ()) == flat
    assert probability(values, [*weights, *[0.0] * F], [0.3] * F) == flat


def test_the_fit_finds_a_bend_that_a_line_cannot() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (6000, 2))
    right = rng.random(6000) < probability(x, (2.0, 0.0, 1.0, -8.0, 0.0), (0.0, 0.0))
    nothing, number = np.zeros(6000, np.bool_), np.arange(6000) % 10
    samples = CalibrationSamples(x, right, nothing, nothing, np.full(6000, np.nan), number)
    weights, knots = fit_score(samples)
    assert knots == pytest.approx(np.median(x, axis=0)) and len(weights) == 5
    assert abs(weights[1]) < 1.2 and weights[3] < -5  # the ridge divides a slope between a feature and its hinge
    assert abs(weights[2] - 1) < 0.5 and abs(weights[4]) < 0.6
    half = np.arange(6000) < 3000
    assert fit_score(samples, half)[1] == pytest.approx(np.median(x[half], axis=0))


def test_a_calibration_is_a_score_with_knots_and_a_plain_one_without() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(400, F))
    right = rng.random(400) < probability(features, (1.0, 2.0) + (0.0,) * (F - 1))
    nothing = np.zeros(400, np.bool_)
    found = calibrate(CalibrationSamples(features, right, nothing, nothing, np.full(400, np.nan), np.arange(400) % 10))
    assert found.values["calibration.knots"] == pytest.approx(np.median(features, axis=0))
    assert len(found.values["calibration.confidence"]) == 1 + 2 * F  # type: ignore[arg-type]
    assert len(found.values["calibration.confidence_plain"]) == 1 + F  # type: ignore[arg-type]
    check_weights(changed(TrackingConfig(), found.values))


def test_a_file_keeps_knots_and_one_without_them_has_the_score_of_before(tmp_path: Path) -> None:
    model = random_model("boxes cosine")
    scores = {}
    old = (-1.0, 0.5, 0.2, 0.3, 0.1, -0.2, -0.3)
    for name, values in {
        "old": {"confidence": old},  # as 0.1.0 wrote it, and with fewer features
        "same": {"confidence": (*old, *[0.0] * 6), "calibration.knots": (0.0,) * 6},
        "bent": {"confidence": (*old, *[2.0] * 6), "calibration.knots": (-20.0,) * 6},
    }.items():
        file = tmp_path / f"{name}.safetensors"
        save_model(file, model.module, Config(name=name, model=model.config.model), {})
        update_tracking(file, values)
        loaded = load_model(file)
        assert loaded.config.tracking.calibration.knots == values.get("calibration.knots", ())
        tracker = SiamTracker(loaded, build_engine(loaded, "cpu", "torch"), loaded.config.tracking)
        frames, boxes = moving_square(3)
        tracker.init(frames[0], boxes[0])
        scores[name] = [tracker.update(frame).score for frame in frames[1:]]
    assert scores["old"] == scores["same"]
    assert scores["old"] != scores["bent"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"confidence": (0.0,) * 11, "knots": (0.0,) * 10}, "has 11 values, and there are 10 knots: .*21 values"),
        ({"confidence": (0.0,) * 22, "knots": (0.0,) * 10}, "has 22 values.*knots=\\[\\] too"),
        ({"confidence": (0.0,) * 12}, "confidence has 12 values; it is a bias and at most 10 weights"),
        ({"confidence": (0.0,) * 23, "knots": (0.0,) * 11}, "knots has 11 values; it is at most 10"),
        ({"confidence_plain": (0.0,) * 21, "confidence": (0.0,) * 21, "knots": (0.0,) * 10}, "confidence_plain has 21"),
    ],
)
def test_weights_and_knots_that_do_not_belong_together(values: dict[str, tuple[float, ...]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        pixel_tracker({f"calibration.{name}": value for name, value in values.items()})


def test_a_score_can_be_switched_off_with_its_knots_left() -> None:
    check_weights(changed(TrackingConfig(), {"calibration.confidence": (), "calibration.knots": (0.0,) * F}))
    with pytest.raises(ConfigError, match="knots"):
        changed(TrackingConfig(), {"calibration.knots": (float("nan"),)})
