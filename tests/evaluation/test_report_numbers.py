"""The numbers of a report: intervals, losses, tallies, strips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.test_report import make_evaluation, make_result
from tracker.evaluation.report import tables
from tracker.evaluation.report.strips import TILE, find_losses, make_strips, overlap_track, tally
from tracker.metrics.results import FAILURE, INIT, TRACKED


def test_intervals_hold_the_number_and_are_seeded() -> None:
    evaluation = make_evaluation(None)
    table = tables.headline(evaluation, samples=500, seed=1)
    assert table == tables.headline(evaluation, samples=500, seed=1)
    assert table.columns[:3] == ("auc", "precision20", "norm_precision20") and table.columns[-1] == "fps"
    for row, tracker in zip(table.rows, evaluation.trackers, strict=True):
        auc = row.values["auc"]
        assert auc.value == tracker.overall["auc"] and auc.low < auc.value < auc.high and auc.count == 5
    behind = table.rows[1].behind
    assert table.rows[0].behind is None and behind is not None
    assert behind.value == pytest.approx(evaluation.trackers[1].overall["auc"] - evaluation.trackers[0].overall["auc"])
    assert behind.high < 0


def test_pooled_and_class_balanced_numbers_get_their_own_intervals() -> None:
    evaluation = make_evaluation(None, rules="got10k")
    row = tables.headline(evaluation, samples=300).rows[1]
    for name in ("ao", "sr50", "mao", "msr50"):
        interval = row.values[name]
        assert interval.value == evaluation.trackers[1].overall[name]
        assert interval.known and interval.low <= interval.value <= interval.high, name
    # Resampling can't reproduce a number that isn't a mean of any of these kinds: no interval then.
    first = evaluation.trackers[0]
    odd = replace(first, overall={**first.overall, "ao": 0.123})
    assert not tables.headline(replace(evaluation, trackers=(odd,)), samples=200).rows[0].values["ao"].known


def test_losses_are_runs_without_overlap() -> None:
    result = make_result("t", "s", None, 1.0, lose=slice(8, 16))
    (loss,) = find_losses(result)
    assert (loss.start, loss.end, loss.frames, loss.last_good, loss.found) == (8, 15, 8, 7, 16)
    assert find_losses(result, run=9) == []
    hidden = replace(result, valid=~((np.arange(24) >= 10) & (np.arange(24) < 14)))
    assert find_losses(hidden) == [] and np.isnan(overlap_track(hidden)[10])
    assert find_losses(hidden, run=4)[0].frames == 4, "frames that don't count neither break nor lengthen a run"
    gone = make_result("t", "s", None, 1.0, lose=slice(20, 24))
    assert find_losses(gone, run=4)[0].found is None


def test_every_failure_of_the_supervised_protocol_is_a_loss() -> None:
    codes = np.full(24, TRACKED, dtype=np.int8)
    codes[0] = INIT
    codes[7] = FAILURE
    codes[8:12] = 0
    codes[12] = INIT
    result = make_result("t", "s", None, 1.0, codes=codes)
    boxes = result.boxes.copy()
    boxes[codes != TRACKED] = np.nan
    (loss,) = find_losses(replace(result, boxes=boxes))
    assert (loss.start, loss.end) == (7, 7)


def test_tally_says_whether_the_tracker_knew() -> None:
    good, poor = tally(make_evaluation(None))
    assert good.losses == 0 and np.isnan(good.flagged) and good.frames_lost == 0
    assert (poor.losses, poor.sequences, poor.total, poor.recovered) == (2, 2, 5, 1)
    assert poor.flagged == 1.0 and poor.false_alarms == 0.0 and poor.frames_lost == pytest.approx(22 / 115)


def test_strips_show_the_way_into_the_loss(tmp_path: Path) -> None:
    evaluation = make_evaluation(tmp_path)
    strips = make_strips(list(evaluation.results_of("poor").values()), 3)
    assert [s.loss.sequence for s in strips] == ["b-seq-1", "a-seq-0"], "the longest first"
    strip = strips[1]
    assert strip.tiles[0].index == strip.loss.last_good == 7 and strip.tiles[-1].index == strip.loss.found
    assert all(t.image.shape == (TILE[1], TILE[0], 3) for t in strip.tiles)
    colours = strip.tiles[2].image.reshape(-1, 3).astype(int)
    for colour in ((240, 201, 76), (0, 123, 255)):
        assert (np.abs(colours - colour).max(axis=1) < 12).sum() > 20, "both boxes are drawn"
    without = make_strips([replace(r, frames=()) for r in evaluation.results_of("poor").values()], 1)
    assert without[0].tiles == ()
