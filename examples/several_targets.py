"""Follow several targets at once, and add one more while the video runs.

python examples/several_targets.py demo/helicopter.mp4 --box 381,201,9,7 --box 60,60,50,50 --save several.mp4
"""

from __future__ import annotations

import argparse
from itertools import islice

from tracker import MultiTracker, open_source
from tracker.media.sinks.video import VideoSink


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow several targets in one pass.")
    parser.add_argument("video")
    parser.add_argument(
        "--box", action="append", required=True, help="x,y,w,h in the first frame; once for each target"
    )
    parser.add_argument("--add", default="200,150,40,40", help="x,y,w,h of a target that is added in the tenth frame")
    parser.add_argument("--save", default="several.mp4", help="video with the boxes drawn")
    parser.add_argument("--frames", type=int, help="stop after so many")
    args = parser.parse_args()

    boxes = [[float(value) for value in text.split(",")] for text in args.box]
    tracker = MultiTracker.from_pretrained("siamtrack-s")
    with open_source(args.video) as source, VideoSink(args.save, source.info, overwrite=True) as sink:
        for frame in islice(source, args.frames):
            if frame.index == 0:
                tracker.init(frame.image, boxes)
                continue
            tracks = tracker.update(frame.image, index=frame.index, timestamp=frame.timestamp)
            if frame.index == 10:
                number = tracker.add(frame.image, [float(value) for value in args.add.split(",")])
                print(f"target {number} is followed from frame 10 on")
            sink.write(frame, tracks)
    for number, target in tracker.targets.items():
        print(f"target {number}: box {[round(float(value), 1) for value in target.box]}")


if __name__ == "__main__":
    main()
