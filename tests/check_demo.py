"""Checks what the README's demo command wrote: run by CI after it. Usage: python tests/check_demo.py"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import av
import numpy as np

from tracker.geometry import iou

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Re-reads the video and the boxes; exit code 1 and a sentence if they are not what the README promises."""
    truth = np.loadtxt(ROOT / "demo" / "helicopter.txt", delimiter=",")
    with av.open(str(ROOT / "tracked.mp4")) as video:
        stream = video.streams.video[0]
        codec, frames = stream.codec_context.name, sum(1 for _ in video.decode(stream))
    with (ROOT / "tracked.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    boxes = np.array([[float(row[k] or "nan") for k in "xywh"] for row in rows])
    overlap = float(iou(boxes, truth[: len(boxes)]).mean())
    print(f"demo: {codec}, {frames} frames, {len(rows)} boxes, mean overlap with the annotation {overlap:.3f}")
    good = codec == "h264" and frames == len(truth) == len(rows) and overlap > 0.5
    if not good:
        print(f"expected h264, {len(truth)} frames and boxes, overlap above 0.5", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
