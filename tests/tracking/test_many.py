"""Hundreds of targets at once: the same boxes, motion, contests and views as one at a time, to the last bit."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any, cast

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.standin import PixelEngine, thing
from tracker.config import TrackingConfig
from tracker.crops import Crop
from tracker.settings import changed
from tracker.tracking import moves
from tracker.tracking.assignment import SAME, in_contest
from tracker.tracking.decode import Decoded
from tracker.tracking.motion import Shift
from tracker.tracking.new_views import add_new_views
from tracker.tracking.observation import Observation
from tracker.tracking.state_machine import Belief
from tracker.tracking.target import Target
from tracker.tracking.template_memory import TemplateBank, TemplateView
from tracker.types import TrackState

FRAME = (640, 480)
FIELDS = ("centre", "size", "box_size", "velocity", "recent_motion", "expected", "sure_centre", "sure_size")


def some_targets(rng: np.random.Generator, count: int) -> list[Target]:
    """Targets in all states, some of which have moved before."""
    targets = []
    for k in range(count):
        size = rng.uniform(5, 200, 2)
        target = Target(rng.uniform(0, 500, 2), size, size * rng.uniform(0.2, 4), (0, 0, 0), cast(Any, None))
        target.box_size, target.velocity = size * rng.uniform(0.8, 1.2), rng.normal(0, 4, 2)
        target.belief = Belief(list(TrackState)[k % 3])
        target.motion.errors = np.abs(rng.normal(0, 0.1, 4))
        target.motion.apparent, target.motion.own = rng.normal(0, 5, (2, 2))
        target.watched, target.skip.row, target.recent_motion = bool(k % 2), k % 4, float(rng.uniform(0, 1))
        targets.append(target)
    return targets


def found(rng: np.random.Generator, boxes: bool) -> Observation:
    """What may be read of a target, nonsense now and then."""
    dx, dy = (float(v) if rng.random() < 0.9 else math.nan for v in rng.normal(0, 30, 2))
    w, h = (float(v) if rng.random() < 0.9 else math.inf for v in rng.uniform(1, 90, 2))
    size = (w, h) if boxes else (None, None)
    place = Decoded(
        dx, dy, *size, float(rng.uniform(0.9, 1.1)), 0.5, float(rng.random()), (0, 0), 0.0, np.zeros((1, 1), np.float32)
    )  # type: ignore[arg-type]
    crop = Crop.around(rng.uniform(0, 400, 2), float(rng.uniform(40, 600)), 129)
    return Observation(place, crop, np.zeros(10), 0.5, np.ones(2))


def numbers_of(target: Target) -> dict[str, Any]:
    motion = target.motion
    held = {name: getattr(target, name) for name in FIELDS}
    return held | {"errors": motion.errors, "apparent": motion.apparent, "own": motion.own}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_many_targets_move_as_each_alone(seed: int, count: int, boxes: bool, creep: float) -> None:
    rng, config = np.random.default_rng(seed), changed(TrackingConfig(), {"states.uncertain_motion": creep})
    together = some_targets(rng, count)
    alone = deepcopy(together)
    for step in range(3):
        shift = Shift(np.array([[1.01, 0.02, 3.0], [-0.02, 0.99, -2.0]])) if step else None
        seen = [found(rng, boxes) for _ in range(count)]
        moves.predict(together, shift, FRAME)
        moves.follow(together, seen, config, FRAME)
        for one, observation in zip(alone, seen, strict=True):
            moves.predict([one], shift, FRAME)
            moves.follow([one], [observation], config, FRAME)
        for one, other in zip(together, alone, strict=True):
            for name, value in numbers_of(one).items():
                assert np.array_equal(value, numbers_of(other)[name]), name
            assert np.isfinite(one.centre).all() and (one.box_size >= config.min_size).all()
            assert (one.centre >= 0).all() and (one.centre <= FRAME).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30), st.floats(1, 500))
def test_contests_are_those_of_all_pairs(seed: int, count: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    centres = [(float(x), float(y)) for x, y in rng.uniform(0, spread, (count, 2)).round()]
    sizes = list(rng.uniform(5, 60, (count, 2)))
    reach = [SAME * math.sqrt(w * h) for w, h in sizes]
    pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
    near = {a for a, b in pairs if math.dist(centres[a], centres[b]) < min(reach[a], reach[b])}
    assert in_contest(centres, sizes) == sorted(near)


class TensorViews(PixelEngine):
    """Embeddings that are on a device."""

    def embed_template(self, crops: Any, targets: Any) -> Any:
        return torch.from_numpy(super().embed_template(crops, targets))

    def stack(self, templates: Any) -> Any:
        return torch.cat(list(templates))

    def to_host(self, templates: Any) -> Any:
        return templates.numpy()

    def from_host(self, embeddings: Any) -> Any:
        return torch.from_numpy(embeddings)


def test_views_for_many_banks_are_judged_as_one_by_one() -> None:
    def view(seed: int, frame: int) -> TemplateView:
        picture = np.tile(thing(13, seed), (5, 5, 1)).astype(np.uint8)
        return TemplateView(picture, np.array([30, 30], np.float32), frame)

    config = changed(TrackingConfig(), {"template_memory.least": -1.0, "template_memory.size": 2})
    plain, tensors = PixelEngine(), TensorViews()
    alone = [TemplateBank.of(plain, [view(k, 0)], uncompared_channels=1) for k in range(5)]
    together = [TemplateBank.of(tensors, [view(k, 0)], uncompared_channels=1) for k in range(5)]
    for turn in range(1, 5):
        fresh = [view(k if turn == k else k + 7 * turn, turn) for k in range(5)]  # one of them shows nothing new
        for bank, one in zip(alone, fresh, strict=True):
            bank.add_if_new(plain, one, config)
        add_new_views(tensors, together, fresh, config)
        for bank, other in zip(together, alone, strict=True):
            assert [v.frame for v in bank.views] == [v.frame for v in other.views] and bank.gaps == other.gaps
            assert np.array_equal(bank.host, other.host) and np.array_equal(bank.templates.numpy(), other.templates)
    assert {len(bank) for bank in together} == {3} and {bank.gaps for bank in together} == {1, 2}
