"""The box of one target: finite, in the frame and within its bounds whatever frames, boxes and engines come; its
size."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.errors import BoxError
from tracker.geometry import iou
from tracker.runtime.base import Engine
from tracker.types import Track

GROUND, THING = ground(), thing()


def scene(x: float, y: float) -> np.ndarray:
    return put(GROUND, THING, x, y)


def check(track: Track, width: int, height: int) -> None:
    assert np.isfinite(track.box).all() and 0 <= track.score <= 1
    assert (track.box[2:] >= 1).all() and track.box[2] <= max(width, 4) and track.box[3] <= max(height, 4)
    centre = track.box[:2] + track.box[2:] / 2
    assert (centre >= 0).all() and (centre <= [width, height]).all()


def nonsense(kind: str) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for k in range(12):
        yield {
            "black": np.zeros((240, 320, 3), np.uint8),
            "white": np.full((240, 320, 3), 255, np.uint8),
            "noise": rng.integers(0, 256, (240, 320, 3), dtype=np.uint8),
            "growing": cv2.resize(scene(60, 50), None, fx=1 + 0.3 * k, fy=1 + 0.3 * k),
            "other size": rng.integers(0, 256, (37 + 9 * k, 211 - 11 * k, 3), dtype=np.uint8),
            "one pixel": np.zeros((1, 1, 3), np.uint8),
            "gray": scene(60, 50)[..., 0],
            "bgra": np.dstack([scene(60, 50), np.full((240, 320), 9, np.uint8)]),
            "16 bit": scene(60, 50).astype(np.uint16) * 257,
        }[kind]


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize(
    "kind", ["black", "white", "noise", "growing", "other size", "one pixel", "gray", "bgra", "16 bit"]
)
def test_boxes_stay_sane_whatever_comes(kind: str, states: bool) -> None:
    tracker = pixel_tracker({"states.enabled": states})
    tracker.init(scene(60, 50), (60, 50, 28, 28))
    for image in nonsense(kind):
        check(tracker.update(image), image.shape[1], image.shape[0])


@pytest.mark.parametrize("kind", ["gray", "bgra", "16 bit"])
def test_other_kinds_of_pictures_are_tracked(kind: str) -> None:
    tracker = pixel_tracker()
    images = list(nonsense(kind))
    tracker.init(images[0], (60, 50, 28, 28))
    for image in images:
        track = tracker.update(image)
    assert iou(track.box, (60, 50, 28, 28)) > 0.8


@pytest.mark.parametrize(
    "box",
    [(50, 50, 1, 1), (0.2, 0.3, 0.5, 0.4), (-20, -20, 40, 40), (300, 220, 60, 60), (0, 0, 320, 240), (10, 10, 200, 1)],
)
def test_small_huge_and_border_targets(box: tuple[float, ...]) -> None:
    tracker = pixel_tracker()
    tracker.init(GROUND, box)
    for k in range(8):
        check(tracker.update(np.roll(GROUND, k, axis=1)), 320, 240)


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, 2**31),
    st.integers(8, 90),
    st.integers(8, 90),
    st.floats(-5, 80),
    st.floats(-5, 80),
    st.floats(0.5, 60),
    st.floats(0.5, 60),
)
def test_any_box_in_any_frame(seed: int, width: int, height: int, x: float, y: float, w: float, h: float) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    tracker = pixel_tracker()
    try:
        tracker.init(image, (x, y, w, h))
    except BoxError:
        return
    for _ in range(3):
        check(tracker.update(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)), width, height)


class Wild(Engine):
    """An engine that answers nonsense."""

    name, device = "wild", "cpu"

    def __init__(self, value: float) -> None:
        self.value = value

    def embed_template(self, crops, targets):  # type: ignore[no-untyped-def]
        return np.zeros((len(crops), 4, 5, 5), np.float32)

    def match(self, templates, crops):  # type: ignore[no-untyped-def]
        from tracker.runtime.base import Response

        n = max(len(templates), len(crops))
        return Response(np.full((n, 9, 9), self.value, np.float32), np.full((n, 4, 9, 9), self.value, np.float32))

    def stack(self, templates):  # type: ignore[no-untyped-def]
        return np.concatenate(templates)

    def to_host(self, templates):  # type: ignore[no-untyped-def]
        return templates

    from_host = to_host


class Certain(Wild):
    """An engine that is sure of one box everywhere: x1, y1, x2, y2 in crop pixels."""

    def __init__(self, box: tuple[int, int, int, int]) -> None:
        super().__init__(9.0)
        self.box = box

    def match(self, templates, crops):  # type: ignore[no-untyped-def]
        response = super().match(templates, crops)
        response.boxes[:] = np.array(self.box, np.float32)[None, :, None, None]
        return response


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0])
def test_an_engine_gone_wild_gives_finite_boxes(value: float, states: bool) -> None:
    tracker = pixel_tracker({"states.enabled": states})
    tracker.engine = tracker.observer.engine = Wild(value)  # type: ignore[assignment]
    tracker.init(GROUND, (60, 50, 28, 28))
    for _ in range(6):
        check(tracker.update(GROUND), 320, 240)


def test_growth_is_bounded() -> None:
    tracker = pixel_tracker({"max_growth": 2.0, "states.enabled": False, "size_lr": 1.0})
    tracker.engine = tracker.observer.engine = Certain((0, 0, 129, 129))  # type: ignore[assignment]
    tracker.init(GROUND, (60, 50, 28, 28))
    for _ in range(30):
        track = tracker.update(GROUND)
    assert np.sqrt(track.box[2] * track.box[3]) <= 56 + 1e-6


def test_the_box_follows_a_size_at_a_rate_of_its_own() -> None:
    """The search window, places and scores are those of `size_lr`, whatever the box does."""
    told = {}
    for rate in (0.0, 0.4, 1.0):
        tracker = pixel_tracker({"states.enabled": False, "size_lr": 0.4, "box_size_lr": rate, "online.weight": 0.0})
        tracker.engine = tracker.observer.engine = Certain((34, 44, 94, 84))  # type: ignore[assignment]
        tracker.init(GROUND, (60, 50, 28, 28))
        told[rate] = [tracker.update(GROUND) for _ in range(12)]
    for slow, quick, still in zip(told[0.4], told[1.0], told[0.0], strict=True):
        assert slow.score == quick.score == still.score
        centres = [t.box[:2] + t.box[2:] / 2 for t in (slow, quick, still)]
        assert np.allclose(centres, centres[0], atol=1e-9), "the same place"
        assert np.allclose(still.box[2:], 28), "0 keeps the first size"
    widths = {rate: [t.box[2] for t in tracks] for rate, tracks in told.items()}
    assert 28 < widths[0.4][0] < widths[1.0][0], "a higher rate follows sooner"
    assert widths[0.4][-1] / widths[1.0][-1] > widths[0.4][0] / widths[1.0][0], "and the other comes after it"
