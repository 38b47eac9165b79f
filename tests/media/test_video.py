"""The video sink: every file is opened again and looked at."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.clips import number_of, numbered
from tracker.errors import OutputError
from tracker.media.sinks import encoders
from tracker.media.sinks.video import Clock, VideoSink, count_frames
from tracker.media.sources.open import open_source
from tracker.types import Frame, Track, VideoInfo

INFO = VideoInfo("test", 96, 64, Fraction(30000, 1001))


def plain(frame: Frame, tracks: object) -> np.ndarray:
    return frame.image


def write(path: Path, frames: list[Frame], info: VideoInfo | None = INFO, **options: object) -> Path:
    with VideoSink(path, info, render=plain, **options) as sink:  # type: ignore[arg-type]
        for frame in frames:
            sink.write(frame, [])
    return path


@pytest.mark.parametrize("name", ["o.mp4", "o.mov", "o.m4v", "o.mkv"])
def test_frames_rate_and_codec(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [Frame(numbered(k), k, k * 1001 / 30000) for k in range(40)])
    with open_source(path) as source:
        assert source.info.frame_rate == Fraction(30000, 1001)
        frames = list(source)
    assert [number_of(f.image) for f in frames] == list(range(40))
    assert [f.timestamp for f in frames] == pytest.approx([k * 1001 / 30000 for k in range(40)], abs=6e-4)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["o.webm", "o.gif"])
def test_webm_and_gif_hold_every_frame_at_its_time(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [Frame(numbered(k), k, k * 1001 / 30000) for k in range(25)])
    with open_source(path) as source:
        frames = list(source)
    assert [number_of(f.image) for f in frames] == list(range(25))
    assert [f.timestamp for f in frames] == pytest.approx([k * 1001 / 30000 for k in range(25)], abs=6e-3)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == name.replace("o.webm", "vp9").replace("o.", "")
    assert list(tmp_path.iterdir()) == [path]


def test_a_gif_is_no_larger_and_no_faster_than_browsers_play(tmp_path: Path) -> None:
    picture = np.full((720, 1280, 3), 90, np.uint8)
    picture[100:200, 200:400] = (0, 0, 250)
    info = VideoInfo("test", 1280, 720, Fraction(120))
    path = write(tmp_path / "o.gif", [Frame(picture, k, k / 120) for k in range(24)], info)
    with open_source(path) as source:
        frames = list(source)
    assert frames[0].image.shape == (360, 640, 3) and 5 <= len(frames) <= 8
    assert np.abs(frames[-1].image[75, 150].astype(int) - (0, 0, 250)).max() < 30, "colours are kept"
    gaps = np.diff([frame.timestamp for frame in frames])
    assert min(gaps) > 0.019


def test_index_is_in_front_so_that_browsers_start_at_once(tmp_path: Path) -> None:
    data = write(tmp_path / "o.mp4", [Frame(numbered(k), k) for k in range(5)]).read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat") and b"moof" not in data


def test_colours_survive(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :32], image[:, 32:64], image[:, 64:] = (200, 30, 30), (30, 200, 30), (30, 30, 200)
    path = write(tmp_path / "o.mp4", [Frame(image, k) for k in range(3)])
    with open_source(path) as source:
        out = next(source).image
    for x in (16, 48, 80):
        assert np.abs(out[32, x].astype(int) - image[32, x]).max() <= 6


def test_odd_size_and_change_of_size(tmp_path: Path) -> None:
    frames = [
        Frame(numbered(0, 95, 63), 0),
        Frame(numbered(1, 40, 80), 1),
        Frame(numbered(2, 96, 64), 2),
        Frame(numbered(3, 95, 63), 3),
    ]
    with open_source(write(tmp_path / "o.mp4", frames)) as source:
        out = list(source)
    assert {f.image.shape for f in out} == {(64, 96, 3)}
    assert (number_of(out[0].image), number_of(out[3].image)) == (0, 3)
    assert (
        out[1].image[:, :20].max() < 20 and out[1].image[:, -20:].max() < 20
    )  # the tall frame stands between black bars


def test_variable_and_live_time_stamps(tmp_path: Path) -> None:
    times = [3.0, 3.033, 3.09, 3.5, 4.25]
    frames = [Frame(numbered(k), 2 * k, t) for k, t in enumerate(times)]
    for info in (INFO, VideoInfo("live", 96, 64, Fraction(30), live=True)):
        with open_source(write(tmp_path / f"{info.source}.mp4", frames, info)) as source:
            assert [f.timestamp for f in source] == pytest.approx([t - 3 for t in times], abs=0.004)


def test_folders_get_25_frames_a_second(tmp_path: Path) -> None:
    with open_source(write(tmp_path / "o.mp4", [Frame(numbered(k), k) for k in range(6)], None)) as source:
        assert source.info.frame_rate == 25


@pytest.mark.parametrize(
    "rate", [Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(15, 2), Fraction(1234567, 41111)]
)
def test_clock_keeps_the_rate_exactly_and_never_stands_still(rate: Fraction) -> None:
    clock = Clock(rate)
    ticks = [clock.ticks(Frame(numbered(0, 8, 8), k, round(k / float(rate), 3))) for k in range(200)]
    assert {b - a for a, b in itertools.pairwise(ticks)} == {clock.step}
    assert abs(clock.base * clock.step * rate - 1) < 1e-4
    assert clock.ticks(Frame(numbered(0, 8, 8), 5, 0.0)) == ticks[-1] + 1


def test_drawing_is_the_default_and_leaves_the_frame_alone(tmp_path: Path) -> None:
    frame = Frame(np.zeros((64, 96, 3), np.uint8), 0)
    with VideoSink(tmp_path / "o.mp4", INFO) as sink:
        sink.write(frame, [Track(np.array([20.0, 20, 40, 30]), 0.9)])
    assert not frame.image.any()
    with open_source(tmp_path / "o.mp4") as source:
        assert next(source).image.max() > 150


def test_paths_are_checked_and_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "o.mp4").write_text("precious")
    for path, says in (
        (tmp_path / "o.mp4", "--overwrite"),
        (tmp_path / "o.avi", "must end in"),
        (tmp_path / "no" / "o.mp4", "does not exist"),
    ):
        with pytest.raises(OutputError, match=says):
            VideoSink(path, INFO)
    assert (tmp_path / "o.mp4").read_text() == "precious"
    assert count_frames(write(tmp_path / "o.mp4", [Frame(numbered(1), 0)], overwrite=True)) == 1
    with VideoSink(tmp_path / "none.mp4", INFO):
        pass
    assert not (tmp_path / "none.mp4").exists()


def test_an_encoder_that_fails_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: VideoSink, image: object, ticks: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoSink, "_encode", fail)
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "o.mp4", [Frame(numbered(k), k) for k in range(50)])


def test_poorer_encoder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoders, "ENCODERS", {"no-such-encoder": {}, "mpeg4": {"qscale": "2"}})
    path = write(tmp_path / "o.mp4", [Frame(numbered(k), k) for k in range(5)])
    assert "browsers don't play" in caplog.text and count_frames(path) == 5


def test_an_exception_in_the_loop_leaves_a_whole_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoSink(tmp_path / "o.mp4", INFO) as sink:
        for k in range(7):
            sink.write(Frame(numbered(k), k), [])
        raise KeyboardInterrupt
    assert count_frames(tmp_path / "o.mp4") == 7


KILLED = """
import sys, time
from tests.media.clips import numbered
from tracker.media.sinks.video import VideoSink
from tracker.types import Frame
sink = VideoSink(sys.argv[1], render=lambda frame, tracks: frame.image)
for k in range(10000):
    sink.write(Frame(numbered(k % 256), k), [])
    time.sleep(0.01)
    print(k, flush=True)
"""


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.webm", "o.gif"])
def test_a_killed_writer_leaves_a_playable_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(60)][-1]
    process.send_signal(signal.SIGKILL)
    process.wait()
    with av.open(str(path)) as container:
        found = [number_of(frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]
    assert found == list(range(len(found)))
    assert len(found) >= seen - 13, (len(found), seen)  # those on their way to the encoder, and a cluster of Matroska
