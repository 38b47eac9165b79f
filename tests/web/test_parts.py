"""What the browser page is built of: addresses and their guard, requests, the memory of frames, recordings."""

from __future__ import annotations

import csv
import itertools
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import moving_square
from tests.media.clips import write_clip
from tracker.errors import BoxError, OutputError, SiamTrackError
from tracker.media.sources.video import VideoFileSource
from tracker.types import Frame, Track, TrackState, VideoInfo
from tracker.web.access import Address, Guard, parse_address
from tracker.web.commands import RequestError, TargetRequest, parse_message
from tracker.web.playback import Looped, open_live
from tracker.web.recorder import ClipRecorder, Recording
from tracker.web.worker import History

CLIP, TRUTH = moving_square(16)


# Addresses and checks


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", 8765), ("8000", "127.0.0.1", 8000), (":8000", "127.0.0.1", 8000),
        ("0.0.0.0", "0.0.0.0", 8765),
        ("box.local:80", "box.local", 80), ("[::1]:9", "::1", 9), ("::1", "::1", 8765), ("localhost:0", "localhost", 0),
    ],
)  # fmt: skip
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize("text", ["clip.mp4:x", "a:99999", "[::1", "http://x/", "a b", "1:2:3:zz", "x:-1"])
def test_wrong_addresses_are_a_sentence(text: str) -> None:
    with pytest.raises(SiamTrackError, match="not an address to listen on"):
        parse_address(text)


def test_only_loopback_goes_without_a_token() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1"):
        assert Guard.for_address(Address(host)).token is None
    guard = Guard.for_address(Address("0.0.0.0"))
    assert guard.token and len(guard.token) >= 32 and guard.token in guard.url(8000) and guard.token not in repr(guard)
    assert guard.token != Guard.for_address(Address("0.0.0.0")).token
    assert guard.token_allowed(guard.token) and not any(
        guard.token_allowed(t) for t in (None, "", guard.token[:-1], guard.token + "x", "é")
    )


def test_host_and_origin() -> None:
    local = Guard.for_address(Address("127.0.0.1", 80))
    assert (
        local.host_allowed("localhost:80")
        and local.host_allowed("[::1]:80")
        and not local.host_allowed("evil.example:80")
    )
    assert Guard.origin_allowed("http://pi.local:80", "pi.local:80") and Guard.origin_allowed(None, "x")
    assert not any(
        Guard.origin_allowed(o, "pi.local:80")
        for o in ("null", "http://evil.example", "http://pi.local:81", "file://pi.local:80")
    )


# Requests


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[]", "1", "{}", '{"type":"shutdown"}', '{"type":"drop","id":"0"}', '{"type":"drop","id":true}',
        '{"type":"hold"}',
        '{"type":"record","on":1}', '{"type":"target","box":[1,2,3,4]}', '{"type":{"a":1}}', "[" * 4000,
    ],
)  # fmt: skip
def test_requests_of_the_wrong_kind(text: str) -> None:
    with pytest.raises(RequestError):
        parse_message(text)


@pytest.mark.parametrize(
    "box",
    [
        "null",
        "[1,2,3]",
        '["1",2,3,4]',
        "[1,2,3,true]",
        "[NaN,1,2,3]",
        "[1,2,Infinity,3]",
        "[1,2,3,1e400]",
        "[1e9,1,2,2]",
        "1" * 9,
    ],
)
def test_boxes_that_are_none(box: str) -> None:
    with pytest.raises(BoxError):
        parse_message(f'{{"type":"target","box":{box},"seq":0}}')


def test_a_good_target() -> None:
    assert parse_message('{"type":"target","box":[1,2,3,4.5],"seq":7,"add":true}') == TargetRequest(
        (1, 2, 3, 4.5), 7, True
    )


# Memory of what was drawn on


def test_history_keeps_the_frame_drawn_on_in_bounded_memory() -> None:
    picture, now = np.zeros((100, 100, 3), np.uint8), [0.0]
    history = History(budget=20 * picture.nbytes, clock=lambda: now[0])
    for seq in range(20):
        history.add(seq, Frame(picture, seq))
    assert len(history) == 8 and not history.since(5)
    history.hold(1, 15)
    for seq in range(20, 300):
        history.add(seq, Frame(picture, seq))
        assert history.nbytes <= 20 * picture.nbytes
    kept = [frame.index for frame in history.since(15)]
    assert kept[0] == 15 and kept[-1] == 299 and len(kept) > 8
    now[0] = 60.0  # whoever held it went away without a word
    history.add(300, Frame(picture, 300))
    assert not history.since(15) and len(history) <= 8


def test_history_waits_for_slow_browsers_but_not_for_sleeping_ones() -> None:
    history, picture = History(), np.zeros((4, 4, 3), np.uint8)
    for seq in range(60):
        history.add(seq, Frame(picture, seq), shown=max(0, seq - 30))
    assert [f.index for f in history.since(29)][:2] == [29, 30]
    for seq in range(60, 300):
        history.add(seq, Frame(picture, seq), shown=29)
    assert not history.since(29) and len(history) <= 90


# Playing files


def test_a_file_is_played_in_a_loop(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", CLIP[:5])
    looped = Looped(lambda: VideoFileSource(path))
    frames = list(itertools.islice(looped, 12))
    assert [f.index for f in frames] == list(range(12))
    np.testing.assert_allclose([f.timestamp for f in frames if f.timestamp is not None], np.arange(12) / 25)
    np.testing.assert_array_equal(frames[0].image, frames[10].image)
    looped.close()
    source, again = open_live(str(path))
    with source:
        assert again and source.info.live and next(source).image.shape == CLIP[0].shape


# Recordings


def test_recordings_are_complete_and_never_overwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda text: "now")
    done: list[Recording | str] = []
    recorder = ClipRecorder(tmp_path, VideoInfo("x", 160, 120), done.append)
    for _ in range(2):
        recorder.start()
        with pytest.raises(OutputError, match="already"):
            recorder.start()
        for k in range(6):
            state = TrackState.LOST if k == 3 else TrackState.TRACKING
            recorder.write(Frame(CLIP[k], 100 + 7 * k, 50 + k * k * 0.1), [Track(TRUTH[k], 0.9, state, 100 + 7 * k)])
        recorder.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["now.csv", "now.mp4", "now_2.csv", "now_2.mp4"]
    assert [isinstance(d, Recording) for d in done] == [True, True] and set(recorder.finished) == {
        p.name for p in tmp_path.iterdir()
    }
    rows = list(csv.DictReader((tmp_path / "now_2.csv").open()))
    assert [int(r["frame"]) for r in rows] == list(range(6)) and rows[3]["x"] == "" and rows[3]["state"] == "lost"
    with VideoFileSource(tmp_path / "now_2.mp4") as video:
        stamps = [f.timestamp for f in video]
    np.testing.assert_allclose(stamps, [float(r["timestamp"]) for r in rows], atol=0.001)
    np.testing.assert_allclose(stamps, [k * k * 0.1 for k in range(6)], atol=0.001)


def test_an_empty_recording_leaves_nothing(tmp_path: Path) -> None:
    done: list[Recording | str] = []
    recorder = ClipRecorder(tmp_path, VideoInfo("x", 8, 8), done.append)
    recorder.start()
    recorder.close()
    assert isinstance(done[0], str) and not list(tmp_path.iterdir()) and not recorder.finished
    with pytest.raises(OutputError, match="--save-dir"):
        ClipRecorder(None, VideoInfo("x", 8, 8), done.append).start()
