"""What is lost when the program is ended: `python -m tests.reliability [--moments 200] [--jobs 2]`.

A command of the repository, not a test: it starts `tools/track.py` many times and ends it by kill -9, SIGTERM and
Ctrl-C at random moments from its start on, closes its pipes, and fills its disk (root only, for a tmpfs). After each it
looks at every
output: whole rows only, the frames in order, and an exit code that isn't 0 where frames are missing.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cli.helpers import ROOT, environment

CLIP, BOX, HEADER = ROOT / "demo" / "helicopter.mp4", "368,190,32,27", "frame,timestamp,id,x,y,w,h,score,state"
FRAMES = 150
OLD = HEADER + "\n" + "0,0.000000,0,1.000,2.000,3.000,4.000,1.0000,tracking\n" * 300


def command(*more: str) -> list[str]:
    """A run of track.py over the first frames of the demo clip."""
    tool = [
        sys.executable,
        str(ROOT / "tools" / "track.py"),
        str(CLIP),
        "--box",
        BOX,
        "--max-frames",
        str(FRAMES),
        "--model",
        "siamtrack-n",
    ]
    return [*tool, "--save-boxes", "a.csv", *more]


def rows_of(path: Path) -> int:
    """Rows of a csv; -1 where it is missing.

    Raises:
        AssertionError: A row is torn, or the frames aren't 0, 1, 2, ...
    """
    if not path.exists():
        return -1
    text = path.read_text()
    assert not text or text.endswith("\n"), f"{path.name} ends in {text[-30:]!r}"
    lines = text.splitlines()
    assert not lines or lines[0] == HEADER, f"{path.name} begins with {lines[0]!r}"
    assert [line.split(",")[0] for line in lines[1:]] == [str(k) for k in range(len(lines) - 1)], (
        f"{path.name}: frames out of order"
    )
    return max(len(lines) - 1, 0)


def ended(number: int, seed: int, seconds: float, overwrite: bool) -> str:
    """Ends a run by a signal at a random moment of its life, and says what was found."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        new = folder / ("a.part.csv" if overwrite else "a.csv")
        if overwrite:
            (folder / "a.csv").write_text(OLD)
        line = command("--quiet", *(["--overwrite"] if overwrite else []))
        process = subprocess.Popen(line, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)
        if rng.random() < 0.5:  # while it starts; else while it tracks
            time.sleep(rng.uniform(0, seconds))
        else:
            while process.poll() is None and not new.exists():
                time.sleep(0.01)
            time.sleep(rng.uniform(0, seconds / 2))
        process.send_signal(number)
        try:
            said = process.communicate(timeout=120)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return "LOST: it hung"
        return verdict(folder, process.returncode, said, overwrite)


def verdict(folder: Path, code: int, said: str, overwrite: bool) -> str:
    """What a run left."""
    try:
        if overwrite and (folder / "a.csv").read_text() == OLD:
            rows = rows_of(folder / "a.part.csv")
            kept = f"old file kept, {'new rows beside it' if rows > 0 else 'no new row yet'}"
        else:
            rows = rows_of(folder / "a.csv")
            kept = "complete" if rows == FRAMES else "whole rows up to a frame" if rows >= 0 else "no file yet"
    except AssertionError as error:
        return f"LOST: {error}"
    if code == 0 and kept != "complete":
        return f"LOST: exit code 0, but {kept}"
    if "Traceback" in said and "tracker" in said:
        return f"{kept}, with a traceback"
    return kept


def lifetime() -> float:
    """Seconds that a whole run takes here."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        subprocess.run(command("--quiet"), cwd=folder, env=environment(), check=True)
        return time.monotonic() - began


def shells() -> dict[str, Counter[str]]:
    """Closed pipes and streams."""
    out: dict[str, Counter[str]] = {}
    for name, tail in {
        "stdout's reader gone (`| true`)": "2>/dev/null | true",
        "reader of both gone (`2>&1 | head -1`)": "2>&1 | head -1 >/dev/null",
        "stderr closed (`2>&-`)": "2>&-",
        "stdout closed (`>&-`)": ">&-",
        "all three closed": "<&- >&- 2>&-",
        "stdout on a full device (`>/dev/full`)": ">/dev/full",
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            line = " ".join(f"'{word}'" for word in command()) + f" {tail}; echo ${{PIPESTATUS[0]}} >code"
            subprocess.run(["bash", "-c", line], cwd=folder, env=environment(), check=True)
            out[name] = Counter([verdict(Path(folder), int((Path(folder) / "code").read_text()), "", False)])
    return out


def full_disk() -> Counter[str]:
    """A tmpfs with room for none to three pages of 4 KB, of which the rows need three; needs root."""
    found: Counter[str] = Counter()
    for pages in range(4):
        with tempfile.TemporaryDirectory() as name:
            if subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", name], capture_output=True, check=False
            ).returncode:
                return Counter(["not tried: needs root"])
            try:
                folder = Path(name)
                (folder / "fill").write_bytes(bytes(4096 * (4 - pages)))
                done = subprocess.run(
                    command("--quiet"), cwd=folder, env=environment(), capture_output=True, text=True, check=False
                )
                found[verdict(folder, done.returncode, done.stderr, False)] += 1
            finally:
                subprocess.run(["umount", name], check=False)
    return found


def main() -> int:
    """Tries everything and prints the table; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=200, help="runs that are ended, in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    args = parser.parse_args()
    seconds = 1.1 * lifetime()
    ways = [(s, o) for s in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT) for o in (False, True)]
    table: dict[str, Counter[str]] = {}
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = []
        for k in range(args.moments):
            number, overwrite = ways[k % len(ways)]
            runs.append((number, overwrite, pool.submit(ended, number, args.seed + k, seconds, overwrite)))
        for k, (number, overwrite, run) in enumerate(runs):
            what = (
                f"{signal.Signals(number).name}, {'--overwrite of a file that is there' if overwrite else 'a new file'}"
            )
            table.setdefault(what, Counter())[run.result()] += 1
            if k % 10 == 9:
                print(k + 1, {name: dict(found) for name, found in table.items()}, file=sys.stderr, flush=True)
    table |= shells()
    table["disk full"] = full_disk()
    print("| what ends the run | runs | what is there then |\n|---|---:|---|")
    for what, found in table.items():
        print(f"| {what} | {found.total()} | {'; '.join(f'{text} ({n})' for text, n in sorted(found.items()))} |")
    return int(any(text.startswith("LOST") for found in table.values() for text in found))


if __name__ == "__main__":
    raise SystemExit(main())
