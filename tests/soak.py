"""Tracks for long, `python -m tests.soak --minutes 10`, and tells whether memory, threads or open files grow.

A busy machine tracks fewer frames, it doesn't leak more: growth is told per 1,000 frames as well as per minute, of
anonymous memory (what the process holds, without the pages of files that the system keeps for it), of the heap that is
in use, and of Python's objects after a full collection. Linux only: it reads /proc/self.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import ctypes
import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.cli.helpers import ROOT

CLIP, BOXES = ROOT / "demo" / "helicopter.mp4", ROOT / "demo" / "helicopter.txt"
MB = 1 << 20
SHORT = 20


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later (malloc.h)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def heap() -> float:
    """MB of the heap that are in use, NaN where the C library doesn't tell."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return float("nan")
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return float((found.uordblks + found.hblkhd) / MB)


def memory() -> tuple[float, float]:
    """MB in RAM, in all and anonymous."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return tuple(int(fields[name].split()[0]) / 1024 for name in ("Rss", "Anonymous"))  # type: ignore[return-value]


def trim() -> None:
    """Gives back what the C library keeps of freed memory: how much that is depends on threads and luck, not on use."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def sample(begun: float, frames: int) -> dict[str, float]:
    """What the process holds now, after a full collection; RSS as it was, anonymous memory after `trim`."""
    gc.collect()
    rss, _ = memory()
    trim()
    _, anonymous = memory()
    return {
        "minute": (time.monotonic() - begun) / 60,
        "frames": frames,
        "rss": rss,
        "anonymous": anonymous,
        "heap": heap(),
        "objects": len(gc.get_objects()),
        "threads": len(os.listdir("/proc/self/task")),
        "files": len(os.listdir("/proc/self/fd")) - 1,  # without the one that lists them
    }


def first_box() -> tuple[float, ...]:
    """The helicopter in the first frame."""
    return tuple(float(v) for v in BOXES.read_text(encoding="utf-8").split("\n", 1)[0].split(","))


def update(model: str) -> Iterator[None]:
    """`SiamTracker.update` on pictures in memory, forward and backward."""
    from tracker import SiamTracker, open_source

    with open_source(CLIP) as source:
        images = [frame.image for frame in itertools.islice(source, 60)]
    tracker = SiamTracker.from_pretrained(model, "cpu")
    tracker.init(images[0], first_box())
    for image in itertools.cycle(images + images[-2:0:-1]):
        tracker.update(image)
        yield


def track(model: str) -> Iterator[None]:
    """`tracker.track_video` on the demo clip with one tracker, opened again at each end."""
    from tracker import SiamTracker, track_video

    tracker = SiamTracker.from_pretrained(model, "cpu")
    while True:
        for _ in track_video(CLIP, first_box(), tracker=tracker):
            yield


def several(model: str) -> Iterator[None]:
    """Four targets on the demo clip, a new tracker every `SHORT` frames: what begins again and again must go again.

    The last frame of a pass is yielded when its tracker is gone, for that is where a sample tells what is left: while a
    tracker lives, the holes between its blocks differ by tens of MB from one tracker to the next.
    """
    from tracker import track_video

    x, y, w, h = first_box()
    boxes = [(x, y, w, h), (40, 40, 30, 30), (200, 60, 40, 40), (20, 150, 30, 50)]
    while True:
        with contextlib.closing(track_video(CLIP, boxes, model=model, device="cpu")) as found:
            for track in itertools.islice(found, SHORT * len(boxes)):
                if track.target_id == 0 and track.index < SHORT - 1:
                    yield
        del found
        yield


ROADS: dict[str, Callable[[str], Iterator[None]]] = {"update": update, "track": track, "several": several}


def kinds() -> collections.Counter[str]:
    """Python's objects by type."""
    return collections.Counter(f"{type(o).__module__}.{type(o).__qualname__}" for o in gc.get_objects())


def soak(frames: Iterator[Any], minutes: float, warm: int, every: float) -> tuple[list[dict[str, float]], str]:
    """Goes through frames for so long; returns samples since the warm-up, and the types whose objects became more."""
    samples: list[dict[str, float]] = []
    for _ in range(warm):
        next(frames)
    sample(0.0, 0)  # what it makes once isn't counted
    before, begun = kinds(), time.monotonic()
    for count in itertools.count():
        passed = time.monotonic() - begun
        if count % SHORT == 0 and passed >= min(len(samples) * every, 60 * minutes):  # at one place of a short pass
            samples.append(sample(begun, count))
            if passed >= 60 * minutes:
                break
        next(frames)
    more = (kinds() - before).most_common(6)
    return samples, ", ".join(f"{name} +{extra}" for name, extra in more) or "none"


def slope(samples: list[dict[str, float]], over: str, what: str) -> float:
    """Least squares growth of `what` per unit of `over`."""
    return float(np.polyfit([s[over] for s in samples], [s[what] for s in samples], 1)[0])


def main() -> int:
    """Runs the soak; the exit code is 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each road, after the warm-up")
    parser.add_argument("--warm", type=int, default=1000, help="frames before the first sample, a multiple of 20")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples")
    parser.add_argument("--road", choices=list(ROADS), action="append", help="what runs; all, one after the other")
    parser.add_argument("--model", default="siamtrack-s")
    parser.add_argument("--bound", type=float, default=0.2, help="MB a minute of anonymous memory that count as growth")
    args = parser.parse_args()
    print(
        "| what | minutes | frames | RSS MB | anonymous MB | a minute | per 1,000 frames | heap in use MB | objects |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    faults: list[str] = []
    for road in args.road or list(ROADS):
        found, more = soak(ROADS[road](args.model), args.minutes, args.warm, args.every)
        first, last = found[0], found[-1]
        span = {key: f"{first[key]:.0f} to {last[key]:.0f}" for key in ("rss", "anonymous", "heap", "objects")}
        minute, thousand = slope(found, "minute", "anonymous"), 1000 * slope(found, "frames", "anonymous")
        print(
            f"| {road} | {last['minute'] - first['minute']:.1f} | {last['frames'] - first['frames']:.0f} | "
            f"{span['rss']} | "
            f"{span['anonymous']} | {minute:+.3f} | {thousand:+.3f} | {span['heap']} | {span['objects']} |",
            flush=True,
        )
        held = {key: sorted({int(s[key]) for s in found}) for key in ("threads", "files")}
        print(f"  threads {held['threads']}, open files {held['files']}; objects that became more: {more}", flush=True)
        faults += [f"{road}: {key} grow" for key in held if last[key] > first[key]]
        if minute > args.bound:
            faults.append(f"{road}: memory grows by {minute:.2f} MB a minute")
        if last["objects"] > 1.01 * first["objects"]:
            faults.append(f"{road}: Python's objects grow: {more}")
    print("\n".join(faults) or "nothing grows")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
