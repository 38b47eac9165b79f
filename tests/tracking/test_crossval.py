"""tools/crossval.py as a user runs it: no clip is judged by a score that saw its source, and a stopped run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.test_tools import clip_run, model, otb, tool  # noqa: F401 - fixtures
from tracker.datasets.base import SequenceData
from tracker.errors import ConfigError
from tracker.evaluation.robustness.crossval import Member, halves, judge_clip
from tracker.evaluation.robustness.crossval_table import markdown


def member(label: str, source: str, name: str = "x") -> Member:
    truth = np.ones((2, 4))
    return Member(label, SequenceData(name, ("a", "b"), truth, np.ones(2, np.bool_), truth[0]), source)


@given(st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=30).filter(lambda s: len(set(s)) > 1))
def test_a_source_is_on_one_side_and_sides_are_alike(sources: list[str]) -> None:
    members = [member("set", s) for s in sources]
    sides = halves(members)
    of = {s: {side for side, m in zip(sides, members, strict=True) if m.source == s} for s in set(sources)}
    assert all(len(found) == 1 for found in of.values())
    assert abs(sum(found == {0} for found in of.values()) - sum(found == {1} for found in of.values())) <= 1


def test_one_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="two are needed"):
        halves([member("a", "same"), member("a", "same")])


def test_numbers_of_a_clip_by_hand() -> None:
    on = clip_run([1, 1, 0, 1, 0], [1, 0.6, 0.7, 0.3, 0.1], [0, 0, 0, 0, 0])
    off = clip_run([1] * 5, [1, 0.5, 0.5, 0.5, 0.5], [0] * 5)
    away = clip_run([1, 1, 1, 0, 0, 1], [1, 0.9, 0, 0, 0.2, 0.9], [0, 0, 1, 1, 0, 0])
    row = judge_clip(member("a", "s"), 1, on, off, [away])
    assert (row.followed, row.falsely_lost) == (2, 1)  # frame 1 is left out
    assert (row.absent, row.absent_reported, row.absences, row.found) == (2, 1, 1, 1)
    assert row.auc_visible < row.auc_on < row.auc_off + 0.1 and row.half == 1
    table = markdown([row], per_clip=True)
    assert "| a (1) |" in table and "50.0 %" in table and "| a/x | B |" in table


def test_the_tool_goes_on_where_it_was_stopped(model: Path, otb: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "out"
    command = ("crossval", "--data", f"set=otb:{otb}", "--model", model, "--kinds", "cut", "--output", out)
    done = tool(*command, "--frames", 36, "--per-sequence")
    assert done.returncode == 0, done.stderr
    assert "| set (2) |" in done.stdout and "set/One: sampled" in done.stdout
    clips = json.loads((out / "crossval.json").read_text())["clips"]
    assert {c["half"] for c in clips} == {0, 1} and all(0 <= c["auc_on"] <= 1 and c["absent"] > 0 for c in clips)
    parts = {p.name: p.stat().st_mtime_ns for p in (out / "parts").iterdir()}
    assert len(parts) == 4
    damaged = next((out / "parts").iterdir())
    damaged.write_text("{")
    assert tool(*command, "--frames", 36).returncode == 2  # what is there is not overwritten unasked
    again = tool(*command, "--frames", 36, "--overwrite")
    assert again.returncode == 0 and json.loads((out / "crossval.json").read_text())["clips"] == clips
    kept = {p.name: p.stat().st_mtime_ns for p in (out / "parts").iterdir()}
    assert {n for n in parts if parts[n] != kept[n]} == {damaged.name}


@pytest.mark.parametrize(
    ("data", "word"),
    [("nothing", "is not of the form"), ("otb:/no/such/folder", "/no/such/folder"), ("otbb:/", "otbb")],
)
def test_mistakes_are_answered_in_a_sentence(model: Path, data: str, word: str) -> None:  # noqa: F811
    done = tool("crossval", "--data", data, "--model", model)
    assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr, done.stderr
