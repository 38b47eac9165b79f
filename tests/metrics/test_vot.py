"""The numbers of VOT."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.evaluation.trees import Drifter, vot_tree
from tests.metrics.test_metrics import quietly, result
from tracker.datasets.registry import load_dataset
from tracker.evaluation.summary import measure
from tracker.metrics import vot
from tracker.metrics.results import FAILURE, INIT, SKIPPED, TRACKED


class TestVot:
    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        """got10k's supervised experiment, with what numpy 2 broke in it mended."""
        from got10k.datasets import VOT
        from got10k.experiments import ExperimentVOT
        from got10k.experiments import vot as module
        from got10k.utils.metrics import poly_iou

        monkeypatch.setattr(np, "NaN", np.nan, raising=False)
        monkeypatch.setattr(module, "poly_iou", lambda *args, **kwargs: float(np.squeeze(poly_iou(*args, **kwargs))))
        root = vot_tree(tmp_path / "VOT2018")

        class Package(ExperimentVOT):
            def __init__(self):
                super_init = dict(download=False, return_meta=True, anno_type="default", version=2018)
                self.dataset = VOT(str(root), **super_init)
                self.result_dir, self.report_dir = str(tmp_path / "results" / "VOT2018"), str(tmp_path / "reports")
                self.read_image, self.skip_initialize, self.burnin, self.repetitions = True, 5, 10, 1
                self.tags = ["camera_motion", "illum_change", "occlusion", "size_change", "motion_change", "empty"]

        class Theirs(Drifter):
            name, is_deterministic = "drifter", True

        experiment = Package()
        quietly(lambda: experiment.run_supervised(Theirs()))
        return root, tmp_path / "results", quietly(lambda: experiment.report(["drifter"]))["drifter"]

    def test_same_run_and_same_numbers(self, package):
        from tests.evaluation.test_runner import run_spec

        root, results, theirs = package
        dataset = load_dataset("vot", root)
        ours = run_spec("python:tests.evaluation.trees:Drifter", dataset, "supervised")
        assert sum(int((r.codes == FAILURE).sum()) for r in ours) > 1
        for own in ours:
            file = results / "VOT2018" / "drifter" / "baseline" / own.sequence / f"{own.sequence}_001.txt"
            lines = file.read_text().splitlines()
            assert [("," in line and TRACKED) or int(line) for line in lines] == own.codes.tolist()
            boxes = np.array([[float(v) for v in line.split(",")] if "," in line else [np.nan] * 4 for line in lines])
            np.testing.assert_allclose(own.boxes, boxes, atol=1e-4)
        table = measure(dataset, "drifter", ours, "supervised")
        assert table.overall["accuracy_tags"] == pytest.approx(theirs["accuracy"], abs=1e-4)
        assert table.overall["failures_tags"] == pytest.approx(theirs["robustness"])

    def test_expected_overlap_by_hand(self):
        # 10 frames: tracked with overlap 0.5 in 1..3, failed in 4, again from 9 = the end.
        codes = np.array([INIT, *[TRACKED] * 3, FAILURE, *[SKIPPED] * 4, INIT], dtype=np.int8)
        truth = np.tile([[10.0, 10, 20, 20]], (10, 1))
        boxes = np.where((codes == TRACKED)[:, None], [[10.0, 10, 20, 10]], np.nan)
        one = result(boxes, truth, codes=codes)
        curve = vot.expected_overlap_curve([one])
        expected = [1, 0.5, 0.5, 0.5, 1.5 / 4, 1.5 / 5, 1.5 / 6, 1.5 / 7, 1.5 / 8, 1.5 / 9]
        np.testing.assert_allclose(curve, expected)
        assert vot.expected_average_overlap([one], (2, 4)) == pytest.approx(0.5)
        table = vot.vot_metrics("t", [one], (2, 4)).overall
        assert table["failures"] == 1 and table["robustness"] == pytest.approx(10)
        assert math.isnan(table["accuracy"])  # nothing lies outside the burn-in
        assert table["reliability30"] == pytest.approx(math.exp(-3))

    def test_expected_overlap_averages_only_what_is_long_enough(self):
        truth = np.tile([[10.0, 10, 20, 20]], (6, 1))
        long = result(truth, truth, codes=np.array([INIT, *[TRACKED] * 5], dtype=np.int8))
        half = truth[:3].copy()
        half[:, 3] = 10
        short = result(half, truth[:3], codes=np.array([INIT, TRACKED, TRACKED], dtype=np.int8))
        np.testing.assert_allclose(vot.expected_overlap_curve([long, short]), [1, 0.75, 0.75, 1, 1, 1])
