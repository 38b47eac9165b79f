"""Submissions: ours are taken, and every mistake that the server answers with silence is named."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.evaluation.test_runner_tool import tool
from tests.evaluation.trees import got10k_tree
from tracker.datasets.registry import load_dataset
from tracker.errors import OutputError
from tracker.evaluation.runner import evaluate_sequence, make_tasks
from tracker.evaluation.specs import parse_tracker
from tracker.evaluation.submission import check_zip, make_zip
from tracker.metrics import result_files


@pytest.fixture
def submission(tmp_path):
    """(data set, good zip)"""
    dataset = load_dataset("got10k", got10k_tree(tmp_path / "data", "test", 3, 7), "test")
    for task in make_tasks(dataset, [parse_tracker("still", None)], "ope"):
        result_files.write(tmp_path / "still", "got10k", evaluate_sequence(task))
    return dataset, make_zip(tmp_path / "still", dataset, tmp_path / "still.zip")


def rewrite(file: Path, change) -> Path:
    """A copy of a zip with `change(name, bytes) -> (name, bytes) | None` applied to every member."""
    target = file.with_name("changed.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            kept = change(name, old.read(name))
            if kept:
                new.writestr(*kept)
    return target


ONE = "GOT-10k_Test_000001/GOT-10k_Test_000001_001.txt"
CLOCK = "GOT-10k_Test_000001/GOT-10k_Test_000001_time.txt"


def only(which: str, change):
    return lambda name, data: (name, change(data)) if name == which else (name, data)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (only(ONE, lambda d: d.replace(b",", b" ")), "separated by spaces; they must be commas"),
        (only(ONE, lambda d: d.replace(b",", b"\t")), "separated by tabs"),
        (only(ONE, lambda d: d[: d.rindex(b"\n", 0, -1) + 1]), "6 lines for 7 frames"),
        (only(ONE, lambda d: d.replace(d.split(b"\n")[1], b"nan,1,2,3", 1)), "a value is not finite"),
        (only(ONE, lambda d: d + b"1,2,0,5\n"), "width and height must be above 0"),
        (only(ONE, lambda d: b"\n".join(line + b",1" for line in d.split())), "5 values; expected x,y,w,h"),
        (only(ONE, lambda d: b"\xef\xbb\xbf" + d), "byte order mark"),
        (only(ONE, lambda d: b"1,2,3,4\n" * 7), "line 1 must be the given box"),
        (only(ONE, lambda d: b""), "empty file"),
        (only(CLOCK, lambda d: b"\n".join(line + b",0.1" for line in d.split())), "2 columns for 1 repetition"),
        (only(CLOCK, lambda d: b"0.1\n"), "1 lines for 7 frames"),
        (lambda n, d: None if n == CLOCK else (n, d), "_time.txt is missing"),
        (lambda n, d: None if n == ONE else (n, d), "_001.txt is missing"),
        (lambda n, d: None if "000002" in n else (n, d), "1 of 3 sequences are missing: GOT-10k_Test_000002"),
        (lambda n, d: ("results/GOT-10k/still/" + n, d), "lie too deep, in results/GOT-10k/still/"),
        (lambda n, d: (n.replace("_001.txt", ".txt"), d), "file names other than"),
        (lambda n, d: (n.replace("Test", "Val"), d), "these are validation sequences"),
        (lambda n, d: (n.replace("000003", "000004"), d), "Folders that aren't test sequences: GOT-10k_Test_000004"),
        (lambda n, d: None, "The archive is empty"),
    ],
)
def test_mistakes_are_named(submission, change, sentence):
    dataset, good = submission
    mistakes = check_zip(rewrite(good, change), dataset)
    assert any(sentence in m for m in mistakes), mistakes


def test_ours_is_right(submission, tmp_path):
    dataset, good = submission
    assert check_zip(good, dataset) == []
    assert (
        check_zip(rewrite(good, lambda n, d: ("still/" + n, d)), dataset) == []
    )  # the server takes one folder above, too
    again = make_zip(tmp_path / "still", dataset, tmp_path / "again.zip")
    assert again.read_bytes() == good.read_bytes()


def test_not_a_zip(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"Rar!")
    assert "is not a zip archive" in check_zip(tmp_path / "x.zip")[0]


def test_without_the_data_the_180_names_are_known(submission):
    _, good = submission
    assert any("177 of 180 sequences are missing" in m for m in check_zip(good))


def test_an_unfinished_run_is_not_zipped(submission, tmp_path):
    dataset, _ = submission
    (tmp_path / "still" / CLOCK).unlink()
    with pytest.raises(OutputError, match="run the evaluation to its end first"):
        make_zip(tmp_path / "still", dataset, tmp_path / "x.zip")


def test_as_a_user_runs_it(tmp_path):
    root, out = got10k_tree(tmp_path / "data", "test", 2, 7), tmp_path / "out"
    done = tool("--dataset", "got10k", "--root", root, "--subset", "test", "--tracker", "still", "--output", out)
    assert done.returncode == 0, done.stderr
    file = out / "results" / "GOT-10k" / "still.zip"
    assert f"Submission: {file} (checked: nothing wrong)" in done.stdout
    assert tool("--check-zip", file, "--root", root).returncode == 0
    bad = tool("--check-zip", rewrite(file, lambda n, d: (n, d.replace(b",", b" "))), "--root", root)
    assert bad.returncode == 2 and "must be commas" in bad.stdout
