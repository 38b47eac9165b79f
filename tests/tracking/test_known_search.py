"""A known target is told from a look-alike by many views, over several frames, before it is reported."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.standin import TEMPLATE, ground, pixel_tracker, put, thing
from tracker.errors import SourceError
from tracker.geometry import iou
from tracker.tracking.individual import describe
from tracker.tracking.looks import MOST_LOOKS, Individual, Looks, evenly
from tracker.tracking.projection import Projection
from tracker.tracking.template_memory import KnownTarget, TemplateView, load_target
from tracker.tracking.tracker import SiamTracker
from tracker.types import Track

PLACE, BOX = (200, 150), (200, 150, 28, 28)


def tracker_with_projection(**changes: float) -> SiamTracker:
    """The pixel tracker; what stays of a thing is its mean colour."""
    tracker = pixel_tracker(changes)
    tracker.observer.__dict__["projection"] = Projection(np.zeros(3, np.float32), np.eye(3, dtype=np.float32))
    return tracker


def learn(patch: np.ndarray, file: Path, frames: int = 12) -> KnownTarget:
    tracker = tracker_with_projection()
    tracker.init(put(ground(), patch, 60, 50), (60, 50, 28, 28))
    for k in range(1, frames):
        tracker.update(put(ground(), patch, 60 + k, 50))
    tracker.save_target(file)
    return load_target(file)


def search(tracker: SiamTracker, known: KnownTarget, patch: np.ndarray, frames: int = 24) -> list[Track]:
    frame = put(ground(seed=9), patch, *PLACE)
    return [tracker.find(frame, known)] + [tracker.update(frame) for _ in range(frames - 1)]


def view(picture: np.ndarray, frame: int = 0) -> TemplateView:
    return TemplateView(picture, np.array([28, 28], np.float32), frame)


@given(ages=st.lists(st.integers(0, 30), max_size=200))
def test_looks_are_few_and_spread_over_the_footage(ages: list[int]) -> None:
    looks, age = Looks(), 0
    for step in ages:
        age += step
        if looks.wants(age):
            looks.add(view(np.zeros((4, 4, 3), np.uint8), age))
    frames = [one.frame for one in looks.views]
    assert len(frames) <= MOST_LOOKS and bool(frames) == bool(ages)
    assert not ages or frames[0] == ages[0]
    assert all(b - a >= looks.gap for a, b in pairwise(frames))
    assert not ages or age - frames[-1] <= 2 * looks.gap + 30


@given(count=st.integers(1, 60))
def test_descriptors_that_are_kept_begin_and_end_with_the_footage(count: int) -> None:
    kept = evenly(np.arange(count, dtype=np.float32)[:, None])[:, 0]
    assert len(kept) == min(count, MOST_LOOKS) and kept[0] == 0 and kept[-1] in (0, count - 1)
    assert (np.diff(kept) > 0).all()


def test_the_three_most_alike_views_count() -> None:
    known = Individual(np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], np.float32))
    assert known.likeness(np.array([[1, 0], [0, 1]], np.float32)) == pytest.approx([1.6 / 3, 1.8 / 3])
    assert Individual(np.array([[1, 0]], np.float32)).likeness(np.array([[0.6, 0.8]], np.float32)) == pytest.approx(0.6)


def test_a_descriptor_knows_colours_and_shape() -> None:
    observer = tracker_with_projection().observer
    picture = np.ascontiguousarray(put(ground(TEMPLATE, TEMPLATE), thing(28, 1), 18, 18))
    mirrored, recoloured = np.ascontiguousarray(picture[::-1]), np.ascontiguousarray(picture[..., ::-1])
    same, turned, other = describe(observer, [view(picture), view(mirrored), view(recoloured)])
    assert np.linalg.norm(same) == pytest.approx(1, abs=1e-5)
    assert same @ same > same @ turned > same @ other


def test_a_known_target_is_followed_for_some_frames_before_it_is_reported(tmp_path: Path) -> None:
    known = learn(thing(28, 1), tmp_path / "target.npz")
    assert known.descriptors is not None and 3 <= len(known.descriptors) <= MOST_LOOKS
    tracks = search(tracker_with_projection(), known, thing(28, 1))
    first = next(k for k, track in enumerate(tracks) if track.visible)
    assert first >= 4 and iou(tracks[first].box, BOX) > 0.5 and tracks[-1].visible
    later = search(tracker_with_projection(**{"known.frames": 6}), known, thing(28, 1))
    assert next(k for k, track in enumerate(later) if track.visible) == first + 2


def test_what_looks_alike_to_the_network_alone_is_not_reported(tmp_path: Path) -> None:
    known = learn(thing(28, 1), tmp_path / "target.npz")
    another = learn(thing(28, 5)[..., ::-1].copy(), tmp_path / "another.npz")
    mixed = KnownTarget(
        known.views, known.embeddings, known.size, known.frame, known.model, another.descriptors, known.projection
    )
    assert not any(track.visible for track in search(tracker_with_projection(), mixed, thing(28, 1)))
    assert any(track.visible for track in search(tracker_with_projection(), known, thing(28, 1)))


def test_without_descriptors_that_fit_the_former_rules_find_it(tmp_path: Path) -> None:
    known = learn(thing(28, 1), tmp_path / "target.npz")
    plain = pixel_tracker()  # the same weights without a projection
    tracks = search(plain, known, thing(28, 1))
    assert plain.target is not None and plain.target.individual is None
    assert tracks[-1].visible and iou(tracks[-1].box, BOX) > 0.5


def test_a_target_that_was_found_and_saved_again_keeps_what_it_was_known_by(tmp_path: Path) -> None:
    known = learn(thing(28, 1), tmp_path / "target.npz")
    tracker = tracker_with_projection()
    search(tracker, known, thing(28, 1))
    tracker.save_target(tmp_path / "again.npz")
    again = load_target(tmp_path / "again.npz").descriptors
    assert known.descriptors is not None and again is not None
    assert len(again) > len(known.descriptors)
    assert np.allclose(again[0], known.descriptors[0], atol=1e-3)


@pytest.mark.parametrize("bad", [np.zeros((0, 8)), np.zeros(8), np.full((2, 8), np.nan), np.zeros((2000, 800))])
def test_damaged_descriptors_get_a_sentence(tmp_path: Path, bad: np.ndarray) -> None:
    learn(thing(28, 1), tmp_path / "target.npz", 2)
    with np.load(tmp_path / "target.npz") as data:
        arrays = {key: data[key] for key in data.files}
    np.savez(tmp_path / "bad.npz", **{**arrays, "descriptors": bad})
    with pytest.raises(SourceError, match="its descriptors; save it again"):
        load_target(tmp_path / "bad.npz")


def test_verify_tells_how_like_the_individual_it_is(tmp_path: Path) -> None:
    from tracker.cli.verify import like_individual

    known = learn(thing(28, 1), tmp_path / "target.npz")
    tracker = tracker_with_projection()
    own, other = (put(ground(), thing(28, seed), 60, 50) for seed in (1, 5))
    alike = like_individual(tracker, [known], own, (60, 50, 28, 28))
    unlike = like_individual(tracker, [known], other, (60, 50, 28, 28))
    assert alike is not None and unlike is not None and alike > 0.9 > unlike
    assert like_individual(pixel_tracker(), [known], own, (60, 50, 28, 28)) is None
