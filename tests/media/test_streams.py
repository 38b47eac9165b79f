"""What a file source does, a stream source does: rotation, the last frame, joining between key frames, cameras that are
starting."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.media.clips import number_of, numbered, write_clip
from tracker.errors import SourceError
from tracker.media.sources import latest as live
from tracker.media.sources.base import Source
from tracker.media.sources.latest import LatestFrameSource, open_patiently
from tracker.media.sources.open import losses, open_source
from tracker.media.sources.stream import StreamSource
from tracker.types import Frame, VideoInfo

N = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(live, "LONGEST_WAIT", 0.2)


@contextlib.contextmanager
def tcp(data: bytes, port: int = 0, pause: float = 0.002) -> Iterator[str]:
    """A server that sends the same bytes to whoever comes."""
    listener = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                for at in range(0, len(data), 188 * 7):
                    peer.sendall(data[at : at + 188 * 7])
                    time.sleep(pause)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


FILES: dict[str, Callable[[Path], Path]] = {
    "call.webm": lambda p: write_clip(
        p, FRAMES, codec="libvpx", options={"live": "1"}, more={"deadline": "realtime", "cpu-used": "8", "b": "1M"}
    ),
    "tv.ts": lambda p: write_clip(p, FRAMES, more={"bf": "2"}),
    "loop.gif": lambda p: write_clip(p, FRAMES, codec="gif", pix_fmt="rgb8"),
    "raw.h264": lambda p: write_clip(p, FRAMES, form="h264"),
    "phone.mp4": lambda p: write_clip(p, FRAMES, rotate=90),
    "stills.avi": lambda p: write_clip(p, FRAMES, codec="mjpeg", pix_fmt="yuvj420p"),
}
FRAMES = [numbered(k) for k in range(N)]


@pytest.mark.parametrize("name", FILES)
def test_a_file_on_a_web_server_is_read_to_its_last_frame_as_from_the_disk(tmp_path: Path, web: str, name: str) -> None:
    path = FILES[name](tmp_path / name)
    with open_source(path) as source:
        here = [frame.image for frame in source]
    with open_source(f"{web}/{name}") as source:
        assert not source.info.live and (source.info.height, source.info.width) == here[0].shape[:2]
        there = list(source)
    assert len(here) == len(there) == N and [f.index for f in there] == list(range(N))
    assert all(np.array_equal(frame.image, image) for frame, image in zip(there, here, strict=True))
    with open_source(f"{web}/{name}", start=17) as source:
        assert np.array_equal(next(source).image, here[17])


def test_a_running_stream_is_joined_at_its_next_key_frame(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "cam.ts", FRAMES, more={"bf": "0"}).read_bytes()  # a key frame in every 20
    with tcp(data[188 * (len(data) // 188 // 8) :]) as url, StreamSource(url) as source:
        assert source.info.live
        seen = [number_of(next(source).image) for _ in range(10)]
    # Low delay throws away what was read to learn the format: it may be the key frame after the next.
    assert seen[0] in (20, 40) and seen == list(range(seen[0], seen[0] + 10))


def test_a_turned_stream_is_turned(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "phone.mkv", FRAMES[:20], rotate=90, options={"live": "1"}).read_bytes()
    with open_source(tmp_path / "phone.mkv") as source:
        expected = [frame.image for frame in source]
    with tcp(data) as url, open_source(url, live=False) as source:
        assert (source.info.width, source.info.height) == (64, 96)
        assert np.array_equal(next(source).image, expected[0])


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.mark.parametrize("as_live", [True, None])
def test_a_camera_that_is_still_starting_is_waited_for(tmp_path: Path, as_live: bool | None) -> None:
    data = write_clip(tmp_path / "cam.ts", FRAMES, more={"bf": "0"}).read_bytes()
    port, states, up = free_port(), [], threading.Event()

    def boot() -> None:
        time.sleep(0.6)
        with tcp(data, port):
            up.wait(30)

    camera = threading.Thread(target=boot, daemon=True)
    camera.start()
    try:
        with open_source(
            f"tcp://127.0.0.1:{port}", live=as_live, reconnect_for=20, on_state=lambda *news: states.append(news)
        ) as source:
            assert isinstance(source, LatestFrameSource) and next(source).image.shape == (64, 96, 3)
    finally:
        up.set()
        camera.join()
    assert [state for state, _ in states[:2]] == ["connecting", "live"]
    assert "trying again for 20 seconds" in states[0][1]


def test_a_camera_that_never_starts_is_given_up_and_a_wrong_address_at_once() -> None:
    url, began = f"tcp://127.0.0.1:{free_port()}", time.monotonic()
    with pytest.raises(SourceError, match=r"Can't open .*refused.*tried for 0\.5 seconds"):
        open_source(url, reconnect_for=0.5)
    assert time.monotonic() - began < 10
    began = time.monotonic()
    with pytest.raises(SourceError, match="Can't open nonsense"):
        open_source("nonsense://camera", reconnect_for=60)
    assert time.monotonic() - began < 10


def test_what_time_does_not_mend_is_not_tried_again() -> None:
    tries = []

    def opener() -> Source:
        tries.append(1)
        raise SourceError("Can't open it: it has no video.")

    with pytest.raises(SourceError, match="no video"):
        open_patiently(opener, 60)  # type: ignore[arg-type]
    assert len(tries) == 1


class Lossy(Source):
    info = VideoInfo("lossy", 8, 8, live=True)
    damaged = 2

    def __init__(self) -> None:
        self.at = 0

    def __next__(self) -> Frame:
        if self.at == 50:
            raise StopIteration
        self.at += 1
        time.sleep(0.002)
        return Frame(np.zeros((8, 8, 3), np.uint8), self.at - 1)


def test_what_was_left_out_is_counted() -> None:
    with LatestFrameSource(Lossy, reconnect_for=0) as source:
        next(source)
        time.sleep(0.3)
        frames = list(source)
        assert losses(source) == [f"{source.dropped} dropped", "2 damaged and left out"]
        assert source.dropped + len(frames) + 1 == 50 and source.dropped > 20
