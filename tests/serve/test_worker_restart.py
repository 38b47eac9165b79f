"""What a worker keeps of its targets over a restart, and batches of a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import moving_square
from tests.runtime.models import random_model
from tests.serve.test_worker import BOXES, pictures
from tests.tracking.standin import pixel_tracker
from tracker.runtime.select import build_engine
from tracker.serve.targets import StreamTargets
from tracker.settings import changed
from tracker.tracking.tracker import SiamTracker


def test_saved_targets_of_other_weights_are_embedded_anew(caplog: pytest.LogCaptureFixture) -> None:
    image = pictures(1)[0]
    before = StreamTargets(pixel_tracker(), "weights")
    before.start("one", image, BOXES["one"])
    numbers, views = before.save("one")
    after = StreamTargets(pixel_tracker(), "others")
    target = after.targets[after.restore("one", numbers, views)]
    assert target.box.tolist() == BOXES["one"] and "other weights" in caplog.text


def test_what_a_target_has_learnt_goes_on_after_a_restart() -> None:
    """Its online filter and its motion; the other weights' filter is not taken, since it reads other features."""
    model = random_model("boxes cosine")
    tracker = SiamTracker(
        model, build_engine(model, "cpu", "torch"), changed(model.config.tracking, {"states.sure_score": 0.0})
    )
    frames, boxes = moving_square(10)
    before = StreamTargets(tracker, "weights")
    number = before.start("one", frames[0], boxes[0])
    for k, image in enumerate(frames[1:]):
        before.follow(image, tracker.observer.observe(before.predict(image), image), k + 1, None)
    old = before.targets[number]
    saved = before.save("one")
    targets = StreamTargets(tracker, "weights")
    new = targets.targets[targets.restore("one", *saved)]
    assert old.filter is not None and new.filter is not None
    assert np.array_equal(old.filter.weights, new.filter.weights)
    assert np.array_equal(old.motion.apparent, new.motion.apparent) and np.abs(old.motion.apparent).max() > 0
    assert len(saved[1]) < 400_000, "it is sent every two seconds"
    others = StreamTargets(tracker, "others")
    assert others.targets[others.restore("one", *saved)].filter is None
