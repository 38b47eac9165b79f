"""What is tried: for each room that reads something of a user's, a function that makes one hostile input and gives it
in."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.bench import Bench, InvalidBox, bench, check_track
from tests.fuzz.files import box_files, checkpoints, datasets, evaluations, records, shards, targets, train_checkpoints
from tests.fuzz.hostile import (
    Rng,
    anything,
    box,
    number,
    picture,
)
from tests.fuzz.words import command_line, commands, overrides, settings, yaml

Room = Callable[[Bench, Rng], None]


def api(bench: Bench, rng: Rng) -> None:
    """init, update, find, several targets and the loop, with anything as arguments."""
    from tracker import track
    from tracker.tracking.adapters import OpenCVTracker

    tracker = bench.tracker
    kind = int(rng.integers(8))
    if kind == 0:
        tracker.init(picture(rng), box(rng))
        check_track(tracker.update(picture(rng)))
    elif kind == 1:
        tracker.init(bench.frames[0], (20, 30, 28, 28))
        for index in (1, 2):
            given = (
                {"index": anything(rng)}
                if rng.random() < 0.3
                else {"timestamp": anything(rng)}
                if rng.random() < 0.3
                else {}
            )
            check_track(tracker.update(picture(rng) if rng.random() < 0.8 else bench.frames[index], **given))
    elif kind == 2:
        tracker.init(bench.frames[0], box(rng))
        for frame in bench.frames[1:3]:
            check_track(tracker.update(frame))
    elif kind == 3:
        before = list(bench.multi.targets)
        try:
            bench.multi.init(picture(rng), [box(rng), box(rng)] if rng.random() < 0.6 else anything(rng))
        except Exception:
            if list(bench.multi.targets) != before:
                raise InvalidBox("a refused init changed the targets") from None
            raise
        for one in bench.multi.update(picture(rng)):
            check_track(one)
    elif kind == 4:
        bench.multi.init(bench.frames[0], [(20, 30, 28, 28)])
        if rng.random() < 0.7:
            bench.multi.add(picture(rng), box(rng))
        else:
            bench.multi.drop(anything(rng))
    elif kind == 5:
        frames = [picture(rng) if rng.random() < 0.5 else f for f in bench.frames[:3]]
        source = frames if rng.random() < 0.7 else anything(rng)
        if not isinstance(source, int) or isinstance(source, bool):  # a number is a camera
            for one in track(source, box(rng), tracker=tracker, start=anything(rng) if rng.random() < 0.3 else 0):
                check_track(one)
    elif kind == 6:
        tracker.find(picture(rng), anything(rng))
    else:
        outside = OpenCVTracker(tracker)
        outside.init(picture(rng), box(rng))
        outside.update(picture(rng))


ROOMS: dict[str, tuple[Room, float]] = {
    "api": (api, 1.0),
    "settings": (settings, 0.5),
    "overrides": (overrides, 2.0),
    "yaml": (yaml, 0.3),
    "checkpoints": (checkpoints, 0.1),
    "train checkpoints": (train_checkpoints, 0.3),
    "targets": (targets, 0.3),
    "shards": (shards, 4.0),
    "records": (records, 4.0),
    "evaluations": (evaluations, 4.0),
    "data set folders": (datasets, 2.0),
    "box files": (box_files, 2.0),
    "command lines": (commands, 0.1),
}
"""Name -> what makes one input, and its share of them: the dearer ones get fewer."""


__all__ = ["ROOMS", "Bench", "InvalidBox", "bench", "check_track", "command_line", "number"]
