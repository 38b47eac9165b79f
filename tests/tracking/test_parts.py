"""States, confidence, the template bank, and the windows of the search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.standin import PixelEngine, ground, pixel_tracker, put, thing
from tracker.config import TrackingConfig
from tracker.errors import SourceError
from tracker.geometry import iou
from tracker.settings import changed
from tracker.tracking.confidence import FEATURES, confidence_features, fit, probability, reliability, verified
from tracker.tracking.decode import weigh_boxes
from tracker.tracking.peaks import outside, read_peaks
from tracker.tracking.redetection_search import Redetection, best_candidate, tiles, weigh_windows
from tracker.tracking.similarity import similarity
from tracker.tracking.state_machine import Belief, next_belief
from tracker.tracking.template_memory import TemplateBank, TemplateView, load_target
from tracker.types import TrackState

CONFIG = changed(
    TrackingConfig(),
    {
        "states.uncertain_score": 0.5,
        "states.sure_score": 0.6,
        "states.sure_frames": 2,
        "states.lost_score": 0.2,
        "states.lost_frames": 3,
        "states.uncertain_frames": 6,
    },
)
T, U, LOST = TrackState.TRACKING, TrackState.UNCERTAIN, TrackState.LOST


def states(scores: list[float], config: TrackingConfig = CONFIG) -> list[TrackState]:
    belief, out = Belief(), []
    for score in scores:
        belief = next_belief(belief, score, config)
        out.append(belief.state)
    return out


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds as they stand in the configuration: the usual score stays 1."""
    monkeypatch.setattr("tracker.tracking.state_machine.FALL", 0.0)


def test_states_have_hysteresis(steady: None) -> None:
    assert states([0.9, 0.55, 0.5]) == [T, T, T]
    assert states([0.49, 0.55, 0.55, 0.6, 0.6]) == [U, U, U, U, T]
    assert states([0.1, 0.1, 0.9, 0.1, 0.1, 0.1]) == [U, U, U, U, U, LOST]
    assert states([0.1, 0.1, 0.1, 0.9, 0.9]) == [U, U, LOST, LOST, LOST]
    assert states([0.4] * 7) == [U] * 6 + [LOST]
    assert states([0.01], changed(CONFIG, {"states.lost_frames": 1})) == [LOST]


@given(st.lists(st.floats(0, 1), max_size=40))
def test_lost_stays_lost_and_the_sure_never_are(scores: list[float]) -> None:
    seen = states(scores)
    assert LOST not in seen or all(s is LOST for s in seen[seen.index(LOST) :])
    assert states([max(s, 0.6) for s in scores]) == [T] * len(scores)


def test_something_at_its_place_gets_the_benefit_of_the_doubt() -> None:
    config = changed(CONFIG, {"states.lost_frames": 1, "states.lost_doubt_frames": 3, "states.lost_peak": 0.3})
    assert next_belief(Belief(), 0.01, config, response=0.2).state is LOST
    doubt = next_belief(Belief(), 0.1, config, response=0.4)
    assert doubt.state is U
    assert next_belief(next_belief(doubt, 0.1, config, 0.4), 0.1, config, 0.4).state is LOST
    assert next_belief(doubt, 0.01, config, 0.2).state is LOST


def test_thresholds_follow_the_usual_score() -> None:
    hard = [0.7] * 60
    config = changed(CONFIG, {"states.uncertain_score": 0.7})
    assert states([*hard, 0.55], config)[-1] is T and states([0.55], config) == [U]
    assert states([*hard, 0.45], config)[-1] is U
    assert Belief(level=0.5).relative(0.4) == pytest.approx(0.8)


def test_outside_is_the_ring_around_a_box() -> None:
    clear = outside((9, 9), (28, 28, 36, 36), 8, 64)
    assert not clear[4, 4] and not clear[4, 5] and clear[4, 6] and clear[0, 0]
    assert clear.sum() == 81 - 9


def peak_maps(second: float = -4.0) -> tuple[np.ndarray, np.ndarray]:
    logits = np.full((9, 9), -5.0, np.float32)
    logits[4, 4], logits[4, 8] = 3.0, second
    at = (np.arange(9) * 8 + 0.5).astype(np.float32)
    zero = np.zeros((9, 9), np.float32)
    return logits, np.stack([at[None] - 6 + zero, at[:, None] - 6 + zero, at[None] + 6 + zero, at[:, None] + 6 + zero])


def features_of(second: float = -4.0) -> np.ndarray:
    """Of the best place in `peak_maps`."""
    logits, boxes = peak_maps(second)
    weighed = weigh_boxes(logits[None], boxes[None], [(12.0, 12.0)], TrackingConfig(window_influence=0.0))
    peaks = read_peaks(weighed, weighed.mixed.reshape(1, -1).argmax(axis=1), 8, 65)
    unknown = np.full(1, np.nan)
    features = confidence_features(
        peaks.astype(np.float64), np.full((1, 2), 12.0), 65, unknown, unknown, np.zeros(1, np.bool_)
    )
    return features[0]


