"""Runs: the same boxes however they are run, resume, crashes, stale and foreign results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.trees import otb_tree
from tracker.datasets.registry import load_dataset
from tracker.errors import ConfigError, OutputError, WeightsError
from tracker.evaluation.baselines import factory, model_files
from tracker.evaluation.pool import run_tasks
from tracker.evaluation.runner import RunStore, evaluate_sequence, make_tasks
from tracker.evaluation.specs import TrackerSpec, parse_model, parse_tracker
from tracker.metrics import result_files
from tracker.metrics.results import SequenceResult

ROOT = Path(__file__).resolve().parents[2]


def run_spec(text: str, dataset, protocol: str = "ope") -> list[SequenceResult]:
    return [evaluate_sequence(t) for t in make_tasks(dataset, [parse_tracker(text, None)], protocol)]


def by_name(results) -> dict[str, SequenceResult]:
    return {r.sequence: r for r in results}


@pytest.fixture
def otb(tmp_path):
    return load_dataset("otb", otb_tree(tmp_path / "data"))


class TestSame:
    def test_processes_give_the_same_boxes(self, otb):
        tasks = make_tasks(
            otb, [parse_tracker("python:tests.evaluation.trees:Drifter", None), parse_tracker("still", None)], "ope"
        )
        here = {(r.tracker, r.sequence): r for r in map(evaluate_sequence, tasks)}
        there = {(r.tracker, r.sequence): r for r in run_tasks(tasks, workers=2)}
        assert here.keys() == there.keys()
        assert all(np.array_equal(here[k].boxes, there[k].boxes) for k in here)

    @pytest.mark.slow
    def test_two_ray_nodes_give_the_same_boxes(self, otb, monkeypatch):
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        monkeypatch.setenv(
            "PYTHONPATH", str(ROOT)
        )  # the nodes must find the tests' trackers; the package itself travels along
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        tasks = make_tasks(otb, [parse_tracker("python:tests.evaluation.trees:Drifter", None)], "ope")
        here = by_name(map(evaluate_sequence, tasks))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            cluster.add_node(num_cpus=1)
            there = by_name(run_tasks(tasks, ray_address=cluster.address))
        finally:
            cluster.shutdown()
        assert [r.error for r in there.values()] == [""] * 3
        assert all(np.array_equal(here[k].boxes, there[k].boxes) for k in here)

    def test_rounded_as_the_files_are(self, otb, tmp_path):
        own = run_spec("python:tests.evaluation.trees:Drifter", otb)
        for result in own:
            result_files.write(tmp_path / "mine", "otb", result)
        read = result_files.read_results(tmp_path / "mine", "mine", otb)
        for a, b in zip(own, read, strict=True):
            assert np.array_equal(a.boxes, b.boxes)
            assert np.array_equal(a.times, b.times)

    def test_decoding_is_apart(self, otb):
        result = run_spec("still", otb)[0]
        assert (result.decode_times > result.times).all()


class TestCrashes:
    """One tracker misbehaves in frame 5 of one sequence."""

    @pytest.fixture
    def moody(self, otb, monkeypatch):
        def run(how: str) -> dict[str, SequenceResult]:
            monkeypatch.setenv("MOODY", how)
            monkeypatch.setenv("MOODY_Y", str(otb.sequences[1].init[1]))
            tasks = make_tasks(otb, [parse_tracker("python:tests.evaluation.trees:Moody", None)], "ope")
            return by_name(run_tasks(tasks, workers=1))

        return run

    @pytest.mark.parametrize(
        ("how", "sentence"),
        [
            ("raise", "RuntimeError in frame 5: I am lost"),
            ("nan", "isn't a box of four finite numbers"),
            ("exit", "the process died with exit code 11"),
        ],
    )
    def test_the_others_go_on(self, otb, moody, how, sentence):
        results = moody(how)
        assert len(results) == 3
        assert sentence in results["Car4"].error
        assert not results["Boy"].error and not results["Deer"].error
        assert np.isnan(results["Car4"].boxes[5:]).all()

    def test_unbuildable_is_a_sentence(self, otb):
        tasks = make_tasks(otb, [parse_tracker("python:tests.evaluation.trees:Unbuildable", None)], "ope")
        with pytest.raises(ConfigError, match="Unbuildable can't be built: OSError: no licence file"):
            list(run_tasks(tasks))

    def test_a_damaged_image_is_the_datas_fault(self, otb):
        Path(otb.sequences[0].frames[4]).write_bytes(b"not a picture")
        first = run_spec("still", otb)[0]
        assert first.error.startswith("the data in frame 4")


class TestStore:
    def test_only_the_same_key_is_reused(self, otb, tmp_path):
        spec = parse_tracker("still", None)
        (task, *_) = make_tasks(otb, [spec], "ope")
        store = RunStore(tmp_path / "out", otb)
        store.save(evaluate_sequence(task))
        assert store.load(task) is not None
        other = TrackerSpec("still", "still", "still", (("x", "y"),))
        assert make_tasks(otb, [other], "ope")[0].fingerprint == task.fingerprint  # options that a box can't depend on
        changed = type(task)(task.spec, task.sequence, task.dataset, task.protocol, "0" * 64)
        assert store.load(changed) is None

    def test_a_damaged_record_is_made_again(self, otb, tmp_path):
        (task, *_) = make_tasks(otb, [parse_tracker("still", None)], "ope")
        store = RunStore(tmp_path, otb)
        store.save(evaluate_sequence(task))
        (record,) = tmp_path.glob("records/*/*.npz")
        record.write_bytes(record.read_bytes()[:100])
        assert store.load(task) is None

    def test_results_of_another_key_are_moved_aside(self, tmp_path):
        folder = tmp_path / "OTB" / "mine"
        result_files.claim(folder, "a" * 64)
        folder.mkdir()
        (folder / "Boy.txt").write_text("1,2,3,4\n")
        result_files.claim(folder, "a" * 64)
        assert (folder / "Boy.txt").exists()
        result_files.claim(folder, "b" * 64)
        assert not folder.exists()
        assert (tmp_path / "OTB" / "mine@aaaaaaaaaaaa" / "Boy.txt").exists()

    def test_foreign_results_are_left_alone(self, tmp_path):
        folder = tmp_path / "OTB" / "mine"
        folder.mkdir(parents=True)
        (folder / "Boy.txt").write_text("1,2,3,4\n")
        with pytest.raises(OutputError, match="weren't written by this program"):
            result_files.claim(folder, "a" * 64)

    def test_fingerprint_follows_the_weights(self, tmp_path):
        weights = tmp_path / "model.safetensors"
        prints = []
        for content in (b"one", b"two"):
            weights.write_bytes(content)
            prints.append(parse_model(str(weights), {"device": "cpu"}).fingerprint())
        prints.append(
            parse_model(str(weights), {"device": "cpu", "overrides": "tracking.window_influence=0.3"}).fingerprint()
        )
        assert len(set(prints)) == 3
        assert parse_model(f"mine={weights}", {}).label == "mine"


class TestBaselines:
    def test_what_the_installed_opencv_lacks_is_a_sentence(self, monkeypatch):
        import cv2

        monkeypatch.delattr(cv2, "TrackerCSRT_create", raising=False)
        monkeypatch.delattr(cv2, "legacy", raising=False)
        with pytest.raises(ConfigError, match=r"has no tracker CSRT; it has .*mil.*opencv-contrib-python"):
            factory("csrt")

    def test_model_files_from_several_folders(self, tmp_path):
        for name in ("a/nano_backbone.onnx", "b/nano_neckhead.onnx"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).write_bytes(b"")
        found = model_files("nano", f"{tmp_path / 'a'}\n{tmp_path / 'b'}")
        assert {k: p.name for k, p in found.items()} == {
            "backbone": "nano_backbone.onnx",
            "neckhead": "nano_neckhead.onnx",
        }
        with pytest.raises(WeightsError, match="needs a file"):
            model_files("nano", str(tmp_path / "a"))

    def test_mil_runs(self, otb):
        result = run_spec("opencv:mil", otb)[0]
        assert not result.error and np.isfinite(result.boxes).all()
