"""Serves synthetic live streams (`tracker.serve.synthetic`): `python -m tracker.cli.synthetic --port 9000`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from tracker.cli.common import DONE, Parser, run


@contextlib.contextmanager
def served(options: Sequence[str], phases: int = 1) -> Iterator[list[tuple[int, float]]]:
    """Synthetic streams from a process of their own, which ends with the `with` block.

    Args:
        options: Options of this command, without `--phases`.
        phases: Number of ports.

    Returns:
        For each port its number and the time of its frame 0, seconds since 1970.
    """
    command = [sys.executable, "-m", "tracker.cli.synthetic", f"--phases={phases}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            lines = [server.stdout.readline().split() for _ in range(phases)]
            yield [(int(port), float(epoch)) for port, epoch in lines]
        finally:
            server.kill()


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until stopped; prints each port and the time of its frame 0."""
    from tracker.serve.synthetic import StreamServer, encode

    parser = Parser(description="Serves synthetic live streams with a clock in the picture.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--rate", type=int, default=25, help="frames per second")
    parser.add_argument("--container", default="nut", choices=("nut", "mpegts"))
    parser.add_argument("--aligned", action="store_true", help="each client begins at the first picture")
    parser.add_argument(
        "--phases", type=int, default=1, metavar="N",
        help="ports, from --port on; their clocks are offset by fractions of the key frame interval, as for "
        "unsynchronised cameras",
    )  # fmt: skip
    args = parser.parse_args(argv)
    packets, now = encode(args.width, args.height, args.rate), time.time()
    for k in range(args.phases):
        server = StreamServer(
            args.width, args.height, args.rate, args.port and args.port + k, args.aligned, args.container,
            now + k / args.phases, packets,
        )  # fmt: skip
        print(server.port, server.epoch)
        threading.Thread(target=server.run, daemon=True).start()
    sys.stdout.flush()
    threading.Event().wait()
    return DONE


if __name__ == "__main__":
    raise SystemExit(run(main))
