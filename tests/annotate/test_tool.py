"""`siamtrack annotate` as a user runs it: from files to files, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.annotate.clips import boxes
from tests.annotate.standin import Slowed
from tracker.annotate import AnnotationError, Project
from tracker.annotate.boxes_csv import read_keys
from tracker.annotate.frames import open_frames
from tracker.annotate.simulate import annotate_like_a_person, by_interpolation, by_tracking
from tracker.geometry import iou

ROOT = Path(__file__).parents[2]


def test_the_simulated_annotator_needs_fewer_boxes_with_a_tracker(clip_file: Path) -> None:
    truth = boxes(1) + np.array([[0, 12 * np.sin(k), 0, 0] for k in range(60)]) * 0
    truth = truth.copy()
    frames = open_frames(clip_file)
    bent = boxes(1).copy()
    bent[:, 1] += 30 * np.sin(np.arange(60) / 3)
    lines = annotate_like_a_person(bent, by_interpolation(60))
    assert lines.drawn is not None and lines.drawn > 4 and lines.curve[-1] >= 0.8
    fill, machine = by_tracking(frames, Slowed())
    outcome = annotate_like_a_person(truth, fill)
    assert outcome.drawn == 1 and machine.tracked == 59
    frames.close()


def test_key_files_are_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("frame,id,class,x,y,w,h\n0,1,car,1,2,3,4\n9,1,car,,,,\n")
    first, gone = read_keys(tmp_path / "k.csv")
    assert first.box is not None and first.box.tolist() == [1, 2, 3, 4] and gone.box is None and first.label == "car"
    for text, said in (
        ("x,y,w,h\n1,2,3,4\n", "no column 'frame'"),
        ("frame,x,y,w,h\nten,1,2,3,4\n", "not a whole number"),
        ("frame,x,y,w,h\n1,1,2,3\n", "four numbers"),
        ("frame,x,y,w,h\n", "no row"),
    ):
        (tmp_path / "k.csv").write_text(text)
        with pytest.raises(AnnotationError, match=said):
            read_keys(tmp_path / "k.csv")


def run(*args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests" / "annotate" / "standin.py"), *map(str, args)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1", **env}, capture_output=True, text=True, timeout=120
    )


def test_the_tool_from_files_to_files(clip_file: Path, tmp_path: Path) -> None:
    rows = [f"{k},{n},patch,{','.join(map(str, boxes(n)[k]))}" for n in (1, 2) for k in (0, 59)]
    (tmp_path / "keys.csv").write_text("\n".join(["frame,id,class,x,y,w,h", *rows]) + "\n")
    done = run(
        clip_file,
        "--headless",
        "keys.csv",
        "--export",
        "yolo=labels",
        "--export",
        "csv=all.csv",
        "--pictures",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "2 key boxes, boxes in 60 of 60 frames" in done.stdout and "no tracks" in done.stdout
    assert len(list((tmp_path / "labels" / "labels" / "train").glob("*.txt"))) == 60
    assert len(list((tmp_path / "labels" / "images" / "train").glob("*.jpg"))) == 60
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 121
    again = run(clip_file, "--headless", "keys.csv", "--export", "yolo=labels", cwd=tmp_path)
    assert again.returncode == 2 and "exists already" in again.stderr
    later = run("--project", "walk.annotations.jsonl", "--export", "cvat=a.xml", cwd=tmp_path)
    assert later.returncode == 0 and (tmp_path / "a.xml").exists()
    new = run(clip_file, "--project", "second.jsonl", "--import", "cvat=a.xml", "--export", "mot=m", cwd=tmp_path)
    assert new.returncode == 0 and "2 targets from a.xml" in new.stdout
    assert (tmp_path / "m" / "walk" / "gt" / "gt.txt").read_text().count("\n") == 120
    wrong = run("nothing.mp4", "--headless", "keys.csv", cwd=tmp_path)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr and "nothing.mp4" in wrong.stderr
    typo = run(clip_file, "--export", "yollo=x", cwd=tmp_path)
    assert typo.returncode == 2 and "Did you mean 'yolo'" in typo.stderr


def test_killed_at_any_moment_the_tool_goes_on_where_it_was(clip_file: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text(
        "frame,x,y,w,h\n" + "".join(f"{k},{','.join(map(str, boxes(2)[k]))}\n" for k in (10, 30, 50))
    )
    command = [
        sys.executable,
        str(ROOT / "tests" / "annotate" / "standin.py"),
        str(clip_file),
        "--headless",
        "keys.csv",
    ]
    for delay in (0.0, 0.25, 0.5):
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "STANDIN_DELAY": "0.01"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        until = time.monotonic() + 30
        while not (tmp_path / "walk.annotations.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run(clip_file, "--headless", "keys.csv", "--export", "otb=o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 key boxes, boxes in 60 of 60 frames" in done.stdout
    with Project(tmp_path / "walk.annotations.jsonl") as project:
        assert sorted(project.target(1).keys) == [10, 30, 50]
        assert iou(project.target(1).boxes, boxes(2)).min() > 0.9
