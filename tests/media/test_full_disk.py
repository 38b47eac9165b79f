"""A disk that is full: every writer says how many frames are whole in its file, and leaves no file without any."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.cli.helpers import ROOT, environment
from tests.media.clips import numbered
from tracker.errors import OutputError
from tracker.media.sinks.boxes import BoxSink
from tracker.media.sinks.video import VideoSink
from tracker.serve.config import RecordConfig
from tracker.serve.recording import StreamRecorder
from tracker.types import Frame, Track, VideoInfo
from tracker.web.recorder import ClipRecorder

INFO = VideoInfo("x", 160, 120, Fraction(25))
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")


def frames(write: Callable[[Frame, list[Track]], None], count: int = 60) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    for k in range(count):
        write(Frame(np.roll(noise, 9 * k, axis=1), k, k / 25), [Track(np.array([20.0, 20, 40, 30]), 0.9)])


def sink(name: str) -> None:
    """Prints the sentence that a file of this name ends in."""
    try:
        with BoxSink(name, name[2:]) if name.endswith(("csv", "jsonl")) else VideoSink(name, INFO) as out:
            frames(out.write)
    except OutputError as error:
        print(f"{name}: {error}")


def recorders() -> None:
    """Prints what `serve` and the browser page say."""
    recording = StreamRecorder(RecordConfig(video="s.mp4", boxes="s.csv"), INFO, False, print)
    recording.start()
    frames(recording.write)
    recording.finish()
    recording.join()
    clip = ClipRecorder(Path("page"), INFO, lambda outcome: print(f"page: {outcome}"))
    Path("page").mkdir()
    clip.start()
    try:
        frames(clip.write)
    except OutputError as error:
        print(error)
    clip.close()
    assert {path.name for path in Path("page").iterdir()} == set(clip.finished)


def on_a_full_disk(limit: int, code: str, folder: Path) -> list[str]:
    """The lines that some code prints where no file may be longer than so many bytes."""
    text = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.media.test_full_disk import recorders, sink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
{code}
"""
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


NAMES = ["o.mp4", "o.mkv", "o.webm", "o.gif", "o.csv", "o.jsonl"]


def test_the_first_frame_does_not_fit(tmp_path: Path) -> None:
    said = on_a_full_disk(0, f"for name in {NAMES}: sink(name)", tmp_path)
    assert len(said) == len(NAMES)
    for name, sentence in zip(NAMES, said, strict=True):
        assert sentence == f"{name}: Writing {name} failed: File too large; nothing was written.", said
    assert list(tmp_path.iterdir()) == []


def test_the_sentence_counts_the_frames_that_are_there(tmp_path: Path) -> None:
    said = on_a_full_disk(40_000, f"for name in {NAMES[:4]}: sink(name)", tmp_path)
    said += on_a_full_disk(300, f"for name in {NAMES[4:]}: sink(name)", tmp_path)
    for name, sentence in zip(NAMES, said, strict=True):
        path = tmp_path / name
        found = len(path.read_text().splitlines()) - (name == "o.csv") if name in NAMES[4:] else decoded_frames(path)
        kept = "1 frame is" if found == 1 else f"{found} frames are"
        assert 0 < found < 60 and sentence.endswith(f"File too large; {kept} whole in {name}."), (found, said)


def decoded_frames(path: Path) -> int:
    found = 0
    try:
        with av.open(str(path)) as container:
            for _ in container.decode(video=0):
                found += 1
    except av.FFmpegError:
        pass  # the end is torn
    return found


def test_recordings_say_so_too(tmp_path: Path) -> None:
    said = on_a_full_disk(0, "recorders()", tmp_path)
    for name in ("s.mp4", "s.csv"):
        assert f"recording ended: Writing {name} failed: File too large; nothing was written." in said
    assert len(said) == 4 and all("File too large; nothing was written." in line for line in said if line), said
    assert [path.name for path in tmp_path.rglob("*")] == ["page"]


def test_an_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: VideoSink, image: object, ticks: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoSink, "_encode", fail)
    old = tmp_path / "o.mp4"
    old.write_text("precious")
    with (
        pytest.raises(OutputError, match=r"No space left on device; nothing was written\.$"),
        VideoSink(old, INFO, overwrite=True) as out,
    ):
        for k in range(50):
            out.write(Frame(numbered(k), k), [])
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"] and old.read_text() == "precious"