def test_features_tell_a_peak_from_two() -> None:
    one, two = features_of(), features_of(2.9)
    named = dict(zip(FEATURES, one, strict=True))
    assert named["peak"] == pytest.approx(3) and named["margin"] == pytest.approx(7)
    assert named["resize"] == pytest.approx(0, abs=1e-6) and named["motion"] == pytest.approx(0, abs=1e-6)
    assert named["drop"] == named["online_drop"] == 0
    assert two[1] == pytest.approx(0.1, abs=1e-5)
    assert 0 < named["agreement"] <= 1


def test_the_fit_finds_the_weights_of_its_data() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3)) * [1, 5, 0.2] + [0, 3, 1]
    true = (-1.0, 1.5, -0.4, 2.0)
    y = rng.random(4000) < probability(x, true)
    assert np.allclose(fit(x, y), true, atol=0.5)
    rows, error = reliability(probability(x, fit(x, y)), y)
    assert error < 0.03 and sum(n for _, _, n in rows) == 4000


def test_the_fit_stands_perfect_separation_and_one_class() -> None:
    x = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    assert np.isfinite(fit(x, [False, False, True, True])).all()
    assert float(probability([3.0], fit(x, [True] * 4))) > 0.5


def test_verification_asks_for_both_score_and_likeness() -> None:
    weights = (-6.0, 0.5, 15.0, -0.5)
    alike, unlike = verified(0.9, 0.6, False, weights), verified(0.9, 0.2, False, weights)
    assert alike > 0.9 > 0.3 > unlike
    assert verified(0.9, 0.6, True, weights) < alike
    assert verified(0.42, 0.0, True, ()) == pytest.approx(0.42)


def view(seed: int, frame: int = 0) -> TemplateView:
    return TemplateView(thing(65, seed, cells=5), np.array([30, 30], np.float32), frame)


def test_the_bank_keeps_the_first_and_what_is_new() -> None:
    engine, config = (
        PixelEngine(),
        changed(
            TrackingConfig(),
            {
                "template_memory.size": 2,
                "template_memory.gap": 10,
                "template_memory.score": 0.8,
                "template_memory.similarity": 0.7,
                "template_memory.least": -1.0,
            },
        ),
    )
    bank = TemplateBank.of(engine, [view(1)], uncompared_channels=1)
    assert not bank.wants(5, 0.9, config) and not bank.wants(20, 0.7, config) and bank.wants(20, 0.9, config)
    assert not bank.add_if_new(engine, view(1, 20), config) and len(bank) == 1
    assert not bank.wants(25, 0.9, config), "a view that was looked at counts for the gap"
    for frame, patience in ((40, 20), (80, 40), (120, 40)):  # nothing new: looked at less and less often
        assert not bank.wants(bank.views[-1].frame + patience - 1, 0.9, config) and bank.wants(frame, 0.9, config)
        assert not bank.add_if_new(engine, view(1, frame), config)
    for seed in (2, 3, 4, 5):
        bank.add_if_new(engine, view(seed, 100 * seed), config)
        assert np.array_equal(bank.views[0].picture, view(1).picture)
        assert len(bank.views) == len(bank.host) == len(bank.templates) <= 3
    assert bank.likeness(engine.embed_template([view(1).picture], np.array([[30, 30]]))) == pytest.approx(1, abs=1e-6)


def test_a_view_too_unlike_the_first_is_not_trusted() -> None:
    engine = PixelEngine()
    bank = TemplateBank.of(engine, [view(1)], uncompared_channels=1)
    assert (
        not bank.add_if_new(engine, view(2, 50), changed(TrackingConfig(), {"template_memory.least": 0.9}))
        and len(bank) == 1
    )


def test_similarity_counts_the_targets_cells_alone() -> None:
    a = np.zeros((1, 3, 2, 2), np.float32)
    a[0, :2] = 1
    a[0, 2, 0, 0] = 1
    b = a.copy()
    b[0, :2, 1, 1] = -1
    assert similarity(a, b, uncompared_channels=1)[0, 0] == pytest.approx(1)
    assert similarity(a[:, :2], b[:, :2], uncompared_channels=0)[0, 0] == pytest.approx(0.5)


