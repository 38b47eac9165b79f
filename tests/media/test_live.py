"""Live sources: only the newest frame, reconnection, and a real stream that is killed and started again."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.media.clips import number_of, numbered, write_clip
from tests.media.stream_server import BITS, now, read_clock
from tracker.errors import SourceError
from tracker.media.sources import latest as live
from tracker.media.sources.base import Source
from tracker.media.sources.latest import LatestFrameSource
from tracker.media.sources.open import open_source
from tracker.types import Frame, VideoInfo

ROOT = Path(__file__).parents[2]


class Fake(Source):
    """Numbered frames every `every` seconds; breaks or ends after `count`."""

    def __init__(self, count: int, every: float = 0.01, error: str = "") -> None:
        self.info, self.count, self.every, self.error, self.at, self.closed = (
            VideoInfo("fake", 8, 8),
            count,
            every,
            error,
            0,
            False,
        )

    def __next__(self) -> Frame:
        if self.at >= self.count:
            if self.error:
                raise SourceError(self.error)
            raise StopIteration
        time.sleep(self.every)
        self.at += 1
        return Frame(np.full((8, 8, 3), self.at - 1, np.uint8), self.at - 1)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(live, "LONGEST_WAIT", 0.2)


def test_a_slow_reader_gets_the_newest_frame() -> None:
    fake = Fake(10_000, 0.01)
    with LatestFrameSource(lambda: fake) as source:
        got = []
        for _ in range(6):
            frame = next(source)
            got.append(frame)
            assert fake.at - frame.index <= 5 and frame.image[0, 0, 0] == frame.index % 256
            assert 0 <= source.latency < 0.2
            time.sleep(0.1)
        assert source.info.live and source.state == "live"
        assert source.dropped >= 20
        stamps = [f.timestamp for f in got]
        assert all(b is not None and a is not None and b - a > 0.05 for a, b in itertools.pairwise(stamps))
    assert fake.closed and source.state == "closed"
    with pytest.raises(StopIteration):
        next(source)


def test_a_quick_reader_misses_nothing() -> None:
    with LatestFrameSource(lambda: Fake(20, 0.02), reconnect_for=0) as source:
        assert [f.index for f in source] == list(range(20))
        assert source.dropped == 0 and source.state == "ended"


def test_reconnects_with_back_off_and_says_so() -> None:
    opens: Iterator[Callable[[], Fake]] = iter(
        [lambda: Fake(3, error="fake broke"), _refuse, _refuse, lambda: Fake(4), lambda: Fake(10_000)]
    )
    states: list[str] = []
    with LatestFrameSource(
        lambda: next(opens)(), reconnect_for=5, on_state=lambda state, text: states.append(state)
    ) as source:
        frames = [next(source)]
        while len(states) < 5:  # a busy machine misses frames, so their number says nothing
            frames.append(next(source))
        frames.append(next(source))
        assert source.reconnects == 2
    assert [f.index for f in frames] == sorted(f.index for f in frames)
    assert states == ["live", "reconnecting", "live", "reconnecting", "live"]


def _refuse() -> Fake:
    raise SourceError("Can't open fake: refused.")


def test_lost_for_good_is_an_error() -> None:
    opens: Iterator[Callable[[], Fake]] = itertools.chain([lambda: Fake(3)], itertools.repeat(_refuse))
    states: list[str] = []
    began = time.monotonic()
    with LatestFrameSource(
        lambda: next(opens)(), reconnect_for=0.5, on_state=lambda state, text: states.append(state)
    ) as source:
        with pytest.raises(SourceError, match=r"lost after 3 frames.*0\.5 seconds.*refused"):
            list(source)
        assert source.state == "failed"
    assert 0.4 < time.monotonic() - began < 3 and states[-1] == "failed"


def test_cannot_open_at_all() -> None:
    with pytest.raises(SourceError, match="refused"):
        LatestFrameSource(_refuse)


def test_read_with_a_time_out_and_close_while_waiting() -> None:
    with LatestFrameSource(lambda: Fake(10, 1.0)) as source:
        assert source.read(timeout=0.05) is None
        closer = threading.Timer(0.2, source.close)
        closer.start()
        began = time.monotonic()
        with pytest.raises(StopIteration):
            while True:
                source.read()
        assert time.monotonic() - began < 2


def test_a_file_as_if_live(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "c.mp4", [numbered(k) for k in range(20)])
    began = time.monotonic()
    with open_source(path, live=True) as source:
        frames = list(source)
    assert 0.6 < time.monotonic() - began < 5
    assert [number_of(f.image) for f in frames] == [f.index for f in frames] and frames[-1].index == 19
    with open_source(path, live=True) as source:
        next(source)
        time.sleep(0.4)
        assert number_of(next(source).image) >= 8


@pytest.mark.slow
def test_live_sources_have_no_start_frame() -> None:
    port = _free_port()
    server = _serve(f"tcp://127.0.0.1:{port}")
    try:
        with pytest.raises(SourceError, match="is live"):
            _open(f"tcp://127.0.0.1:{port}", start=3)
    finally:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _serve(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.media.stream_server", url.split(":")[0], url.rsplit(":")[-1]],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )


def _open(url: str, **options: object) -> LatestFrameSource:
    deadline = time.monotonic() + 20
    while True:
        try:
            source = open_source(url, timeout=5, **options)  # type: ignore[arg-type]
            assert isinstance(source, LatestFrameSource)
            return source
        except SourceError as error:
            if "refused" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["tcp", "http"])
def test_a_stream_that_is_killed_and_started_again(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{_free_port()}"
    server = _serve(url)
    states: list[str] = []
    try:
        with _open(url, reconnect_for=20.0, on_state=lambda state, text: states.append(state)) as source:
            assert source.info.live and (source.info.width, source.info.height) == (256, 192)
            before = [next(source) for _ in range(10)]
            server.kill()
            server.wait()
            time.sleep(0.5)
            server = _serve(url)
            began = time.monotonic()
            while source.reconnects == 0 and time.monotonic() - began < 20:
                source.read(timeout=0.2)
            after = [next(source) for _ in range(10)]
        assert after[0].index > before[-1].index and after[0].timestamp > before[-1].timestamp  # type: ignore[operator]
        assert "reconnecting" in states and states.count("live") >= 2
        assert (now() - read_clock(after[-1].image)) % (1 << BITS) < 5000
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_a_reader_of_5_frames_a_second_sees_the_present() -> None:
    url = f"tcp://127.0.0.1:{_free_port()}"
    server = _serve(url)
    try:
        with _open(url, reconnect_for=0.0) as source:
            lags = []
            for _ in range(15):
                frame = next(source)
                lags.append((now() - read_clock(frame.image)) % (1 << BITS))
                time.sleep(0.2)
            dropped = source.dropped
        print("lag in ms", lags, "dropped", dropped)
        assert dropped > 20
        assert np.median(lags[3:]) < 250  # a frame lasts 40 ms; the rest is encoder, network, and a busy test machine
        assert lags[-1] <= lags[3] + 200  # it does not grow
    finally:
        server.kill()
        server.wait()
