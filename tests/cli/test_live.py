"""tools/live.py as a user runs it: a file at its own speed, and a stream from another process that dies and comes
back."""

from __future__ import annotations

import csv
import socket
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from tests.cli.helpers import BOX, ROOT, environment, frames_in, tiny_model, tool, write_video
from tests.conftest import moving_square
from tracker.cli import live
from tracker.cli.common import Parser, run
from tracker.cli.model_options import add_model_options, load_tracker


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("live")
    write_video(place / "clip.mp4", moving_square(25)[0])
    tiny_model(place / "tiny.safetensors")
    return place


def rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row["state"]]


def test_a_file_plays_at_its_own_speed(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [
        "--box",
        BOX,
        "--model",
        place / "tiny.safetensors",
        "--save",
        tmp_path / "o.mp4",
        "--save-boxes",
        tmp_path / "o.csv",
    ]
    assert run(live.main, [str(place / "clip.mp4"), "--no-show", *map(str, args)]) == 0
    summary = capsys.readouterr().out.splitlines()[-1]
    assert "dropped" in summary and "latency" in summary and "wrote" in summary
    found = rows(tmp_path / "o.csv")
    assert 1 <= len(found) <= 25 and frames_in(tmp_path / "o.mp4") == len(found)
    assert float(found[0]["score"]) == 1


@pytest.mark.parametrize(
    ("source", "args", "says"),
    [
        ("clip.mp4", [], "pass the box with --box"),
        ("none.mp4", ["--box", BOX], "no such file"),
        ("97", ["--box", BOX], "camera 97"),
        ("tcp://127.0.0.1:9", ["--box", BOX], "tcp://127.0.0.1:9"),
        ("clip.mp4", ["--box", "500,500,9,9"], "outside the frame"),
        ("clip.mp4", ["--box", BOX, "--duration", "0"], "above 0"),
        ("clip.mp4", ["--box", BOX, "--save", "clip.mp4"], "input itself"),
        ("clip.mp4", ["--box", BOX, "--find", "x.npz"], "give one of them"),
        ("clip.mp4", ["--box", BOX, "--duraton", "3"], "did you mean '--duration'"),
    ],
)
def test_one_sentence_and_exit_code_2(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    source: str,
    args: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("DISPLAY", raising=False)
    try:
        code = run(live.main, [source, "--no-show", "--quiet", "--model", "tiny.safetensors", *args])
    except SystemExit as stop:
        code = int(stop.code or 0)
    err = capfd.readouterr().err
    assert code == 2 and says in err and len(err.splitlines()) == 1, err


def serve(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.media.stream_server", "tcp", str(port)], cwd=ROOT, env=environment()
    )


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


@pytest.mark.slow
def test_a_stream_that_dies_and_comes_back(place: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serve(port)
    wait_for_port(port)
    command = [
        sys.executable,
        str(ROOT / "tools" / "live.py"),
        f"tcp://127.0.0.1:{port}",
        "--box",
        "50,40,60,60",
        "--reconnect",
        "40",
    ]
    process = subprocess.Popen(
        [*command, "--model", str(place / "tiny.safetensors"), "--save-boxes", "o.csv", "--save", "o.mp4", "--no-show"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120

        def wait_for(count: int) -> None:
            while len(rows(tmp_path / "o.csv")) < count and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            assert len(rows(tmp_path / "o.csv")) >= count, (
                process.communicate(timeout=30) if process.poll() is not None else "too slow"
            )

        wait_for(5)
        server.kill()
        server.wait()
        before = len(rows(tmp_path / "o.csv"))
        server = serve(port)
        wait_for(before + 5)
        process.send_signal(2)
        out, err = process.communicate(timeout=150)
    finally:
        for started in (server, process):
            started.kill()
            started.wait()
    assert process.returncode == 130 and "Traceback" not in err, err
    assert "trying again" in err and "is back after" in err and "Stopped by Ctrl-C" in err
    assert "reconnected 1 times" in out
    found = rows(tmp_path / "o.csv")
    assert abs(frames_in(tmp_path / "o.mp4") - len(found)) <= 1
    times = [float(row["timestamp"]) for row in found]
    assert times == sorted(times)


@pytest.mark.slow
def test_track_reads_streams_too(place: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serve(port)
    try:
        wait_for_port(port)
        args = [
            "--box",
            "50,40,60,60",
            "--max-frames",
            5,
            "--save-boxes",
            "o.csv",
            "--save",
            "o.mp4",
            "--model",
            place / "tiny.safetensors",
        ]
        done = tool("track", f"tcp://127.0.0.1:{port}", *args, cwd=tmp_path)
    finally:
        server.kill()
        server.wait()
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "o.csv")) == 5 and frames_in(tmp_path / "o.mp4") == 5


@pytest.mark.slow
def test_track_reads_a_video_from_a_web_server(place: Path, tmp_path: Path) -> None:
    with (
        av.open(str(place / "clip.mp4")) as source,
        av.open(str(place / "web.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split(" port ")[1].split()[0]
        args = ["--box", BOX, "--save-boxes", "o.csv", "--model", place / "tiny.safetensors"]
        done = tool("track", f"http://127.0.0.1:{port}/web.mp4", *args, cwd=tmp_path)
        server.kill()
    assert done.returncode == 0, done.stderr
    assert [int(row["frame"]) for row in rows(tmp_path / "o.csv")] == list(range(25)), "every frame, none dropped"


def test_help(tmp_path: Path) -> None:
    done = tool("live", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--duration" in done.stdout and "r freezes the picture" in done.stdout


@pytest.mark.parametrize(
    ("options", "live", "budget"),
    [([], True, 40.0), ([], False, 0.0), (["--set", "tracking.redetection.budget_ms=9"], True, 9.0)],
)
def test_the_search_is_limited_in_time_where_frames_do_not_wait(
    options: list[str], live: bool, budget: float, tmp_path: Path
) -> None:
    tiny_model(tmp_path / "tiny.safetensors")
    parser = Parser()
    add_model_options(parser)
    args = parser.parse_args(["--model", str(tmp_path / "tiny.safetensors"), *options])
    assert load_tracker(args, live).observer.config.redetection.budget_ms == budget


@pytest.mark.parametrize(("model", "usual"), [("siamtrack-s", (0, 1)), ("siamtrack-n", (2, 2))])
def test_thorough_searches_as_much_in_every_model(model: str, usual: tuple[float, int]) -> None:
    parser = Parser()
    add_model_options(parser)
    for options, limits in (([], usual), (["--thorough"], (0, 2))):
        redetection = load_tracker(parser.parse_args(["--model", model, *options])).config.redetection
        assert (redetection.work, redetection.tiles) == limits


def test_damaged_frames_are_counted_in_the_summary(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.media.clips import numbered, write_clip

    clip = write_clip(tmp_path / "c.avi", [numbered(k) for k in range(12)], codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(clip.read_bytes())
    at = data.find(b"\xff\xd8\xff", len(data) // 2)
    end = data.find(b"\xff\xd9", at)
    data[(at + end) // 2 : end - 8] = bytes(end - 8 - (at + end) // 2)
    clip.write_bytes(data)
    model = str(place / "tiny.safetensors")
    assert run(live.main, [str(clip), "--no-show", "--box", "10,10,28,28", "--model", model]) == 0
    assert "1 damaged and left out" in capsys.readouterr().out.splitlines()[-1]
