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
import cv2
import numpy as np
import pytest

from tests.cli.helpers import BOX, ROOT, environment, frames_in, tiny_model, tool, write_video
from tests.conftest import moving_square
from tracker.cli import track
from tracker.cli.common import run
from tracker.media.box_files import read_all_boxes, read_boxes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip, its frames, a box file and a model."""
    place = tmp_path_factory.mktemp("cli")
    images, boxes = moving_square(12)
    write_video(place / "clip.mp4", images, Fraction(30000, 1001))
    (place / "frames").mkdir()
    for k, image in enumerate(images):
        cv2.imwrite(str(place / "frames" / f"{k + 1}.png"), image)
    np.savetxt(place / "boxes.txt", boxes, delimiter=",", fmt="%g")
    tiny_model(place / "tiny.safetensors")
    return place


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, no display."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    from tracker.media.window import display_available

    display_available.cache_clear()
    return tmp_path


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


@pytest.fixture(scope="module")
def broken(place: Path) -> Path:
    """Files that are not what their names say."""
    (place / "text.mp4").write_text("this is not a video\n" * 100)
    data = (place / "clip.mp4").read_bytes()
    (place / "short.mp4").write_bytes(data[: len(data) // 2])  # without the index at its end
    (place / "empty.mp4").write_bytes(b"")
    (place / "nothing").mkdir(exist_ok=True)
    (place / "nonsense.txt").write_text("hello\n")
    (place / "wrong.yaml").write_text("tracking:\n  window_influenze: 0.3\n")
    (place / "damaged.safetensors").write_bytes((place / "tiny.safetensors").read_bytes()[:2000])
    return place


BAD: list[tuple[str, list[str], str]] = [
    ("none.mp4", ["--box", BOX], "no such file"),
    ("clp.mp4", [], "Did you mean"),
    ("text.mp4", ["--box", BOX], "text.mp4"),
    ("short.mp4", ["--box", BOX], "short.mp4"),
    ("empty.mp4", ["--box", BOX], "empty"),
    ("nothing", ["--box", BOX], "is empty"),
    ("nothing/*.png", ["--box", BOX], "names no images"),
    ("clip.mp4", ["--box", "500,500,10,10"], "outside the frame"),
    ("clip.mp4", ["--box", "0,0,0,0"], "no area"),
    ("clip.mp4", ["--box", "nan,0,5,5"], "not finite"),
    ("clip.mp4", ["--box", "-500,5,10,10"], "outside the frame"),
    ("clip.mp4", ["--box", "a,b"], "'a,b' is not a box"),
    ("clip.mp4", ["--box", "1,2,3"], "is not a box"),
    ("clip.mp4", ["--init-file", "nonsense.txt"], "nonsense.txt"),
    ("clip.mp4", ["--init-file", "none.txt"], "none.txt"),
    ("clip.mp4", ["--init-file", "boxes.txt", "--box", BOX], "give one of them"),
    ("clip.mp4", ["--box", BOX, "--start-frame", "99"], "only 12 frames"),
    ("clip.mp4", ["--box", BOX, "--start-frame", "-1"], "at least 0"),
    ("clip.mp4", ["--box", BOX, "--save", "no/such/folder/out.mp4"], "does not exist"),
    ("clip.mp4", ["--box", BOX, "--save", "clip.mp4", "--overwrite"], "input itself"),
    ("clip.mp4", ["--box", BOX, "--save", "out.wmv"], "must end in"),
    ("clip.mp4", ["--box", BOX, "--save-boxes", "out.xml"], "out.xml"),
    ("clip.mp4", ["--box", BOX, "--save-boxes", "boxes.txt"], "exists already"),
    ("clip.mp4", ["--box", BOX, "--save-boxes", "o.csv", "--save-boxes", "o.csv"], "twice"),
    ("clip.mp4", ["--box", BOX, "--save-boxes", "o.csv", "--format", "mot"], "no --save-boxes FILE.txt"),
    ("clip.mp4", ["--box", BOX, "--config", "none.yaml"], "none.yaml"),
    ("clip.mp4", ["--box", BOX, "--config", "wrong.yaml"], "window_influence"),
    ("clip.mp4", ["--box", BOX, "--set", "tracking.windw_influence=0.3"], "window_influence"),
    ("clip.mp4", ["--box", BOX, "--model", "another"], "neither a shipped model"),
    ("clip.mp4", ["--box", BOX, "--model", "siamtrak-n"], "Did you mean 'siamtrack-n'?"),
    ("clip.mp4", ["--box", BOX, "--model", "damaged.safetensors"], "damaged"),
    ("clip.mp4", ["--box", BOX, "--device", "warp"], "warp"),
    ("clip.mp4", ["--box", BOX, "--device", "cuda:99"], "cuda"),
    ("clip.mp4", ["--box", BOX, "--engine", "steam"], "steam"),
    ("clip.mp4", ["--box", BOX, "--boks", "1"], "did you mean '--box'"),
    ("clip.mp4", [], "pass the box with --box"),
    ("77", ["--box", BOX], "camera 77"),
]


@pytest.mark.parametrize(
    ("source", "args", "says"), BAD, ids=[f"{source} {' '.join(args[-2:])}" for source, args, _ in BAD]
)
def test_one_sentence_and_exit_code_2(
    broken: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    source: str,
    args: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(broken)
    before = {path: path.stat().st_mtime_ns for path in broken.rglob("*")}
    model = [] if "--model" in args else ["--model", "tiny.safetensors"]
    output = [] if "--save" in args or "--save-boxes" in args else ["--save", "new.mp4", "--save-boxes", "new.csv"]
    try:
        code = run(track.main, [source, *model, *args, *output])
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    told = capfd.readouterr()
    assert code == 2, told
    lines = [line for line in told.err.splitlines() if line]
    assert len(lines) == 1 and says in lines[0], told.err
    assert "Traceback" not in told.err
    assert {path: path.stat().st_mtime_ns for path in broken.rglob("*")} == before, "nothing written"


def test_an_unwritable_folder(broken: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import os

    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder = here / "locked"
    folder.mkdir(mode=0o500)
    assert tracked(broken, "--box", BOX, "--save", folder / "out.mp4") == 2
    assert "no permission" in capsys.readouterr().err


def test_failing_in_the_middle_keeps_what_was_written(
    place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "half"
    folder.mkdir()
    for k in range(8):
        (folder / f"{k}.png").write_bytes((place / "frames" / f"{k + 1}.png").read_bytes())
    (folder / "5.png").write_bytes((place / "frames" / "6.png").read_bytes()[:500])
    assert tracked(place, "--box", BOX, "--save-boxes", "out.csv", "--save", "out.mp4", source=folder) == 1
    told = capsys.readouterr()
    assert "5.png" in told.err and "Traceback" not in told.err
    assert told.out.splitlines()[-1].startswith("5 frames") and "wrote out.mp4, out.csv" in told.out
    assert frames_in(Path("out.mp4")) == 5
    assert len(Path("out.csv").read_text().splitlines()) == 6


def test_boxes_may_begin_outside(place: Path, here: Path) -> None:
    assert tracked(place, "--box", "-5,-4,30,30", "--save-boxes", "out.csv", "--max-frames", 2) == 0
