"""Follow one target through a video and write where it was, frame by frame.

python examples/follow.py demo/helicopter.mp4 --box 381,201,9,7 --output boxes.csv
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from itertools import islice

from tracker import track_video


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow one target and write its boxes as csv.")
    parser.add_argument("video", help="file, folder of images, camera number or URL")
    parser.add_argument("--box", required=True, help="x,y,w,h of the target in the first frame, pixels")
    parser.add_argument("--output", default="boxes.csv")
    parser.add_argument("--frames", type=int, help="stop after so many")
    args = parser.parse_args()

    states: Counter[str] = Counter()
    with open(args.output, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["frame", "x", "y", "w", "h", "score", "state"])
        tracks = track_video(args.video, box=[float(value) for value in args.box.split(",")])
        for track in islice(tracks, args.frames):
            states[track.state.value] += 1
            # A lost target has a box too, the best guess; here it is left empty.
            box = [f"{value:.2f}" for value in track.box] if track.visible else [""] * 4
            rows.writerow([track.index, *box, f"{track.score:.3f}", track.state.value])
    print(f"{args.output}: {', '.join(f'{count} frames {state}' for state, count in states.items())}")


if __name__ == "__main__":
    main()
