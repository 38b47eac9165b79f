"""Learn what a target looks like in one video, and find it in another, where nobody draws a box.

python examples/find_again.py demo/helicopter.mp4 --box 381,201,9,7 --other other.mp4
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import islice
from pathlib import Path

from tracker import SiamTracker, open_source


def main() -> None:
    parser = argparse.ArgumentParser(description="Save what a target looks like, then find it elsewhere.")
    parser.add_argument("video", help="where the target is shown")
    parser.add_argument("--box", required=True, help="x,y,w,h in the first frame of that video")
    parser.add_argument("--other", required=True, help="video in which it is looked for")
    parser.add_argument("--learn", type=int, default=30, help="frames that are followed to collect views of it")
    parser.add_argument("--frames", type=int, default=100, help="frames of the other video that are searched at most")
    args = parser.parse_args()

    tracker = SiamTracker.from_pretrained("siamtrack-s")
    with tempfile.TemporaryDirectory() as folder, open_source(args.video) as source:
        known = Path(folder) / "target.npz"
        for frame in islice(source, args.learn):
            if frame.index == 0:
                tracker.init(frame.image, [float(value) for value in args.box.split(",")])
            else:
                tracker.update(frame.image)
        tracker.save_target(known)

        with open_source(args.other) as other:
            for frame in islice(other, args.frames):
                track = tracker.find(frame.image, known) if frame.index == 0 else tracker.update(frame.image)
                if track.visible:
                    x, y, w, h = (round(float(value)) for value in track.box)
                    print(f"found in frame {frame.index} at {x},{y},{w},{h}, score {track.score:.2f}")
                    return
    print(f"not found in {args.frames} frames")


if __name__ == "__main__":
    main()
