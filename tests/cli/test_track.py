"""tools/track.py as a user runs it: files in, files out, and one sentence when something is wrong."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.cli.helpers import BOX, ROOT, environment, frames_in, tool, write_video
from tests.conftest import moving_square
from tracker.cli import track
from tracker.cli.common import run
from tracker.media.box_files import read_all_boxes, read_boxes


def tracked(place: Path, *args: object, source: object = None) -> int:
    """The command in this process, with the tiny model."""
    return run(
        track.main, [str(source or place / "clip.mp4"), "--model", str(place / "tiny.safetensors"), *map(str, args)]
    )


# ---- as a process


def test_the_main_way(place: Path, tmp_path: Path) -> None:
    args = [
        "--box",
        BOX,
        "--save",
        "out.mp4",
        "--save-boxes",
        "out.csv",
        "--save-boxes",
        "out.jsonl",
        "--save-boxes",
        "out.txt",
    ]
    done = tool("track", place / "clip.mp4", *args, "--model", place / "tiny.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = done.stdout.splitlines()[-1]
    assert (
        summary.startswith("12 frames, ") and " fps" in summary and "mean score" in summary and "lost in 0" in summary
    )
    assert all(name in summary for name in ("out.mp4", "out.csv", "out.jsonl", "out.txt"))
    assert frames_in(tmp_path / "out.mp4") == 12
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [int(row["frame"]) for row in rows] == list(range(12))
    assert [float(rows[0][key]) for key in "xywh"] == [20, 30, 28, 28]
    assert len([json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]) == 12
    assert read_boxes(tmp_path / "out.txt").shape == (12, 4)


def test_ctrl_c_leaves_valid_files(place: Path, tmp_path: Path) -> None:
    images, _ = moving_square(24, 200, 150, 42)
    write_video(tmp_path / "long.mp4", images * 250)  # long enough to be stopped in the middle on any machine
    command = [
        sys.executable,
        str(ROOT / "tools" / "track.py"),
        "long.mp4",
        "--box",
        "20,30,42,42",
        "--model",
        str(place / "tiny.safetensors"),
    ]
    process = subprocess.Popen(
        [*command, "--save", "out.mp4", "--save-boxes", "out.csv"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        (tmp_path / "out.csv").exists() and (tmp_path / "out.csv").stat().st_size > 300
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Stopped by Ctrl-C" in err and "Traceback" not in err
    count = len((tmp_path / "out.csv").read_text().splitlines()) - 1
    assert 3 < count < 6000
    assert abs(frames_in(tmp_path / "out.mp4") - count) <= 1
    assert f"{count} frames" in out or f"{count - 1} frames" in out


def test_help_and_import_load_nothing_heavy() -> None:
    code = "import sys, tracker, tracker.cli.track as t; t.build_parser().format_help(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60, capture_output=True, text=True
    )
    assert not {"torch", "cv2", "numpy", "av", "onnxruntime", "omegaconf", "tqdm"} & set(done.stdout.split())


def test_the_console_script_imports_its_command_only(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tracker.cli", "track", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "--save-boxes" in done.stdout
    assert "tracker.cli.live" not in done.stderr and "torch" not in done.stderr and "cv2" not in done.stderr


# ---- every kind of input and output


@pytest.mark.parametrize("source", ["clip.mp4", "frames", "frames/*.png", "frames/%d.png"])
def test_every_kind_of_source(place: Path, here: Path, source: str) -> None:
    assert (
        tracked(place, "--init-file", place / "boxes.txt", "--save-boxes", "out.csv", "--quiet", source=place / source)
        == 0
    )
    assert len(Path("out.csv").read_text().splitlines()) == 13


@pytest.mark.parametrize("format", ["got10k", "mot", "otb", "vot"])
def test_every_text_format_starts_another_run(place: Path, here: Path, format: str) -> None:  # noqa: A002
    assert tracked(place, "--box", BOX, "--save-boxes", "a.txt", "--format", format, "--max-frames", 3) == 0
    if format != "vot":  # its first line is a code, not a box
        assert tracked(place, "--init-file", "a.txt", "--save-boxes", "b.csv", "--max-frames", 2) == 0
        np.testing.assert_allclose(read_boxes("b.csv")[0], [20, 30, 28, 28])


def test_start_and_end(place: Path, here: Path) -> None:
    assert tracked(place, "--box", "29,36,28,28", "--start-frame", 3, "--max-frames", 4, "--save-boxes", "out.csv") == 0
    assert [line.split(",")[0] for line in Path("out.csv").read_text().splitlines()[1:]] == ["3", "4", "5", "6"]


def test_several_targets(place: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        tracked(
            place,
            "--box",
            BOX,
            "--box",
            "100,60,30,30",
            "--save-boxes",
            "out.txt",
            "--save-boxes",
            "out.csv",
            "--save",
            "o.mp4",
        )
        == 0
    )
    assert {key: len(boxes) for key, boxes in read_all_boxes("out.csv").items()} == {0: 12, 1: 12}
    assert {key: len(boxes) for key, boxes in read_all_boxes("out.txt").items()} == {0: 12, 1: 12}, (
        "a .txt of several is MOT"
    )
    assert tracked(place, "--box", BOX, "--box", "100,60,30,30", "--save-boxes", "n.txt", "--format", "otb") == 2
    assert "holds one target" in capsys.readouterr().err and not Path("n.txt").exists()


def test_a_target_is_saved_and_found_in_another_video(
    place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tracked(place, "--box", BOX, "--save-target", "square.npz", "--max-frames", 3) == 0
    assert "wrote square.npz" in capsys.readouterr().out and Path("square.npz").exists()
    assert tracked(place, "--find", "square.npz", "--save-boxes", "out.csv", source=place / "frames") == 0
    assert len(Path("out.csv").read_text().splitlines()) == 13
    assert tracked(place, "--box", BOX, "--box", "1,2,30,30", "--save-target", "two.npz") == 2
    assert tracked(place, "--find", place / "boxes.txt", "--save-boxes", "no.csv") == 2
    assert "not a saved target" in capsys.readouterr().err and not Path("no.csv").exists()


def test_response_view_is_wider_than_the_frame(place: Path, here: Path) -> None:
    assert tracked(place, "--box", BOX, "--save", "view.mp4", "--view", "response", "--max-frames", 3) == 0
    with av.open("view.mp4") as container:
        frame = next(container.decode(video=0))
    assert frame.height == 480 and frame.width == 640 + 160


def test_without_any_output_and_display_the_video_is_written(
    place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tracked(place, "--box", BOX, "--max-frames", 2) == 0
    assert "the video goes to clip_tracked.mp4" in capsys.readouterr().out
    assert frames_in(Path("clip_tracked.mp4")) == 2
    assert tracked(place, "--box", BOX) == 2, "and is not overwritten by the next"


def test_show_without_a_display_goes_on_writing(place: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tracked(place, "--box", BOX, "--show", "--save-boxes", "out.csv", "--max-frames", 2) == 0
    assert "--show is left out" in capsys.readouterr().err
    assert Path("out.csv").exists()


def test_quiet_prints_nothing(place: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tracked(place, "--box", BOX, "--save-boxes", "out.csv", "--quiet", "--max-frames", 2) == 0
    told = capsys.readouterr()
    assert told.out == "" and told.err == ""


def test_overwrite(place: Path, here: Path) -> None:
    Path("out.csv").write_text("mine")
    assert tracked(place, "--box", BOX, "--save-boxes", "out.csv") == 2
    assert Path("out.csv").read_text() == "mine"
    assert tracked(place, "--box", BOX, "--save-boxes", "out.csv", "--overwrite", "--max-frames", 2) == 0
    assert len(Path("out.csv").read_text().splitlines()) == 3


# ---- what goes wrong
