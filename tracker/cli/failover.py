"""What a dead worker costs its streams, see `tracker.serve.failover`: `python -m tracker.cli.failover`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tracker.cli.common import DONE, Parser, run
from tracker.cli.synthetic import served
from tracker.serve.failover import measure


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints the gaps."""
    parser = Parser(
        description="Kills workers that process synthetic streams, and prints how long results were absent."
    )
    parser.add_argument("--streams", type=int, default=4, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="beside the spare one")
    parser.add_argument("--kills", type=int, default=3, metavar="N")
    parser.add_argument("--model", default="siamtrack-n")
    args = parser.parse_args(argv)
    with served(["--width=640", "--height=360"]) as clocks:
        gaps = measure(clocks[0][0], args.streams, args.workers, args.kills, args.model)
    for number, one in enumerate(gaps, 1):
        each = ", ".join(f"{name} {gap:.2f} s" for name, gap in one.items())
        print(f"kill {number}: no result for {each}")
    print(f"longest: {max(gap for one in gaps for gap in one.values()):.2f} s; load {os.getloadavg()[0]:.1f}")
    return DONE


if __name__ == "__main__":
    raise SystemExit(run(main))
