"""Many clips with one command: damaged ones are named and left behind, kill -9 costs nothing that was done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT, environment, tiny_model, tool, write_video
from tests.conftest import moving_square
from tracker.cli.batch import Job, progress
from tracker.interop.table import read_tracks

CLIPS, DAMAGED, FRAMES = 20, 7, 6


def folder(path: Path, clips: int = CLIPS) -> list[str]:
    """Clips with their boxes, one of them no video; returns the options of the command."""
    model = tiny_model(path / "tiny.safetensors")
    images, boxes = moving_square(FRAMES)
    (path / "clips").mkdir()
    (path / "boxes").mkdir()
    whole = write_video(path / "clips" / "c0.mp4", images).read_bytes()
    for k in range(clips):
        (path / "clips" / f"c{k}.mp4").write_bytes(whole[: len(whole) // 3] if k == DAMAGED else whole)
        (path / "boxes" / f"c{k}.txt").write_text(",".join(map(str, boxes[0])) + "\n")
    return ["clips/*.mp4", "--init-dir", "boxes", "--output", "out", "--model", str(model), "--workers", "2"]


def start(path: Path, command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tracker.cli", "track", *command], cwd=path, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(PYTHONPATH=str(ROOT)),
    )  # fmt: skip


def until_done(path: Path, process: subprocess.Popen[bytes], count: int) -> None:
    end = time.monotonic() + 240
    while len(list(path.glob("out/c*.csv"))) < count and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, "it must be killed in the middle"


def rows_of(said: str) -> dict[str, str]:
    """The table at the end: clip -> state."""
    lines = said.splitlines()
    at = next(k for k, line in enumerate(lines) if line.split() == ["clip", "state", "what"])
    return {line.split()[0]: line.split()[1] for line in lines[at + 1 :]}


@pytest.mark.slow
def test_twenty_clips_one_damaged_killed_twice_and_resumed(tmp_path: Path) -> None:
    command = folder(tmp_path)
    kept: dict[str, tuple[int, bytes]] = {}
    for count in (4, 9):
        process = start(tmp_path, command)
        until_done(tmp_path, process, count)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name, (when, data) in kept.items():
            assert ((tmp_path / "out" / name).stat().st_mtime_ns, (tmp_path / "out" / name).read_bytes()) == (
                when,
                data,
            )
        kept = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.glob("out/c*.csv")}
        assert len(kept) >= count
    done = tool("track", *command, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    *meanwhile, last = done.stderr.splitlines()
    assert f"1 of {CLIPS} clips failed: c{DAMAGED}.mp4." in last
    assert all(f"/{CLIPS} clips, " in line for line in meanwhile), "how far it is, on a slow machine"
    states = rows_of(done.stdout)
    assert {name for name, state in states.items() if state == "before"} == {n.replace("csv", "mp4") for n in kept}
    assert states == {f"c{k}.mp4": states[f"c{k}.mp4"] for k in range(CLIPS)} and states[f"c{DAMAGED}.mp4"] == "failed"
    assert all((tmp_path / "out" / name).read_bytes() == data for name, (_, data) in kept.items())
    wanted = sorted(f"c{k}.csv" for k in range(CLIPS) if k != DAMAGED)
    assert sorted(path.name for path in tmp_path.glob("out/*")) == wanted, "nothing unfinished is left"
    first = read_tracks(tmp_path / "out" / "c0.csv")
    assert len(first) == FRAMES
    for name in wanted:
        tracks = read_tracks(tmp_path / "out" / name)
        assert [t.index for t in tracks] == list(range(FRAMES)) and all(
            (a.box == b.box).all() for a, b in zip(tracks, first, strict=True)
        )


@pytest.mark.slow
def test_kill_ends_the_processes_of_the_clips_and_sigterm_says_what_to_do(tmp_path: Path) -> None:
    command = folder(tmp_path, 3)
    (tmp_path / "boxes" / "c2.txt").unlink()
    process = start(tmp_path, command)
    until_done(tmp_path, process, 0)
    end = time.monotonic() + 60
    while not list(tmp_path.glob("out/.*.part.csv")) and time.monotonic() < end:
        time.sleep(0.02)
    children = [int(p.name) for p in Path("/proc").glob("[0-9]*") if parent_of(p) == process.pid]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert children
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    done = tool("track", *command, "--smooth", cwd=tmp_path)
    assert done.returncode == 1 and "c2.mp4" in done.stderr and "no file with its first box" in done.stdout


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def test_a_log_says_how_far_the_running_clips_are(tmp_path: Path) -> None:
    jobs = [Job(tmp_path / f"c{k}.mp4", None, tmp_path / f"c{k}.csv") for k in range(2)]
    assert progress(jobs) == "starting"
    (tmp_path / ".c1.77.part.csv").write_text("frame,x\n" + "".join(f"{k},1\n" for k in range(2000)) + "20")
    assert progress(jobs) == "c1.mp4 at frame 1999"
    (tmp_path / ".c1.77.part.csv").write_text("")
    assert progress(jobs) == "c1.mp4 at frame 0"
    assert os.path.exists(tmp_path / ".c1.77.part.csv")
