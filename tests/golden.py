"""Freezes what the shipped models give, and demands the same to the last bit: for changes that must not change
behaviour.

    python tests/golden.py record before.json --otb DATA/otb-dev    # boxes, scores and states before the change
    python tests/golden.py check before.json --otb DATA/otb-dev     # the same after it; exit code 1 and the first
    difference if not

The demo is followed by one tracker and by several targets; `--otb` adds sequences in OTB's layout, with a target that
is lost and found.
A file belongs to one machine and one set of packages: floating-point sums differ between processors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tracker import SiamTracker, Track, open_source
from tracker.tracking.multi import MultiTracker

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("siamtrack-s", "siamtrack-n", "siamfc-alexnet")
SEQUENCES = ("Coke", "Deer", "Jogging-1", "Skiing")
DEMO_BOXES = ((288, 143, 115, 40), (60, 60, 50, 50), (500, 250, 60, 40))


def row(track: Track) -> list[Any]:
    """A track as numbers that json keeps to the last bit."""
    response = np.ascontiguousarray(track.response, dtype=np.float32)
    return [
        *map(float, track.box),
        float(track.score),
        track.state.value,
        hashlib.sha256(response.tobytes()).hexdigest()[:16],
    ]


def demo_frames(count: int) -> Iterator[np.ndarray]:
    with open_source(str(ROOT / "demo" / "helicopter.mp4")) as source:
        for frame in islice(source, count):
            yield frame.image


def otb_frames(folder: Path, count: int) -> Iterator[np.ndarray]:
    for path in sorted((folder / "img").glob("*.jpg"))[:count]:
        yield cv2.imread(str(path))


def single(tracker: SiamTracker, frames: Iterator[np.ndarray], box: Any) -> list[Any]:
    tracker.init(next(frames), box)
    return [row(tracker.update(image)) for image in frames]


def runs(otb: Path | None, count: int) -> Iterator[tuple[str, list[Any]]]:
    """(name, rows) of everything that is frozen."""
    demo_box = np.loadtxt(ROOT / "demo" / "helicopter.txt", delimiter=",")[0]
    for model in MODELS:
        tracker = SiamTracker.from_pretrained(model, "cpu")
        yield f"{model} demo", single(tracker, demo_frames(count), demo_box)
        with tempfile.TemporaryDirectory() as folder:
            tracker.save_target(Path(folder) / "known.npz")
            frames = demo_frames(40)
            found = [row(tracker.find(next(frames), Path(folder) / "known.npz"))]
            yield f"{model} demo known target", found + [row(tracker.update(image)) for image in frames]
        several = MultiTracker(tracker)
        frames = demo_frames(min(count, 60))
        several.init(next(frames), [demo_box, *DEMO_BOXES[1:]])
        yield f"{model} demo several", [row(track) for image in frames for track in several.update(image)]
        for name in SEQUENCES if otb else ():
            folder = Path(otb or "") / name
            text = (folder / "groundtruth_rect.txt").read_text().splitlines()[0]
            box = [float(v) for v in text.replace(",", " ").split()]
            yield f"{model} {name}", single(tracker, otb_frames(folder, count), box)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("record", "check"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--otb", type=Path, help="folder of sequences in OTB's layout")
    parser.add_argument("--frames", type=int, default=150, help="frames of each sequence at most")
    args = parser.parse_args(argv)
    known = json.loads(args.file.read_text()) if args.mode == "check" else {}
    result, different = {}, 0
    for name, rows in runs(args.otb, args.frames):
        result[name] = rows
        states = {state: sum(r[5] == state for r in rows) for state in sorted({r[5] for r in rows})}
        verdict = ""
        if args.mode == "check":
            same = json.loads(json.dumps(rows)) == known.get(name)
            different += not same
            verdict = "same" if same else "DIFFERENT"
            if not same:
                old = known.get(name, [])
                at = next(
                    (k for k, (a, b) in enumerate(zip(old, json.loads(json.dumps(rows)), strict=False)) if a != b),
                    min(len(old), len(rows)),
                )
                verdict += f" from row {at}"
        print(f"{name}: {len(rows)} boxes {states} {verdict}", flush=True)
    if args.mode == "record":
        args.file.write_text(json.dumps(result))
        return 0
    missing = sorted(set(known) - set(result))
    print(
        f"{len(result) - different} of {len(result)} runs are the same to the last bit"
        + (f"; missing: {missing}" if missing else "")
    )
    return 1 if different or missing else 0


if __name__ == "__main__":
    sys.exit(main())
