"""The short run of the fuzz, as the fast tests take it; `python -m tests.fuzz` is the long one."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.helpers import ROOT, environment
from tests.fuzz.__main__ import try_one
from tests.fuzz.rooms import ROOMS, Bench, bench, command_line
from tracker.config import load_config
from tracker.errors import ConfigError, SiamTrackError
from tracker.geometry import check_box

INPUTS = {"api": 60, "settings": 25, "overrides": 60, "checkpoints": 6, "targets": 20, "command lines": 25}


@pytest.fixture(scope="module")
def here() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.mark.parametrize("name", list(ROOMS))
def test_hostile_inputs_are_refused_with_a_sentence_or_served(here: Bench, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = [try_one(here, name, number, seed=7) for number in range(INPUTS.get(name, 30))]
    assert [said for outcome, said in seen if outcome not in ("accepted", "refused")] == []
    # A wrong command line ends with an exit code, which counts as accepted here.
    assert name == "command lines" or any(outcome == "refused" for outcome, _ in seen)


def test_command_lines_show_no_traceback(here: Bench) -> None:
    for number in range(3):
        words = command_line(np.random.default_rng([7, number]))
        env = environment(PYTHONPATH=str(ROOT))
        command = [sys.executable, "-m", "tracker.cli", *words]
        done = subprocess.run(
            command, cwd=here.folder, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr, (words, done.stderr)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=3), st.complex_numbers()), max_size=6)
)
def test_a_box_is_four_finite_numbers_in_the_frame_or_refused(values: list[object]) -> None:
    try:
        box = check_box(values, 640, 480)  # type: ignore[arg-type]
    except SiamTrackError:
        return
    assert box.shape == (4,) and np.isfinite(box).all() and (box[2:] > 0).all()
    assert box[0] < 640 and box[1] < 480 and box[0] + box[2] > 0 and box[1] + box[3] > 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=20), st.sampled_from(["tracking.min_size", "name", "tracking", "train.x", "model.energy"]))
def test_any_text_is_a_value_or_a_sentence(text: str, key: str) -> None:
    try:
        config = load_config(None, [f"{key}={text}"])
    except ConfigError as error:
        assert str(error).strip()
        return
    assert 0.5 <= config.tracking.min_size <= 512
