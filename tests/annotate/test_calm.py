"""Calm boxes: what trembles is still, what moves goes on, gaps and ends stay."""

from __future__ import annotations

import numpy as np

from tracker.annotate.retrack import calm
from tracker.measure.smooth import jitter


def test_a_straight_walk_stays_as_it_is_to_the_last_box() -> None:
    boxes = np.array([(10.0 + 3 * k, 5 - k, 40, 30) for k in range(60)])
    assert np.allclose(calm(boxes), boxes)
    assert calm(boxes[:3]).tolist() == boxes[:3].tolist()


def test_trembling_goes_and_the_way_stays() -> None:
    rng = np.random.default_rng(0)
    true = np.array([(100 + 60 * np.sin(k / 20), 100 + 20 * np.cos(k / 15), 40 + k / 10, 30) for k in range(200)])
    seen = true + rng.normal(0, 1.5, true.shape)
    quiet = calm(seen)
    assert jitter(quiet) < 0.3 * jitter(seen)
    assert np.abs(quiet - true).mean() < 0.6 * np.abs(seen - true).mean()


def test_a_fast_target_is_not_cut_short_and_gaps_stay() -> None:
    boxes = np.array([(300 + 90 * np.sin(k / 2), 50.0, 30, 30) for k in range(60)])
    assert np.abs(calm(boxes) - boxes).max() < 12
    boxes[20:25] = np.nan
    quiet = calm(boxes)
    assert (np.isfinite(quiet) == np.isfinite(boxes)).all()
    assert np.allclose(quiet[[0, 19, 25, 59]], boxes[[0, 19, 25, 59]], atol=6)
