"""`tools/evaluate.py` killed and run again, and as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.evaluation.test_runner import ROOT
from tests.evaluation.trees import got10k_tree, otb_tree
from tracker.datasets.registry import load_dataset
from tracker.metrics.result_store import load_evaluation


def tool(*args: object, **kwargs) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **kwargs.pop("env", {})}
    command = [sys.executable, str(ROOT / "tools" / "evaluate.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False, **kwargs)


class TestKill:
    def test_kill_9_loses_at_most_one_sequence(self, tmp_path):
        names = ("Boy", "Car4", "Deer", "Dog", "Suv", "Toy")
        root = otb_tree(tmp_path / "data", names)
        out = tmp_path / "out"
        args = [
            "--dataset",
            "otb",
            "--root",
            root,
            "--tracker",
            "slow=python:tests.evaluation.trees:Slow",
            "--output",
            out,
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tools" / "evaluate.py"), *map(str, args)], env=env, stdout=subprocess.PIPE
        )
        deadline = time.time() + 60
        while len(list(out.glob("records/*/[!.]*.npz"))) < 2 and time.time() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = {p.stem: p.stat().st_mtime_ns for p in out.glob("records/*/[!.]*.npz")}
        assert 2 <= len(done) < len(names)
        again = tool(*args)
        assert again.returncode == 0, again.stderr
        assert f"{len(names) - len(done)} runs" in again.stdout and f"{len(done)} stored already" in again.stdout
        after = {p.stem: p.stat().st_mtime_ns for p in out.glob("records/*/[!.]*.npz")}
        assert set(after) == set(names)
        assert all(after[name] == when for name, when in done.items())
        assert not list(out.rglob("*.part*"))


class TestTool:
    def test_table_and_package(self, tmp_path):
        root = got10k_tree(tmp_path / "data")
        done = tool(
            "--dataset",
            "got10k",
            "--root",
            root,
            "--tracker",
            "still",
            "--output",
            tmp_path / "out",
            "--toolkit",
            "--attributes",
            "--explain",
        )
        assert done.returncode == 0, done.stderr
        assert "GOT-10k val: 4 runs, 56 frames" in done.stdout
        assert "ao" in done.stdout and "same" in done.stdout and "DIFFERENT" not in done.stdout
        assert "occlusion" in done.stdout
        evaluation = load_evaluation(tmp_path / "out")
        assert evaluation.primary[0] == "ao" and len(evaluation.results) == 4
        files = tmp_path / "out" / "results" / "GOT-10k" / "still" / "GOT-10k_Val_000001"
        assert sorted(p.name for p in files.iterdir()) == ["GOT-10k_Val_000001_001.txt", "GOT-10k_Val_000001_time.txt"]

    def test_several_data_sets_give_one_table(self, tmp_path):
        otb, got10k = otb_tree(tmp_path / "otb"), got10k_tree(tmp_path / "got")
        args = ("--data", f"easy=otb:{otb}", "--data", f"got10k:{got10k}:val", "--output", tmp_path / "out")
        trackers = ("--tracker", "still", "--tracker", "drift=python:tests.evaluation.trees:Drifter")
        done = tool(*args, *trackers)
        assert done.returncode == 0, done.stderr
        table = (tmp_path / "out" / "sets.md").read_text()
        assert table in done.stdout and "| AUC | easy (3) | got10k (4) | all (7) |" in table
        rows = {row["tracker"]: row for row in json.loads((tmp_path / "out" / "sets.json").read_text())}
        for label in ("easy", "got10k"):
            for one in load_evaluation(tmp_path / "out" / label).trackers:
                sequences = [s.values for s in one.sequences]
                if label == "easy":  # OTB's own table has the same number
                    mean = sum(v["auc"] for v in sequences) / len(sequences)
                    assert rows[one.tracker]["sets"][label]["value"] == pytest.approx(mean)
        first, second = list(rows.values())
        gap = second["all"]["value"] - first["all"]["value"]
        assert first["behind"] is None and second["behind"]["value"] == pytest.approx(gap) and gap <= 0
        assert second["behind"]["low"] <= gap <= second["behind"]["high"]
        again = tool(*args, *trackers)
        assert "0 runs, 0 frames, 6 stored already" in again.stdout

    def test_crash_tells_in_the_exit_code(self, tmp_path):
        root = otb_tree(tmp_path / "data")
        y = load_dataset("otb", root).sequences[0].init[1]
        args = (
            "--dataset",
            "otb",
            "--root",
            root,
            "--tracker",
            "python:tests.evaluation.trees:Moody",
            "--output",
            tmp_path / "out",
        )
        done = tool(*args, env={"MOODY_Y": str(y)})
        assert done.returncode == 1
        assert "Moody crashed on Boy: RuntimeError in frame 5: I am lost" in done.stderr
        assert "Traceback" not in done.stderr
        again = tool(*args)  # the mood has passed
        assert again.returncode == 0
        assert "1 runs, 12 frames, 2 stored already" in again.stdout

    def test_results_of_others(self, tmp_path):
        root = otb_tree(tmp_path / "data")
        tool("--dataset", "otb", "--root", root, "--tracker", "still", "--output", tmp_path / "one")
        done = tool(
            "--dataset", "otb", "--root", root, "--results", tmp_path / "one" / "results", "--output", tmp_path / "two"
        )
        assert done.returncode == 0, done.stderr
        a, b = load_evaluation(tmp_path / "one"), load_evaluation(tmp_path / "two")
        assert a.trackers[0].overall["auc"] == b.trackers[0].overall["auc"]

    @pytest.mark.parametrize(
        ("args", "sentence"),
        [
            ([], "--dataset NAME and --root DIR are needed"),
            (["--data", "otb:DATA", "--root", "DATA", "--tracker", "still"], "leave out --dataset, --root"),
            (["--data", "a/b=otb:DATA", "--tracker", "still"], "not a name for a folder"),
            (["--data", "otb:DATA", "--data", "otb:DATA", "--tracker", "still"], "given twice"),
            (["--dataset", "got10k", "--root", "DATA"], "Nothing to measure"),
            (["--dataset", "got10k", "--root", "DATA", "--tracker", "still"], "list.txt is missing"),
            (["--dataset", "otb", "--root", "DATA", "--tracker", "opencv:nonsense"], "no OpenCV tracker 'nonsense'"),
            (["--dataset", "otb", "--root", "DATA", "--tracker", "opencv:nano"], "needs model files"),
            (
                ["--dataset", "otb", "--root", "DATA", "--tracker", "still", "--tracker", "still"],
                "Two trackers are called 'still'",
            ),
            (["--dataset", "otb", "--root", "DATA", "--model", "no-such-model"], "no-such-model"),
            (
                ["--dataset", "otb", "--root", "DATA", "--tracker", "still", "--sequences", "Zebra*"],
                "No sequence of OTB",
            ),
            (["--dataset", "otb", "--root", "DATA", "--tracker", "still", "--protocol", "supervised"], "is VOT's"),
        ],
    )
    def test_mistakes_are_sentences(self, tmp_path, args, sentence):
        root = otb_tree(tmp_path / "data", ("Boy",), 3)
        done = tool(*[root if a == "DATA" else a for a in args], "--output", tmp_path / "out")
        assert done.returncode == 2
        assert sentence in done.stderr and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_another_data_set_needs_another_output(self, tmp_path):
        otb_tree(tmp_path / "otb", ("Boy",), 3)
        got10k_tree(tmp_path / "got", count=1)
        out = tmp_path / "out"
        assert (
            tool("--dataset", "otb", "--root", tmp_path / "otb", "--tracker", "still", "--output", out).returncode == 0
        )
        done = tool("--dataset", "got10k", "--root", tmp_path / "got", "--tracker", "still", "--output", out)
        assert done.returncode == 2 and "choose another --output" in done.stderr

    def test_help_is_quick(self):
        tool("--help")
        begin = time.perf_counter()
        assert "--ray" in tool("--help").stdout
        assert time.perf_counter() - begin < 3  # < 1 s on an idle machine
