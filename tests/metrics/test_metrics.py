"""Golden tests: our numbers are those of the got10k package on the same files, and of hand calculation where it has
none."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.trees import SIZE, got10k_tree, otb_tree, wobble
from tracker.datasets.base import Dataset
from tracker.datasets.registry import load_dataset
from tracker.evaluation.summary import measure
from tracker.metrics import result_files, vot
from tracker.metrics import success as metrics
from tracker.metrics.results import SequenceResult

pytest.importorskip("got10k.experiments")


def write_results(folder: Path, dataset: Dataset, seed: int = 0) -> None:
    """Files of a mediocre tracker, by the package's own formats."""
    rng = np.random.default_rng(seed)
    for k, sequence in enumerate(dataset.sequences):
        boxes, times = result_files.paths(folder, dataset.layout, sequence.name)
        boxes.parent.mkdir(parents=True, exist_ok=True)
        times.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(boxes, wobble(np.nan_to_num(sequence.truth), seed + k), fmt="%.3f", delimiter=",")
        np.savetxt(times, rng.uniform(0.001, 0.1, len(sequence)), fmt="%.8f", delimiter=",")


def quietly(call):
    with contextlib.redirect_stdout(io.StringIO()):
        return call()


class TestOverlap:
    def test_same_bits_as_the_package(self):
        from got10k.utils.metrics import center_error, rect_iou

        rng = np.random.default_rng(0)
        a, b = rng.uniform(-60, 120, (2, 4000, 4))
        a[:, 2:], b[:, 2:] = np.abs(a[:, 2:]), np.abs(b[:, 2:])
        b[:50] = 0
        a[50:100, 2:] = 0
        for bound in (None, (100, 80)):
            theirs = rect_iou(a.copy(), b.copy(), bound=bound)  # it changes its inputs
            assert np.array_equal(metrics.toolkit_iou(a, b, bound), theirs)
        assert np.array_equal(metrics.centre_error(a, b), center_error(a, b))

    def test_negative_corner_is_shifted_there_and_clipped_here(self):
        box, truth = np.array([[-50.0, 0, 100, 100]]), np.array([[0.0, 0, 50, 100]])
        assert metrics.toolkit_iou(box, truth, (200, 200))[0] == pytest.approx(0.5)
        assert metrics.exact_iou(box, truth, (200, 200))[0] == pytest.approx(1.0)

    def test_missing_boxes_are_misses(self):
        nan, truth = np.full((1, 4), np.nan), np.array([[0.0, 0, 5, 5]])
        assert metrics.toolkit_iou(nan, truth)[0] == 0
        assert metrics.centre_error(nan, truth)[0] == np.inf
        assert metrics.normalised_error(nan, truth)[0] == np.inf

    def test_polygons_agree_with_shapely(self):
        from got10k.utils.metrics import poly_iou

        rng = np.random.default_rng(1)
        for _ in range(300):
            centre, half, angle = rng.uniform(-10, 90, 2), rng.uniform(2, 40, 2), rng.uniform(0, 3)
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ turn.T + centre).reshape(8)
            box = np.concatenate([rng.uniform(-20, 80, 2), rng.uniform(1, 60, 2)])
            for region in (corners, np.abs(corners[:4]) + 1):
                theirs = float(poly_iou(region, box, bound=SIZE)[0])
                assert vot.region_overlap(box, region, SIZE) == pytest.approx(theirs, abs=1e-9)


class TestGot10k:
    @pytest.fixture
    def report(self, tmp_path):
        """The package's own pipeline (its reader too) and our tables, on the same two trackers."""
        from got10k.experiments import ExperimentGOT10k

        root = got10k_tree(tmp_path / "data")
        dataset = load_dataset("got10k", root)
        for seed, name in enumerate(("good", "bad")):
            write_results(tmp_path / "results" / "GOT-10k" / name, dataset, seed)
        experiment = ExperimentGOT10k(str(root), "val", str(tmp_path / "results"), str(tmp_path / "reports"))
        theirs = quietly(lambda: experiment.report(["good", "bad"]))
        ours = {
            n: measure(dataset, n, result_files.read_results(tmp_path / "results" / "GOT-10k" / n, n, dataset), "ope")
            for n in ("good", "bad")
        }
        return theirs, ours

    def test_identical_numbers(self, report):
        theirs, ours = report
        for name, table in ours.items():
            overall = theirs[name]["overall"]
            assert table.overall["ao"] == overall["ao"]
            assert table.overall["sr50"] == overall["sr"]
            assert table.overall["fps"] == pytest.approx(overall["speed_fps"], rel=1e-12)
            assert list(table.curves["success"].values) == overall["succ_curve"]
            for row in table.sequences:
                assert row.values["ao"] == theirs[name]["seq_wise"][row.sequence]["ao"]
                assert row.values["sr50"] == theirs[name]["seq_wise"][row.sequence]["sr"]

    def test_class_means_by_hand(self, report):
        _, ours = report
        rows = [r.values["ao"] for r in ours["good"].sequences]
        by_hand = np.mean([np.mean(rows[0::2]), np.mean(rows[1::2])])  # cat, dog, cat, dog
        assert ours["good"].overall["mao"] == pytest.approx(by_hand)
        assert ours["good"].overall["ao_sequences"] == pytest.approx(np.mean(rows))

    def test_clipped_overlap_differs_at_the_border(self, report):
        _, ours = report
        assert ours["good"].overall["ao_exact"] != ours["good"].overall["ao"]

    def test_attributes_count_visible_frames_only(self, report):
        _, ours = report
        table = ours["good"].attributes
        assert table["all"]["frames"] == 4 * 12  # 14 frames, without the first and the invisible one
        assert table["occlusion"]["frames"] == 4 * 2
        assert "absent" not in table


