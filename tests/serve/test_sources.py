"""Sources as senders really send them: RTSP, MPEG-TS over UDP and HTTP, files over HTTP; what ends comes back."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.helpers import write_video
from tests.serve.rtsp_server import RtspServer
from tests.serve.test_worker import BOXES, add, all_ended, pictures, results, running, until
from tracker.serve.config import LimitsConfig
from tracker.serve.live import LiveReader
from tracker.serve.synthetic import encode
from tracker.serve.worker import StreamWorker

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="needs the program ffmpeg as a sender")
QUICK = LimitsConfig(first_wait=0.05, longest_wait=0.5)
TARGET = {"t": [100, 60, 40, 40]}


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """A second of H.264 and more, 320 x 192."""
    return encode(320, 192, 25)[:50]


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def sender(*output: str) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg sends a test picture in real time, a key frame each half second."""
    assert FFMPEG is not None
    picture = ["-re", "-f", "lavfi", "-i", "testsrc=size=320x192:rate=25"]
    command = [
        FFMPEG,
        "-nostdin",
        "-loglevel",
        "error",
        *picture,
        "-c:v",
        "mpeg2video",
        "-g",
        "12",
        "-bf",
        "0",
        *output,
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def first_results(worker: StreamWorker, count: int = 5) -> list[dict[str, Any]]:
    """Waits for so many results; the events on the way."""
    seen = 0

    def done(kind: str, values: dict[str, Any]) -> bool:
        nonlocal seen
        seen += len(values["lines"]) if kind == "results" else 0
        return seen >= count

    return [values for kind, values, _ in until(worker, done) if kind == "event"]


def until_state(worker: StreamWorker, state: str) -> str:
    *_, (_, values, _) = until(worker, lambda kind, values: values.get("state") == state)
    return str(values["text"])


def test_rtsp_comes_back_after_a_break(packets: list[bytes]) -> None:
    server = RtspServer(packets)
    try:
        with running(limits=QUICK) as worker:
            add(worker, "camera", f"rtsp://127.0.0.1:{server.port}/live", TARGET)
            events = first_results(worker)
            live = next(values for values in events if values["about"] == "state" and values["state"] == "live")
            assert live["live"] and (live["width"], live["height"]) == (320, 192)
            server.drop_clients()
            assert "tried again in 0.05 s" in until_state(worker, "down")
            first_results(worker)
        assert server.plays == 2
    finally:
        server.close()


def test_a_stream_that_comes_and_goes_is_tried_less_and_less_often(packets: list[bytes]) -> None:
    """Else it would keep a core busy with opening; only after `steady` seconds does the wait begin anew."""
    server = RtspServer(packets)
    try:
        with running(limits=QUICK) as worker:
            add(worker, "camera", f"rtsp://127.0.0.1:{server.port}/live", TARGET)
            waits = []
            for _ in range(3):
                until_state(worker, "live")
                server.drop_clients()
                waits.append(until_state(worker, "down").rpartition("tried again in ")[2])
        assert waits == ["0.05 s", "0.1 s", "0.2 s"]
    finally:
        server.close()


def test_a_decoder_that_is_too_slow_leaves_pictures_out_and_stays_in_time(packets: list[bytes]) -> None:
    """Ten pictures a second of twenty-five: after eight seconds it would be nearly five seconds behind."""
    server = RtspServer(packets)
    try:
        reader = LiveReader(f"rtsp://127.0.0.1:{server.port}/live", 5)
        began, lags, frames = time.monotonic(), [], 0
        for raw in reader:
            if raw.pts is not None:
                lags.append(time.monotonic() - began - float(raw.pts * raw.time_base))
            frames += 1
            if time.monotonic() - began > 8:
                break
            time.sleep(0.1)
        reader.close()
    finally:
        server.close()
    assert reader.skipped > 20 and len(lags) > 20
    assert max(lags) - min(lags) < 2.5


def test_a_clock_that_jumps_does_not_silence_a_stream() -> None:
    """Time stamps five seconds back look like decoding that is behind; nothing waits, so it is the clock."""
    beat = {"pts": None, "time_base": Fraction(1, 25), "size": 1}
    stamps = [k - 125 * (k > 20) for k in range(100)]
    packets = [SimpleNamespace(dts=stamp, is_keyframe=k % 5 == 0, **beat) for k, stamp in enumerate(stamps)]
    for k, packet in enumerate(packets):
        packet.decode = lambda k=k: [k]
    reader = object.__new__(LiveReader)
    reader.skipped, reader._container = 0, SimpleNamespace(demux=lambda stream: sent())

    def sent() -> Iterator[Any]:
        for packet in packets:
            time.sleep(0.04)
            yield packet

    seen = list(reader._decode(None))
    assert seen[:21] == list(range(21)) and seen[-1] == 99
    # DRAINED seconds of 25 packets are 50; a busy machine sends fewer in that time.
    assert 10 < reader.skipped < 70 and len(seen) + reader.skipped == 100


def test_rtsp_with_a_password_that_is_never_told(packets: list[bytes]) -> None:
    server = RtspServer(packets, user="me:geheim")
    try:
        with running(limits=QUICK) as worker:
            add(worker, "good", f"rtsp://me:geheim@127.0.0.1:{server.port}/live", TARGET)
            texts = [values["text"] for values in first_results(worker)]
            add(worker, "bad", f"rtsp://me:wrong@127.0.0.1:{server.port}/live", TARGET)
            *_, (_, values, _) = until(worker, lambda kind, values: values.get("state") == "down")
        assert values["stream"] == "bad" and "Can't open rtsp://" in values["text"]
        assert not any(secret in text for text in [*texts, values["text"]] for secret in ("geheim", "wrong"))
    finally:
        server.close()


@needs_ffmpeg
def test_mpegts_over_udp_comes_back_when_its_sender_does() -> None:
    address = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    with running(limits=QUICK) as worker:
        add(worker, "udp", address, TARGET, timeout=1.5)
        with sender("-f", "mpegts", f"{address}?pkt_size=1316"):
            first_results(worker)
        assert "nothing came for 1.5 seconds" in until_state(worker, "down")
        with sender("-f", "mpegts", f"{address}?pkt_size=1316"):
            first_results(worker)


@needs_ffmpeg
@pytest.mark.parametrize("form", ["mpegts", "mpjpeg"])
def test_an_endless_answer_over_http_is_live(form: str) -> None:
    address = f"http://127.0.0.1:{free_port()}/live"
    codec = ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"] if form == "mpjpeg" else []
    with running(limits=QUICK) as worker, sender(*codec, "-f", form, "-listen", "1", address):
        add(worker, "http", address, TARGET)
        live = [values for values in first_results(worker) if values.get("state") == "live"]
        assert live[-1]["live"], "the newest frame only"


def test_a_file_over_http_gives_every_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", pictures(12))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with running() as worker:
            add(worker, "s", f"http://127.0.0.1:{server.server_port}/clip.mp4", BOXES)
            got = results(until(worker, all_ended(1)), "s")
            add(worker, "gone", f"http://127.0.0.1:{server.server_port}/none.mp4", BOXES)
            assert "404" in until_state(worker, "down")
        server.shutdown()
    assert [line["frame"] for line in got] == list(range(12))


def test_a_camera_that_is_not_there_is_tried_again() -> None:
    with running(limits=QUICK) as worker:
        add(worker, "camera", 63, TARGET)
        text = until_state(worker, "down")
    assert "camera 63" in text.lower() and "tried again in 0.05 s" in text
