"""tools/findtest.py as a user runs it, and how pairs are made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tracking.standin import pixel_tracker
from tests.tracking.test_tools import footage, model, otb, tool  # noqa: F401 - fixtures
from tracker.datasets.base import SequenceData
from tracker.errors import ConfigError
from tracker.evaluation.robustness.finding import (
    GENUINE,
    OTHER_CLASS,
    SAME_CLASS,
    Finding,
    learn,
    look,
    markdown,
    pairs,
    rate,
)


def clip(name: str, count: int = 40) -> SequenceData:
    truth = np.ones((count, 4))
    return SequenceData(name, tuple(f"{name}-{k}" for k in range(count)), truth, np.ones(count, np.bool_), truth[0])


def test_each_clip_meets_itself_its_class_and_another() -> None:
    clips = [clip("a"), clip("b"), clip("c"), clip("short", 5), clip("unnamed")]
    classes = {"a": "car", "b": "dog", "c": "car", "short": "car"}
    found = {(k.name, o.name, kind) for k, o, kind in pairs(clips, classes)}
    assert found == {
        ("a", "a", GENUINE),
        ("a", "c", SAME_CLASS),
        ("a", "b", OTHER_CLASS),
        ("b", "b", GENUINE),
        ("b", "c", OTHER_CLASS),
        ("c", "c", GENUINE),
        ("c", "a", SAME_CLASS),
        ("c", "b", OTHER_CLASS),
    }
    with pytest.raises(ConfigError, match="two are needed"):
        list(pairs(clips, {"a": "car"}))


def test_rates_by_hand() -> None:
    rows = [
        Finding("a", "a", GENUINE, 10, 8, 5),
        Finding("b", "b", GENUINE, 10, 4, 0),
        Finding("a", "c", SAME_CLASS, 10, 1, 0),
    ]
    searches, frames = rate(rows, GENUINE)
    assert searches.value == 0.5 and frames.value == 0.25
    assert rate(rows, SAME_CLASS)[1].value == 0.1 and rate(rows, OTHER_CLASS)[0].count == 0
    assert "| another of its class | 1 | 100.0 % | 10.0 % |" in markdown(
        rows
    ) and "| another class | 0 | - | - |" in markdown(rows)


def test_a_target_is_learnt_and_found_in_the_rest_of_its_clip(otb: Path) -> None:  # noqa: F811
    from tracker.datasets.registry import load_dataset

    one, two = load_dataset("otb", otb, None, None).sequences
    tracker = pixel_tracker()
    known = learn(tracker, one)
    frames, reported, right = look(tracker, known, one, 12)
    assert frames == 12 and right >= 8 and reported >= right
    assert look(tracker, known, two, 12)[1] == 0


def test_the_tool_writes_a_table(model: Path, otb: Path, tmp_path: Path) -> None:  # noqa: F811
    names = tmp_path / "classes.csv"
    names.write_text("# clip,class\nOne,thing\nTwo,thing\n")
    command = ("findtest", "--data", f"otb:{otb}", "--model", model, "--classes", names)
    done = tool(*command, "--frames", 3, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "findtest.json").read_text())
    assert [(r["known"], r["clip"]) for r in rows] == [("One", "One"), ("One", "Two"), ("Two", "Two"), ("Two", "One")]
    assert "| another of its class | 2 |" in done.stdout
    names.write_text("One;thing\n")
    bad = tool(*command)
    assert bad.returncode == 2 and "line 1" in bad.stderr and "Traceback" not in bad.stderr
