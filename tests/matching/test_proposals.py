"""Where known things may be: windows over the whole frame at several sizes, all things in one look."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.matching.test_cli import patch
from tracker import Gallery, Matcher, SiamTracker
from tracker.geometry import iou
from tracker.matching.inputs import Region
from tracker.matching.proposals import Proposals
from tracker.matching.search import VideoSearch
from tracker.matching.search_views import known_target, view_for_search
from tracker.types import Frame

SIZE = (480, 270)


def ground(seed: int = 3) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(90, 150, (17, 30, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def put(image: NDArray[np.uint8], thing: str, x: int, y: int, side: int) -> NDArray[np.uint8]:
    image[y : y + side, x : x + side] = cv2.resize(patch(thing), (side, side), interpolation=cv2.INTER_AREA)
    return image


@pytest.fixture(scope="module")
def tracker() -> SiamTracker:
    return SiamTracker.from_pretrained("siamtrack-n", "cpu")


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Three things, 48 pixels large."""
    out = Gallery(Matcher.from_pretrained("siamtrack-n", "cpu"))
    for thing in ("checkers", "stripes", "disc"):
        image, box = put(ground(1), thing, 200, 100, 48), (200.0, 100.0, 48.0, 48.0)
        out.add(thing, [Region(image, box)], [view_for_search(image, box)])
    return out


def search_of(gallery: Gallery, tracker: SiamTracker, windows: int) -> Proposals:
    return Proposals(tracker.observer, {t: known_target(gallery, t, tracker) for t in gallery.things}, windows)


@pytest.mark.parametrize("side", [34, 48, 66])
def test_a_thing_is_proposed_wherever_it_is_and_at_other_sizes(
    side: int, gallery: Gallery, tracker: SiamTracker
) -> None:
    image = put(put(ground(), "checkers", 30, 180, side), "disc", 390, 20, side)
    places = search_of(gallery, tracker, 0).next(image, gallery.things)
    for thing, box in (("checkers", (30, 180, side, side)), ("disc", (390, 20, side, side))):
        best = next(p for p in places if p.thing == thing)
        assert float(iou(best.box[None], np.array([box], float))[0]) > 0.5
    assert all(0 <= p.box[0] and p.box[0] + p.box[2] <= SIZE[0] and 0 < p.response <= 1 for p in places)


def test_windows_are_dealt_out_over_frames(gallery: Gallery, tracker: SiamTracker) -> None:
    image, search = put(ground(), "checkers", 30, 180, 48), search_of(gallery, tracker, 2)
    whole = len(search.pyramid(*SIZE, gallery.things))
    calls = 0
    while search.passes == 0:
        search.next(image, gallery.things)
        calls += 1
    assert calls == -(-whole // 2)
    assert search.next(image, []) == []
    empty = np.full((SIZE[1], SIZE[0], 3), 127, np.uint8)  # nothing in it: one call goes through all of it
    fresh = search_of(gallery, tracker, 2)
    assert fresh.next(empty, gallery.things) == [] and fresh.passes == 1


@pytest.mark.slow
def test_what_is_there_is_reported_and_what_is_not_is_not(gallery: Gallery, tracker: SiamTracker) -> None:
    finder = VideoSearch(gallery, tracker, threshold=0.5, windows=4)
    seen: list[set[str]] = []
    for k in range(10):
        image = put(put(ground(), "checkers", 30 + 2 * k, 180, 40), "disc", 390 - 2 * k, 20, 60)
        found = finder.update(Frame(image, k))
        seen.append({one.name for one in found})
        for one in found:
            box = (30 + 2 * k, 180, 40, 40) if one.name == "checkers" else (390 - 2 * k, 20, 60, 60)
            assert float(iou(one.track.box[None], np.array([box], float))[0]) > 0.3
    assert seen[0] == set() and seen[-1] == {"checkers", "disc"}


@pytest.mark.slow
def test_what_left_is_no_longer_reported(gallery: Gallery, tracker: SiamTracker) -> None:
    finder = VideoSearch(gallery, tracker, threshold=0.5, windows=4, every=2)
    for k in range(8):
        there = finder.update(Frame(put(ground(), "disc", 200, 100, 48), k))
    assert [one.name for one in there] == ["disc"]
    gone = [finder.update(Frame(ground(), k)) for k in range(8, 16)]
    assert gone[-1] == []
