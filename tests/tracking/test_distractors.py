"""Look-alikes that stood elsewhere while the target was in sight, and the usual response that tells a target from its
remains."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from tests.tracking.standin import ground, pixel_tracker, put, thing
from tests.tracking.test_parts import peak_maps
from tracker.crops import Crop
from tracker.geometry import iou
from tracker.tracking.distractors import PROVED, DistractorMemory, KnownDistractor
from tracker.tracking.identity import _Candidate
from tracker.tracking.redetection_search import Redetection
from tracker.tracking.scene import Scene
from tracker.tracking.tracker import SiamTracker
from tracker.types import TrackState

GROUND, THING = ground(), thing()
BOX = (60, 50, 28, 28)


def twins() -> tuple[DistractorMemory, np.ndarray, Crop]:
    """A target of 12 x 12 at (32.5, 32.5) and one almost as alike at (64.5, 32.5), one cell for 8 pixels."""
    kept = DistractorMemory(np.zeros((65, 65, 3), np.uint8), np.array([32.5, 32.5]), np.array([12.0, 12.0]), age=100)
    return kept, peak_maps(2.9)[0], Crop(0, 0, 1.0, 65)


@pytest.mark.parametrize(("place", "told"), [((62, 34), True), ((40, 34), False)])
def test_what_stood_beside_the_target_is_another(place: tuple[int, int], told: bool) -> None:
    kept, logits, crop = twins()
    other = kept.other_near(logits, None, crop, 8, np.array(place, dtype=np.float64))
    assert (other is not None) is told
    if other is not None:
        assert (
            other.centre.tolist() == [64.5, 32.5]
            and other.size.tolist() == [12, 12]
            and other.logit == pytest.approx(2.9)
        )
        boxes = np.broadcast_to(np.array([60, 20, 70, 40], np.float32)[:, None, None], (4, *logits.shape))
        boxed = kept.other_near(logits, boxes, crop, 8, np.array(place, dtype=np.float64))
        assert boxed is not None and boxed.centre.tolist() == [65, 30] and boxed.size.tolist() == [10, 20]


def test_another_is_followed_and_forgotten() -> None:
    kept, _, _ = twins()
    other = KnownDistractor(np.array([64.5, 32.5]), 104, np.zeros((1, 4, 2, 2), np.float32))
    kept.others.append(other)
    assert not kept.known_at(np.array([64.5, 60.0]), 105, 30)
    for k in range(1, 6):
        place = np.array([64.5, 32.5 + 6 * k])
        assert kept.known_at(place, 104 + k, 30) == [other]
        other.seen(place, 104 + k)
    assert not kept.known_at(np.array([64.5, 62.5]), 109 + 31, 30) and not kept.others


def test_an_unbroken_trail_is_not_questioned() -> None:
    size, place = np.array([20.0, 20.0]), np.array([50.0, 50.0])
    redetection = Redetection(trail=True)
    assert not redetection.strays(place + np.array([10, 0]), place, size)
    assert redetection.strays(place + np.array([16, 0]), place, size)
    assert redetection.strays(place, place, size), "once it has jumped, it may be another's"
    assert Redetection().strays(place, place, size) and not Redetection(pending=(place, size)).strays(
        place, place, size
    )


@pytest.mark.parametrize("frames", [0, 30])
def test_a_look_alike_that_stood_there_before_is_not_the_target(frames: int) -> None:
    tracker = pixel_tracker({"distractors.frames": frames, "redetection.follow_frames": 0})
    twin = put(GROUND, THING, 250, 180)
    tracker.init(put(twin, THING, 60, 50), BOX)
    for k in range(1, 6):
        assert tracker.update(put(twin, THING, 60 + k, 50)).visible
    gone = [tracker.update(twin).visible for _ in range(20)]
    assert any(gone) is (frames == 0)
    if frames:
        assert any(tracker.update(put(twin, THING, 66, 50)).visible for _ in range(5)), "back beside its twin"


def textured(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    small = rng.integers(0, 256, (max(side // cells, 2), max(side // cells, 2), 3), dtype=np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_target_that_vanishes_is_not_seen_in_what_moves_beside_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    back = cv2.GaussianBlur(textured(rng, 360, 24), (0, 0), 2)
    side = int(rng.integers(30, 44))
    one, two = textured(rng, side, 7), textured(rng, side, 9)
    tracker = SiamTracker.from_pretrained("siamtrack-s", device="cpu")
    reported = found = 0
    for k in range(76):
        x, y = int(160 + 50 * np.sin(k / 25 + seed)), int(110 + 40 * np.cos(k / 40))
        u, v = int(x + 1.7 * side * np.cos(k / 20)), int(y + 1.7 * side * np.sin(k / 20))
        image = back.copy()
        image[v : v + side, u : u + side] = two
        if not 34 <= k < 58:
            image[y : y + side, x : x + side] = one
        image = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
        if k == 0:
            tracker.init(image, (x, y, side, side))
            continue
        track = tracker.update(image)
        reported += 34 <= k < 58 and track.visible
        found += k >= 58 and track.visible and float(iou(track.box, np.array([x, y, side, side]))) > 0.5
    assert reported <= 1, "what moves beside it is another"
    assert found, "back within 18 frames"


def two_squares(seed: int) -> Iterator[tuple[np.ndarray, tuple[int, int, int, int]]]:
    """96 frames, and the box of a square that is absent from 50 to 80, while another square goes on moving."""
    rng = np.random.default_rng(seed)
    texture = lambda h, w, cells: cv2.resize(  # noqa: E731
        rng.integers(0, 256, (h // cells, w // cells, 3), dtype=np.uint8), (w, h), interpolation=cv2.INTER_CUBIC
    )
    back = cv2.GaussianBlur(texture(560, 680, int(rng.integers(12, 40))), (0, 0), 2)
    side = int(rng.integers(28, 64))
    one, two = (texture(side, side, int(rng.integers(5, 12))) for _ in range(2))
    phase = rng.uniform(0, 6, 4)

    def path(period: int, start: float, half: float, frame: int) -> int:
        return int(half - side / 2 + (half - side - 20) * np.sin(frame / period + start))

    for k in range(96):
        left, top = (int(60 + 40 * np.sin(k / period + phase[n])) for n, period in enumerate((60, 70)))
        image = back[top : top + 360, left : left + 480].copy()
        x, y = path(35, phase[2], 240, k), path(50, phase[3], 180, k)
        u, v = path(30, phase[0] + 2, 240, k), path(40, phase[1] + 1, 180, k)
        image[v : v + side, u : u + side] = two
        if not 50 <= k < 80:
            image[y : y + side, x : x + side] = one
        noisy = image.astype(np.int16) + rng.normal(0, 3, image.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8), (x, y, side, side)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [120, 143, 313, 317])
def test_what_was_there_before_is_not_the_target_and_does_not_hide_it(seed: int) -> None:
    """The track jumps to it as the target vanishes (far: 120, beside it: 317), or the search finds it (143); the target
    comes back beside it (313)."""
    tracker = SiamTracker.from_pretrained("siamtrack-s", device="cpu")
    reported = found = 0
    for k, (image, box) in enumerate(two_squares(seed)):
        if k == 0:
            tracker.init(image, box)
            continue
        track = tracker.update(image)
        on = float(iou(track.box, np.array(box)))
        assert k != 49 or on > 0.5
        reported += 50 <= k < 80 and track.visible
        found += k >= 80 and track.visible and on > 0.5
    assert reported <= 1, "what was beside it in a stored frame is another"
    assert found, "back within 16 frames"


def test_a_known_distractor_is_told_by_its_looks_not_by_its_place_alone() -> None:
    tracker = pixel_tracker({"distractors.gap": 1})
    tracker.init(put(GROUND, THING, 60, 50), BOX)
    for _ in range(3):
        tracker.update(put(GROUND, THING, 60, 50))
    target, scene = tracker.target, Scene(tracker.observer, put(GROUND, THING, 60, 50))
    assert target is not None and target.distractors is not None
    own, other = (scene.embedding((np.array([x, 64.0]), target.size), target.fill) for x in (74.0, 20.0))
    seen = scene.observe(target, (target.centre, target.size))
    for embedding, told in ((other, False), (own, True)):
        target.distractors.others = [KnownDistractor(target.centre, target.age, embedding)]
        candidate = _Candidate(scene, target, seen)
        assert candidate.is_one_of(target.distractors.known_at(target.centre, target.age, 30)) is told
        assert candidate.is_one_of([]) is False
    target.distractors.others[0].seen(target.centre, target.age + PROVED + 1)
    assert not target.distractors.known_at(target.centre, target.age + PROVED + 1, 30), "to be told apart again"


def test_the_last_window_is_asked_first_and_where_the_target_answers_there_nothing_else_is() -> None:
    tracker = pixel_tracker({"distractors.gap": 1})
    tracker.init(put(GROUND, THING, 60, 50), BOX)
    for _ in range(3):
        tracker.update(put(GROUND, THING, 60, 50))
    target, frame = tracker.target, put(GROUND, THING, 66, 50)
    assert target is not None and target.last is not None and target.last.window is not None
    centre, size = target.last.seen_from((target.centre, target.size))
    assert np.allclose(size, target.size * target.last.window.scale)
    assert np.allclose(centre, target.last.window.size / 2, atol=2), "the window is around the target"
    scene = Scene(tracker.observer, frame)
    candidate = _Candidate(scene, target, scene.observe(target, (target.centre, target.size)))
    assert candidate._find_in(target.last, tracked=True) is False
    assert not candidate.was_elsewhere(tracked=True)


def test_nothing_is_kept_of_a_frame_in_doubt() -> None:
    tracker = pixel_tracker()
    tracker.init(put(GROUND, THING, 60, 50), BOX)
    tracker.update(put(GROUND, THING, 60, 50))
    assert tracker.target is not None and tracker.target.last is not None
    track = tracker.update(GROUND)
    assert track.state is not TrackState.TRACKING
    tracker.update(GROUND)
    last = tracker.target.last
    assert last is None or last.age == 1, "an old window is not asked, by its age"


def test_a_jump_is_questioned_however_well_the_place_responds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(_Candidate, "was_elsewhere", lambda self, tracked=False: asked.append(tracked) or False)
    tracker = pixel_tracker({"distractors.gap": 1})
    tracker.init(put(GROUND, THING, 60, 50), BOX)
    for k in range(20):
        tracker.update(put(GROUND, THING, 60 + k % 2, 50))
    assert tracker.update(put(GROUND, THING, 66, 50)).visible and not asked
    track = tracker.update(put(GROUND, THING, 96, 50))
    assert track.visible and track.score > 0.8 and asked == [True]
    target = tracker.target
    assert target is not None and target.recent_motion > 0.75
    tracker.update(put(GROUND, THING, 96, 76))
    assert len(asked) == 1, "by now it usually moves as far"


def test_two_frames_are_kept_one_of_them_older() -> None:
    tracker = pixel_tracker({"distractors.gap": 2})
    picture = put(GROUND, THING, 60, 50)
    tracker.init(picture, BOX)
    for _ in range(30):
        tracker.update(picture)
    kept = tracker.target.distractors  # type: ignore[union-attr]
    assert kept is not None and kept.earlier is not None and kept.earlier.earlier is None
    assert kept.age == 29 and 2 <= kept.age - kept.earlier.age <= 10


def test_a_frame_is_kept_as_a_copy_now_and_then() -> None:
    tracker = pixel_tracker({"distractors.gap": 4})
    picture = put(GROUND, THING, 60, 50)
    tracker.init(picture, BOX)
    ages = []
    for _ in range(9):
        tracker.update(picture)
        kept = tracker.target.distractors  # type: ignore[union-attr]
        assert kept is not None and not np.shares_memory(kept.frame, picture)
        ages.append(kept.age)
    assert ages == [1, 1, 1, 1, 5, 5, 5, 5, 9]


def test_the_usual_response_rises_fast_and_falls_slowly() -> None:
    tracker = pixel_tracker()
    tracker.init(put(GROUND, THING, 60, 50), BOX)
    target = tracker.target
    assert target is not None
    for logit in [2.0, 4.0] * 30:
        target.update_reference_logit(logit, 0.02)
    high = target.reference_logit
    assert high is not None and high > 3.4, "the better half counts for more"
    for _ in range(10):
        target.update_reference_logit(-3.0, 0.02)
    assert target.drop(-3.0) > 0.7 * (high + 3), "a target that slides away doesn't become its own measure"
    for _ in range(30):
        target.update_reference_logit(5.0, 0.02)
    assert target.drop(5.0) < 0.5
