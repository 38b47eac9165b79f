"""kill -9 at random moments: what was confirmed is in the project afterwards, in the order in which it was said."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tracker.annotate import Project

ROOT = Path(__file__).parents[2]
FRAMES = 400

WRITER = """
import random, sys
import numpy as np
from tracker.annotate.project import Project
rng = random.Random(int(sys.argv[2]))
with Project(sys.argv[1]) as project:
    clip = project.add_clip("clip.mp4", 640, 360, 400)
    car = clip.targets[0] if clip.targets else project.add_target(clip, "car")
    while True:
        k = rng.randrange(400)
        what = rng.choice(["key", "key", "approve", "track", "out"])
        if what == "key":
            project.set_key(car, k, (k, 10, 20 + k % 7, 30))
            print("key", k, 20 + k % 7, flush=True)
        elif what == "out":
            project.set_key(car, k, None)
            print("key", k, 0, flush=True)
        elif what == "approve":
            last = min(k + rng.randrange(30), 399)
            project.approve(car, k, last)
            print("approve", k, last, flush=True)
        else:
            for s in project.pending(car)[:1]:
                boxes = np.tile((1.0, 2.0, 30.0, 40.0), (s.length, 1))
                project.write_track(car, s, s.first, boxes, np.full(s.length, 0.4), np.zeros(s.length, bool))
"""


def wait_for_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def test_killed_while_it_writes_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    path, rng = tmp_path / "p.jsonl", random.Random(3)
    confirmed: list[str] = []
    for turn in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(turn)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        lines = wait_for_lines(process, rng.randrange(1, 25))
        time.sleep(rng.random() / 50)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        confirmed += [*lines, *(line + "\n" for line in rest.split("\n")[:-1])]
        assert_kept(path, confirmed)


def assert_kept(path: Path, confirmed: list[str]) -> None:
    """All that was confirmed is in the file in this order; at most the last action of each run was not told."""
    with Project(path) as project:
        (car,) = project.clips[0].targets
        records = [json.loads(line) for line in path.read_text().splitlines()]
        said = [line for record in records if (line := spoken(record))]
        assert is_subsequence(confirmed, said) and len(said) - len(confirmed) <= 5
        keys: dict[int, int] = {}
        for line in said:
            what, frame, value = line.split()
            if what == "key":
                keys[int(frame)] = int(value)
        assert {k: 0 if box is None else round(float(box[2])) for k, box in car.keys.items()} == keys
        approved = set(range(FRAMES)) & {k for k in range(FRAMES) if car.approved[k]}
        assert approved == replayed(said)


def replayed(said: list[str]) -> set[int]:
    """The approved frames: those of the approvals, less the stretches that were corrected afterwards."""
    keys: set[int] = set()
    out: set[int] = set()
    for line in said:
        what, a, b = line.split()
        frame = int(a)
        if what == "approve":
            out |= set(range(frame, int(b) + 1))
        else:
            before = max((k for k in keys if k < frame), default=-1)
            after = min((k for k in keys if k > frame), default=FRAMES)
            out -= set(range(before + 1, after))
            keys.add(frame)
    return out


def spoken(record: dict[str, Any]) -> str:
    """A record as the writer tells it, "" for those that it doesn't tell."""
    if record.get("do") == "key":
        return f"key {record['frame']} {round(record['box'][2]) if record['box'] else 0}\n"
    return f"approve {record['first']} {record['last']}\n" if record.get("do") == "approve" else ""


def is_subsequence(some: list[str], every: list[str]) -> bool:
    found = iter(every)
    return all(line in found for line in some)


@pytest.mark.parametrize("seed", range(2))
def test_a_file_that_ends_anywhere_opens_and_goes_on(seed: int, tmp_path: Path) -> None:
    """A machine that lost power may leave any beginning of the last line, or a block of zero bytes."""
    rng, path = random.Random(seed), tmp_path / "p.jsonl"
    with Project(path) as project:
        clip = project.add_clip("clip.mp4", 640, 360, FRAMES)
        car = project.add_target(clip, "car")
        for k in range(3):
            project.set_key(car, k, (k, 1, 9, 9))
            project.approve(car, k, k)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for _ in range(6):
        kept = rng.randrange(2, len(lines))
        cut = rng.randrange(len(lines[kept]))
        tail = lines[kept][:cut] if rng.random() < 0.7 else b"\0" * rng.randrange(1, 600) + b"\n" * rng.randrange(2)
        path.write_bytes(b"".join(lines[:kept]) + tail)
        with Project(path) as project:
            assert path.read_bytes() == b"".join(lines[:kept])
            for target in project.clips[0].targets if project.clips else []:
                project.set_key(target, 99, (1, 1, 9, 9))
        with Project(path) as project:
            assert all(99 in target.keys for clip in project.clips for target in clip.targets)
