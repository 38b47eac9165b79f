"""Search of tracking constants: split, search, pruning, resume, verdict, files, command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import moving_square
from tracker.config import TrackingConfig, load_config
from tracker.datasets.base import SequenceData
from tracker.datasets.registry import load_dataset
from tracker.errors import ConfigError, OutputError
from tracker.evaluation.tuning.plan import (
    Range,
    SearchPlan,
    Split,
    TrialRecord,
    Tuning,
    search_space,
    split_sequences,
    usable,
)
from tracker.evaluation.tuning.report import config_yaml, write_tuning
from tracker.evaluation.tuning.search import open_study, run_search
from tracker.evaluation.tuning.workers import FrameCache, Pool, SequenceScore, score_sequence
from tracker.metrics.bootstrap import gap_interval, mean_interval


@dataclass(frozen=True)
class Found:
    box: np.ndarray


class Drifting:
    """Knows the way of the square and strays from it by a share of (window_influence - 0.5)."""

    def __init__(self, constants: TrackingConfig) -> None:
        self.error = 60 * abs(constants.window_influence - 0.5)
        if constants.window_influence > 0.98:
            raise ValueError("a bug of the tracker")

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        self.box = np.asarray(box, dtype=float)

    def update(self, image: np.ndarray) -> Found:
        self.box = self.box + np.array([3, 2, 0, 0])
        return Found(self.box + np.array([self.error, 0, 0, 0]))


def make_sequences(root: Path, count: int, frames: int = 5) -> tuple[SequenceData, ...]:
    """A folder data set of moving squares."""
    for k in range(count):
        folder = root / f"seq-{k:02d}"
        (folder / "img").mkdir(parents=True)
        images, boxes = moving_square(frames=frames, width=96, height=72, size=21, seed=k)
        for n, image in enumerate(images, 1):
            cv2.imwrite(str(folder / "img" / f"{n:04d}.jpg"), image)
        np.savetxt(folder / "groundtruth_rect.txt", boxes, fmt="%g", delimiter=",")
    return load_dataset("folder", root).sequences


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> tuple[SequenceData, ...]:
    return make_sequences(tmp_path_factory.mktemp("clips"), 9)


def make_search(sequences: tuple[SequenceData, ...], trials: int = 10, **changes: object) -> SearchPlan:
    names = [s.name for s in sequences]
    start = TrackingConfig(window_influence=0.3)
    values = {
        "start": start,
        "space": {"window_influence": Range(0.0, 0.95)},
        "split": split_sequences(names, 0.4, 0),
        "trials": trials,
    }
    return SearchPlan(**{**values, **changes})  # type: ignore[arg-type]


class Inline(Pool):
    """The same scores without processes."""

    def __enter__(self) -> Inline:
        self.asked = 0
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def scores(self, names, constants):  # type: ignore[no-untyped-def]
        table = {s.name: s for s in self.sequences}
        for name in names:
            self.asked += 1
            yield score_sequence(self.factory, constants, table[name], self.max_frames, self.cache)


def test_split_is_seeded_disjoint_and_keeps_groups_together() -> None:
    names = [f"{video}-{k}" for video in "abcdefgh" for k in range(3)]
    split = split_sequences(names, 0.3, seed=5, group=lambda n: n.split("-")[0])
    assert split == split_sequences(names, 0.3, seed=5, group=lambda n: n.split("-")[0])
    assert split != split_sequences(names, 0.3, seed=6, group=lambda n: n.split("-")[0])
    assert set(split.validation) | set(split.holdout) == set(names)
    assert not {n[0] for n in split.validation} & {n[0] for n in split.holdout}
    assert 0 < len(split.holdout) <= 0.3 * len(names)
    with pytest.raises(ConfigError, match="a side would be empty"):
        split_sequences(["only"], 0.5, 0)


def test_search_finds_the_optimum_and_prunes(sequences: tuple[SequenceData, ...]) -> None:
    search = make_search(sequences, trials=25)
    with Inline(Drifting, sequences) as pool:
        tuning = run_search(search, pool, open_study(None, search, resume=False))
    assert abs(tuning.best.constants["window_influence"] - 0.5) < 0.05
    assert any(t.state == "pruned" and len(t.scores) < len(search.split.validation) for t in tuning.trials)
    assert tuning.trials[0].constants == {"window_influence": 0.3}, (
        "the constants that the search starts from come first"
    )
    assert tuning.gain("validation").value > 0.2 and tuning.gain("holdout").low > 0
    assert tuning.warnings == []
    assert set(tuning.after["holdout"]) == set(search.split.holdout)


def test_an_interrupted_search_goes_on_as_if_never_stopped(sequences: tuple[SequenceData, ...], tmp_path: Path) -> None:
    whole = make_search(sequences, trials=12)
    with Inline(Drifting, sequences) as pool:
        at_once = run_search(whole, pool, open_study(None, whole, resume=False))
        journal = tmp_path / "study"
        part = make_search(sequences, trials=7)
        run_search(part, pool, open_study(journal, part, resume=False))
        open_study(journal, part, resume=True).ask()  # a run that was killed leaves a trial behind
        before = pool.asked
        resumed = run_search(whole, pool, open_study(journal, whole, resume=True))
    done = [t for t in resumed.trials if t.state != "failed"]
    assert [t.constants for t in done] == [t.constants for t in at_once.trials]
    assert [t.scores for t in done] == [t.scores for t in at_once.trials]
    assert pool.asked - before <= (12 - 7) * len(whole.split.validation) + 2 * len(whole.split.holdout)


def test_a_study_of_another_search_is_refused(sequences: tuple[SequenceData, ...], tmp_path: Path) -> None:
    journal = tmp_path / "study"
    open_study(journal, make_search(sequences), resume=False)
    with pytest.raises(OutputError, match="--resume"):
        open_study(journal, make_search(sequences), resume=False)
    with pytest.raises(ConfigError, match="another max_frames"):
        open_study(journal, make_search(sequences, max_frames=3), resume=True)


def test_constants_that_crash_the_tracker_are_reported_and_passed_over(
    sequences: tuple[SequenceData, ...], caplog: pytest.LogCaptureFixture
) -> None:
    start = TrackingConfig(window_influence=0.9795)
    search = make_search(sequences, trials=3, space={"window_influence": Range(0.9795, 1.0)}, start=start)
    study = open_study(None, search, resume=False)
    with Inline(Drifting, sequences) as pool, pytest.raises(ValueError, match="a bug"):
        run_search(search, pool, study)
    assert "a bug of the tracker" in caplog.text
    assert len({t.params["window_influence"] for t in study.trials}) == len(study.trials) == 6, "never the same twice"
    assert [t.state.name for t in study.trials] == ["COMPLETE"] + 5 * ["FAIL"]


def test_workers_give_the_same_scores_and_share_the_frames(sequences: tuple[SequenceData, ...], tmp_path: Path) -> None:
    names = [s.name for s in sequences]
    cache = FrameCache(tmp_path, room=10**9)
    with Pool(Drifting, sequences, workers=2, max_frames=4, cache=cache) as pool:
        first = list(pool.scores(names, TrackingConfig()))
        again = list(pool.scores(names, TrackingConfig()))
    with Inline(Drifting, sequences, max_frames=4) as inline:
        assert first == again == list(inline.scores(names, TrackingConfig()))
    assert len(list(tmp_path.glob("*.npy"))) == len(names)


def test_the_cache_stops_at_its_room(sequences: tuple[SequenceData, ...], tmp_path: Path) -> None:
    one = 4 * 96 * 72 * 3
    cache = FrameCache(tmp_path, room=int(1.5 * one))
    for sequence in sequences[:3]:
        plain = list(FrameCache().frames(sequence, 4))
        for _ in range(2):
            assert all(np.array_equal(a, b) for a, b in zip(cache.frames(sequence, 4), plain, strict=True))
    assert len(list(tmp_path.glob("*.npy"))) == 1


def made_up(validation: list[float], holdout: list[float]) -> Tuning:
    names = {"validation": [f"v{k}" for k in range(len(validation))], "holdout": [f"h{k}" for k in range(len(holdout))]}
    start = TrackingConfig()
    search = SearchPlan(start, {"size_lr": Range(0.1, 1)}, Split(tuple(names["validation"]), tuple(names["holdout"])))
    gains = {"validation": validation, "holdout": holdout}
    before = {k: dict.fromkeys(v, 0.5) for k, v in names.items()}
    after = {k: {n: 0.5 + g for n, g in zip(v, gains[k], strict=True)} for k, v in names.items()}
    best = TrialRecord(3, {"size_lr": 0.61}, "complete", 0.6, after["validation"])
    return Tuning(search, best, (best,), before, after, 1.0)


@pytest.mark.parametrize(
    ("validation", "holdout", "words"),
    [
        ([0.1, 0.11, 0.09, 0.1, 0.1], [0.1, 0.11, 0.1, 0.09, 0.1], []),
        (
            [0.1, 0.11, 0.09, 0.1, 0.1],
            [-0.02, 0.0, -0.01, 0.0, -0.01],
            ["worse by 0.0080", "larger than on the hold-out"],
        ),
        ([0.1, 0.11, 0.09, 0.1, 0.1], [0.3, -0.2, 0.2, -0.1, 0.05], ["distinguished from zero"]),
        ([0.1, 0.11, 0.09, 0.1, 0.1], [0.1, 0.1], ["too few for an interval"]),
        ([0.1, 0.11, 0.09, 0.1, 0.1], [], ["no hold-out split"]),
        ([0.0] * 5, [0.0] * 5, ["nothing better"]),
    ],
)
def test_warnings_of_over_fitting(validation: list[float], holdout: list[float], words: list[str]) -> None:
    found = made_up(validation, holdout).warnings
    assert len(found) == len(words)
    for sentence, word in zip(found, words, strict=True):
        assert word in sentence


def test_the_result_is_a_config_with_its_provenance(tmp_path: Path) -> None:
    tuning = made_up([0.1, 0.2, 0.1, 0.1], [0.1, 0.0, 0.1, 0.2])
    path, record = write_tuning(tmp_path / "tuned.yaml", tuning, {"date": "2026-01-01", "torch": "2.13"})
    config = load_config(path)
    assert config.tracking.size_lr == 0.61 and config.tracking.window_influence == TrackingConfig().window_influence
    text = path.read_text()
    for word in (
        "date: 2026-01-01",
        "torch: 2.13",
        "seed: 0",
        "validation: v0, v1",
        "hold-out: h0",
        "best is number 3",
        "before: 0.4",
    ):
        assert word in text, word
    table = json.loads(record.read_text())
    assert table["gain"]["holdout"]["value"] == pytest.approx(0.1) and table["best"]["constants"] == {"size_lr": 0.61}
    assert config_yaml(tuning, {}).startswith("# Tracking constants")


def test_space_follows_the_head_and_names_what_can_be_searched() -> None:
    start = TrackingConfig(window_influence=0.9)
    space = search_space("boxes", start)
    assert space["window_influence"] == Range(0.0, 0.9) and "scale_step" not in space
    assert "scale_step" in search_space("classic", start)
    with pytest.raises(ConfigError, match="window_influence"):
        search_space("boxes", start, {"windows": Range(0, 1)})


def test_sequences_without_counted_frames_are_left_out(
    sequences: tuple[SequenceData, ...], caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    blind = replace(sequences[0], valid=np.array([True, False, False, False, True]))
    assert usable([blind, sequences[1]], 3) == [sequences[1]]
    assert "seq-00" in caplog.text
    assert usable([blind], None) == [blind]


def test_bootstrap_is_seeded_and_covers() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.1, 30)
    a = mean_interval(values, seed=3)
    assert a == mean_interval(values, seed=3) and a.low < a.value < a.high
    assert a.high - a.low == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(30), rel=0.35)
    assert not mean_interval([0.1, 0.2, np.nan]).known and mean_interval([0.1, 0.2, np.nan]).value == pytest.approx(
        0.15
    )
    weighted = mean_interval([0.0, 1.0, 0.0, 1.0], [1, 3, 1, 3])
    assert weighted.value == 0.75
    gap = gap_interval(values + 0.2, values)
    assert gap.low < 0.2 < gap.high


def test_score_leaves_the_first_frame_out(sequences: tuple[SequenceData, ...]) -> None:
    perfect = score_sequence(Drifting, TrackingConfig(window_influence=0.5), sequences[0])
    assert perfect == SequenceScore("seq-00", pytest.approx(1.0), pytest.approx(20 / 21))
    far = score_sequence(Drifting, TrackingConfig(window_influence=0.0), sequences[0])
    assert far.ao == 0.0
