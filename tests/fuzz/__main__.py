"""The long run: `python -m tests.fuzz --inputs 20000 --seed 0`, and `--subprocesses 200` for command lines as a user
runs them.

Each input of a room has a number of its own; `--only ROOM --number N` tries one again.
"""

from __future__ import annotations

import argparse
import collections
import logging
import signal
import subprocess
import sys
import time
import traceback
import warnings
from types import FrameType

import numpy as np

from tests.cli.helpers import ROOT, environment
from tests.fuzz.rooms import ROOMS, Bench, InvalidBox, bench, command_line
from tracker.errors import SiamTrackError

LIMIT, WAIT = 60.0, 600.0
"""Seconds of processor time, and of the clock, after which one input counts as a hang: a busy machine is none."""


class Hang(BaseException):
    """An input took too long."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise Hang


def try_one(bench: Bench, name: str, number: int, seed: int) -> tuple[str, str]:
    """One input of a room.

    Returns:
        "accepted", "refused", "exception", "invalid box" or "hang"; and what was seen.
    """
    rng = np.random.default_rng([seed, list(ROOMS).index(name), number])
    try:
        ROOMS[name][0](bench, rng)
    except SiamTrackError as error:
        sentence = str(error)
        return ("refused", sentence) if sentence.strip() else ("exception", "an empty sentence")
    except InvalidBox as error:
        return "invalid box", str(error)
    except Hang:
        return "hang", f"more than {LIMIT:g} s of processor time or {WAIT:g} s"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return (
            "exception",
            f"{type(error).__name__}: {' '.join(str(error).split())[:120]} "
            f"({place.filename.split('/')[-1]}:{place.lineno})",
        )
    return "accepted", ""


def share_out(inputs: int, only: list[str]) -> dict[str, int]:
    """How many inputs each room gets of all; rooms that are left out leave theirs out, so that runs can be put
    together."""
    total = sum(weight for _, weight in ROOMS.values())
    return {name: round(inputs * weight / total) for name, (_, weight) in ROOMS.items() if not only or name in only}


def subprocesses(count: int, seed: int) -> int:
    """Command lines as a user runs them; returns how many showed a traceback or hung."""
    wrong = 0
    with bench() as here:
        for number in range(count):
            words = command_line(np.random.default_rng([seed, 99, number]))
            try:
                command = [sys.executable, "-m", "tracker.cli", *words]
                env = environment(PYTHONPATH=str(ROOT))
                done = subprocess.run(
                    command, cwd=here.folder, env=env, capture_output=True, text=True, timeout=120, check=False
                )
                bad = "Traceback (most recent call last)" in done.stderr or done.returncode not in (0, 1, 2)
                said = done.stderr.strip().splitlines()[-1:] or [""]
            except subprocess.TimeoutExpired:
                bad, said = True, ["hang"]
            if bad:
                wrong += 1
                print(f"FAULT subprocess {number}: {words}: {said[0][:200]}", flush=True)
    return wrong


def main() -> int:
    """Runs the fuzz; the exit code is 1 where there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, help="one input alone")
    parser.add_argument(
        "--only", action="append", default=[], choices=list(ROOMS), help="these rooms, with their share"
    )
    parser.add_argument("--subprocesses", type=int, default=0)
    args = parser.parse_args()
    import torch  # noqa: F401 - an import that the alarm interrupts can't be tried again

    import tracker.cli.settings
    import tracker.training.data.build

    tracker.cli.settings.sections()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, _alarm)
    faults, rows = 0, []
    with bench() as here:
        for name, count in share_out(args.inputs, args.only).items():
            begin, seen = time.monotonic(), collections.Counter[str]()
            for number in range(count) if args.number is None else (args.number,):
                signal.setitimer(signal.ITIMER_PROF, LIMIT)
                signal.setitimer(signal.ITIMER_REAL, WAIT)
                outcome, said = try_one(here, name, number, args.seed)
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.setitimer(signal.ITIMER_REAL, 0)
                seen[outcome] += 1
                if outcome not in ("accepted", "refused"):
                    faults += 1
                    print(f"FAULT {name} {number}: {outcome}: {said}", flush=True)
            cells = [seen[kind] for kind in ("accepted", "refused", "exception", "invalid box", "hang")]
            rows.append(f"| {name} | {count} | {' | '.join(map(str, cells))} | {time.monotonic() - begin:.0f} |")
            print(rows[-1], flush=True)
    print(
        "\n".join(
            [
                "| room | inputs | accepted | refused | other exceptions | invalid boxes | hangs | s |",
                "|---|---|---|---|---|---|---|---|",
                *rows,
            ]
        )
    )
    if args.subprocesses:
        wrong = subprocesses(args.subprocesses, args.seed)
        faults += wrong
        print(f"{args.subprocesses} command lines as subprocesses: {wrong} with a traceback or a hang")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