@given(st.integers(20, 900), st.integers(20, 700), st.floats(4, 300), st.floats(0, 900), st.floats(0, 700))
def test_windows_cover_the_frame_nearest_first(width: int, height: int, side: float, x: float, y: float) -> None:
    windows = tiles(np.array([x, y]), side, (width, height), 65, 193)
    span = side * 193 / 65
    if len(windows) < 128:
        for px, py in [(0, 0), (width, 0), (width / 2, height / 2), (width, height), (min(x, width), min(y, height))]:
            assert any(
                w.left - 1e-6 <= px <= w.left + span + 1e-6 and w.top - 1e-6 <= py <= w.top + span + 1e-6
                for w in windows
            )
    away = [np.hypot(w.left + span / 2 - x, w.top + span / 2 - y) for w in windows]
    assert away == sorted(away)


def test_the_budget_limits_the_windows_of_a_frame() -> None:
    config = changed(TrackingConfig(), {"redetection.tiles": 4, "redetection.budget_ms": 30.0})
    redetection = Redetection()
    args = (np.array([50.0, 50.0]), 20.0, (640, 480), (65, 97), config)
    assert len(redetection.next_windows(*args)) == 4
    redetection.took(0.060, 4)
    assert len(redetection.next_windows(*args)) == 2
    redetection.took(10.0, 1)
    assert len(redetection.next_windows(*args)) == 1
    unlimited = changed(config, {"redetection.budget_ms": 0.0})
    assert len(redetection.next_windows(*args[:-1], unlimited)) == 4


def test_sweeps_change_the_size_they_look_for() -> None:
    assert [Redetection(sweep=k).factor(2.0) for k in range(8)] == [1, 2, 1, 0.5, 1, 4, 1, 0.25]


def test_the_best_candidate_and_its_lead() -> None:
    logits, boxes = peak_maps(1.0)
    windows = [(crop, 1.0) for crop in tiles(np.array([32.0, 32.0]), 65, (65, 65), 65, 65)]
    size = np.array([12.0, 12.0])
    best = best_candidate(weigh_windows(logits[None], boxes[None], windows, size, 8, TrackingConfig()), size)
    assert np.allclose(best.centre, 32.5, atol=1e-6) and np.allclose(best.size, 12)
    assert best.logit == pytest.approx(3, abs=1e-3) and best.margin == pytest.approx(2, abs=1e-3)


def test_a_saved_target_is_found_in_another_video(tmp_path: Path) -> None:
    patch, file = thing(28, 1), tmp_path / "target.npz"
    first = pixel_tracker()
    first.init(put(ground(), patch, 60, 50), (60, 50, 28, 28))
    first.update(put(ground(), patch, 62, 50))
    first.save_target(file)
    assert [p.name for p in tmp_path.iterdir()] == ["target.npz"]
    second = pixel_tracker()
    other = ground(seed=9)
    track = second.find(other, file, index=5)
    assert not track.visible and track.index == 5
    for _ in range(12):
        track = second.update(put(other, patch, 200, 150))
    assert track.visible and iou(track.box, (200, 150, 28, 28)) > 0.5


def test_embeddings_of_other_weights_are_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = pixel_tracker()
    tracker.init(put(ground(), thing(28, 1), 60, 50), (60, 50, 28, 28))
    tracker.save_target(tmp_path / "target.npz")
    known = load_target(tmp_path / "target.npz")
    with caplog.at_level("WARNING"):
        bank = known.bank(PixelEngine(), "another", 65, uncompared_channels=1)
    assert "other weights" in caplog.text and np.array_equal(bank.host, known.embeddings)


@pytest.mark.parametrize("content", [None, b"", b"no zip", "npz"])
def test_a_file_that_is_no_target_gets_a_sentence(tmp_path: Path, content: object) -> None:
    file = tmp_path / "target.npz"
    if content == "npz":
        np.savez(file, a=np.zeros(3))
    elif isinstance(content, bytes):
        file.write_bytes(content)
    with pytest.raises(SourceError, match=r"target\.npz"):
        load_target(file)


def test_later_views_help_to_find_it_again() -> None:
    old, new = thing(28, 1), thing(28, 2)
    blends = [(old * (1 - a) + new * a).astype(np.uint8) for a in np.linspace(0, 1, 40)]
    tracker = pixel_tracker(
        {
            "template_memory.gap": 3,
            "template_memory.score": 0.3,
            "template_memory.similarity": 0.95,
            "template_memory.weight": 0.5,
            "states.lost_score": 0.01,
            "states.uncertain_score": 0.02,
        }
    )
    tracker.init(put(ground(), old, 60, 50), (60, 50, 28, 28))
    for patch in blends[:25]:
        tracker.update(put(ground(), patch, 60, 50))
    assert len(tracker.target.bank) > 1  # type: ignore[union-attr]
    assert tracker.engine.calls[-1] == (len(tracker.target.bank), 1)  # type: ignore[attr-defined, union-attr]


def test_calibrated_is_active() -> None:
    assert pixel_tracker().lifecycle.active and not pixel_tracker({"states.enabled": False}).lifecycle.active
