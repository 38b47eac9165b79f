"""How many streams this machine can process, see `tracker.serve.capacity`:
`python -m tracker.cli.capacity --streams 1 2 4 8`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tracker.cli.common import DONE, Parser, run
from tracker.cli.synthetic import served
from tracker.serve.capacity import HEAD, CapacityTest, measure, row


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints the table."""
    parser = Parser(description="Measures how many streams this machine can process, with synthetic streams.")
    parser.add_argument(
        "--streams", type=int, nargs="+", default=[1, 2, 4, 8, 16], metavar="N", help="numbers of streams to try"
    )
    parser.add_argument("--cores", type=int, default=1, metavar="N", help="workers, one for each core")
    parser.add_argument(
        "--pin", action="store_true", help="keep worker k on core k (the streams are sent from whatever is left)"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a run, after warming up")
    parser.add_argument("--model", default="siamtrack-n")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--decode", default="cpu", help="cpu, or an FFmpeg device")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--rate", type=int, default=25, help="frames per second")
    parser.add_argument(
        "--container", default="nut", choices=("nut", "mpegts"), help="mpegts makes every receiver two frames late"
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="all streams send their pictures and key frames at the same moment; else they are spread over time",
    )
    args = parser.parse_args(argv)
    test = CapacityTest(
        args.model, args.device, args.decode, args.cores, args.pin, args.seconds, args.width, args.height, args.rate
    )
    options = [f"--{key}={getattr(args, key)}" for key in ("width", "height", "rate", "container")]
    with served(["--aligned", *options], 1 if args.together else max(args.streams)) as clocks:
        print(
            f"{args.model}, {args.width} x {args.height} at {args.rate} fps, one target each, {args.cores} worker(s), "
            f"{args.seconds:g} s; load of the machine before: {os.getloadavg()[0]:.1f}\n\n{HEAD}"
        )
        for count in args.streams:
            print(row(count, measure(test, count, clocks)))
            sys.stdout.flush()
        print(f"\nload after: {os.getloadavg()[0]:.1f}")
    return DONE


if __name__ == "__main__":
    raise SystemExit(run(main))