class TestOtb:
    def test_identical_numbers(self, tmp_path):
        from got10k.experiments import ExperimentOTB

        root = otb_tree(tmp_path / "data")
        dataset = load_dataset("otb", root)
        write_results(tmp_path / "results" / "OTB" / "mine", dataset)

        class Package(ExperimentOTB):  # its constructor downloads; its curves, speeds and means are what is compared
            def __init__(self):
                self.dataset = [(list(s.frames), s.truth.copy()) for s in dataset.sequences]
                self.result_dir, self.report_dir = str(tmp_path / "results" / "OTB"), str(tmp_path / "reports")
                self.nbins_iou, self.nbins_ce = 21, 51

            def plot_curves(self, names):
                return None

        class Names(list):
            seq_names = dataset.names

        package = Package()
        package.dataset = Names(package.dataset)
        theirs = quietly(lambda: package.report(["mine"]))["mine"]
        ours = measure(
            dataset, "mine", result_files.read_results(tmp_path / "results" / "OTB" / "mine", "mine", dataset), "ope"
        )
        assert list(ours.curves["success"].values) == theirs["overall"]["success_curve"]
        assert list(ours.curves["precision"].values) == theirs["overall"]["precision_curve"]
        assert ours.overall["auc"] == theirs["overall"]["success_score"]
        assert ours.overall["precision20"] == theirs["overall"]["precision_score"]
        assert ours.overall["success50"] == theirs["overall"]["success_rate"]
        assert ours.overall["fps"] == pytest.approx(theirs["overall"]["speed_fps"], rel=1e-12)
        for row in ours.sequences:
            assert row.values["auc"] == theirs["seq_wise"][row.sequence]["success_score"]

    def test_perfect_and_lost(self):
        truth = np.tile([[10.0, 10, 20, 20]], (5, 1))
        perfect = metrics.otb_metrics("p", [result(truth, truth)])
        assert perfect.overall["auc"] == pytest.approx(20 / 21)  # at threshold 1 nothing counts
        assert perfect.overall["precision20"] == 1
        lost = metrics.otb_metrics("l", [result(truth + np.array([500, 0, 0, 0]), truth)])
        assert lost.overall["auc"] == pytest.approx(20 / 21 / 5)  # the first frame is a present
        assert lost.overall["auc_tracked"] == 0
        assert lost.overall["norm_precision_auc"] == pytest.approx(1 / 5)

    def test_normalised_precision_conventions(self):
        truth = np.tile([[10.0, 10, 20, 40]], (5, 1))
        off = truth + np.array([4.0, 0, 0, 0])  # 4 px of a width of 20: relative error 0.2
        table = metrics.otb_metrics("t", [result(off, truth)]).overall
        assert table["norm_precision20"] == 1
        assert table["norm_precision_auc"] == pytest.approx((51 + 4 * 31) / 5 / 51)

    def test_frames_without_target(self):
        truth = np.tile([[10.0, 10, 20, 20]], (4, 1))
        truth[2:] = np.nan
        table = metrics.otb_metrics(
            "t", [result(np.nan_to_num(truth, nan=1.0), truth, valid=np.isfinite(truth[:, 0]))]
        ).overall
        assert table["auc"] == pytest.approx(20 / 21)
        assert table["auc_all_frames"] == pytest.approx(20 / 21 / 2)


def result(boxes, truth, valid=None, codes=None) -> SequenceResult:
    count, nan = len(truth), np.full(len(truth), np.nan)
    valid = np.ones(count, bool) if valid is None else valid
    return SequenceResult(
        "t", "d", "s", boxes, truth, valid, nan, nan, nan, np.zeros(count, bool), size=SIZE, codes=codes
    )


class TestSpeed:
    def test_mean_of_rates_is_not_frames_over_time(self):
        truth = np.tile([[1.0, 1, 5, 5]], (3, 1))
        one = result(truth, truth)
        object.__setattr__(one, "times", np.array([9.0, 0.1, 0.3]))
        numbers = metrics.speed([one], True)
        assert numbers["fps"] == pytest.approx(np.mean([1 / 9, 10, 1 / 0.3]))
        assert numbers["fps_total"] == pytest.approx(2 / 0.4)  # updates only
        assert math.isnan(numbers["decode_ms"])


def test_toolkit_option_uses_the_package(tmp_path):
    from tracker.evaluation.toolkit import toolkit_report

    dataset = load_dataset("got10k", got10k_tree(tmp_path / "data"))
    write_results(tmp_path / "results" / "GOT-10k" / "mine", dataset)
    theirs = toolkit_report(tmp_path / "results", dataset, ["mine"])["mine"]
    ours = measure(
        dataset, "mine", result_files.read_results(tmp_path / "results" / "GOT-10k" / "mine", "mine", dataset), "ope"
    )
    assert theirs["ao"] == pytest.approx(ours.overall["ao"], abs=1e-12)
    assert json.dumps(theirs)


def test_one_pass_gives_a_row_for_each_frame() -> None:
    from types import SimpleNamespace

    from tracker.metrics.one_pass import run_one_pass

    class Sliding:
        def init(self, image: Any, box: Any) -> None:
            self.box = np.asarray(box, np.float64)

        def update(self, image: Any) -> Any:
            self.box = self.box + np.array([2, 0, 0, 0])
            return SimpleNamespace(box=self.box, score=0.5, visible=self.box[0] < 15)

    run = run_one_pass(Sliding(), [np.zeros((40, 60, 3), np.uint8)] * 4, (10, 5, 8, 8))
    assert run.boxes[:, 0].tolist() == [10, 12, 14, 16] and run.size == (60, 40)
    assert run.scores.tolist() == [1, 0.5, 0.5, 0.5] and run.visible.tolist() == [True, True, True, False]
