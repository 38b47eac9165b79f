"""Odd containers, codecs and pixel formats: read right, from any frame on, or refused with a sentence."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.media.clips import number_of, numbered, write_clip
from tracker.errors import SourceError
from tracker.media.sinks.video import VideoSink
from tracker.media.sources.open import losses, open_source

N = 40
FIELDS = {"flags": "+ilme+ildct", "x264-params": "tff=1"}
OPEN_GOP = {"x264-params": "open-gop=1:keyint=10:bframes=3:scenecut=0"}
ODD: dict[str, dict[str, object]] = {
    "b-frames.ts": {"more": {"bf": "3"}},
    "bluray.m2ts": {"more": {"bf": "3"}, "options": {"mpegts_m2ts_mode": "1"}, "form": "mpegts"},
    "ps.mpg": {"codec": "mpeg2video"},
    "interlaced.mpg": {"codec": "mpeg2video", "more": {"flags": "+ilme+ildct"}},
    "interlaced.ts": {"more": FIELDS},
    "raw.h264": {"more": {"bf": "3"}, "form": "h264"},
    "raw.hevc": {
        "codec": "libx265",
        "more": {"x265-params": "log-level=none:keyint=10:min-keyint=10:open-gop=1:bframes=3"},
        "form": "hevc",
    },
    "open-gop.mp4": {"more": OPEN_GOP},
    "refresh.mkv": {"more": {"x264-params": "intra-refresh=1:keyint=15"}},
    "hidden.webm": {
        "codec": "libvpx",
        "more": {"b": "400k", "auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5"},
    },
    "hidden9.webm": {
        "codec": "libvpx-vp9",
        "more": {"b": "400k", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"},
    },
    "fast.mkv": {"rate": Fraction(1500), "more": {"bf": "2"}},
    "slow.mkv": {"rate": Fraction(1), "more": {"bf": "3"}},
    "slow.mp4": {"rate": Fraction(1), "more": {"bf": "3"}},
    "stills.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "b-frames.avi": {"codec": "mpeg4", "more": {"bf": "2", "b": "2M"}},
    "ten-bit.mkv": {"pix_fmt": "yuv422p10le"},
    "gray.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
    "bgr.mkv": {"codec": "ffv1", "pix_fmt": "bgr0"},
    "full-range.mp4": {"pix_fmt": "yuvj420p"},
    "palette.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "alpha.mov": {"codec": "png", "pix_fmt": "rgba"},
    "animated.png": {"codec": "apng", "pix_fmt": "rgb24", "form": "apng"},
    "fragments.mp4": {"options": {"movflags": "frag_keyframe+empty_moov"}},
    "late.mkv": {"stamps": [7000 + 40 * k for k in range(N)], "base": Fraction(1, 1000)},
    "uneven.mkv": {"stamps": [k * k for k in range(N)], "base": Fraction(1, 1000), "more": {"bf": "2"}},
}


@pytest.mark.parametrize("name", ODD)
def test_every_frame_from_every_start(tmp_path: Path, name: str) -> None:
    options = dict(ODD[name])
    if str(options.get("codec", "libx264")) not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no encoder {options['codec']}")
    path = write_clip(tmp_path / name, [numbered(k) for k in range(N)], options.pop("rate", Fraction(25)), **options)  # type: ignore[arg-type]
    with open_source(path) as source:
        frames = list(source)
        assert losses(source) == []
    assert [number_of(f.image) for f in frames] == list(range(N))
    assert [f.index for f in frames] == list(range(N))
    times = [f.timestamp for f in frames]
    assert times[0] == 0 and all(b is not None and a is not None and b > a for a, b in itertools.pairwise(times))
    for start in (1, 11, 23, N - 1):
        with open_source(path, start=start) as source:
            first = next(source)
        assert (first.index, first.timestamp) == (start, times[start])
        assert np.array_equal(first.image, frames[start].image), start
    with pytest.raises(SourceError, match=f"only {N} frames"):
        open_source(path, start=N)


def test_a_stream_that_begins_between_key_frames(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "whole.ts", [numbered(k) for k in range(N)], more={"bf": "0"}).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(data[188 * (len(data) // 188 // 5) :])
    with open_source(path) as source:
        seen = [number_of(f.image) for f in source]
    assert seen == list(range(20, N))  # the second key frame
    with open_source(path, start=7) as source:
        assert number_of(next(source).image) == 27


def damage(path: Path, mark: bytes, length: int) -> Path:
    data = bytearray(path.read_bytes())
    at = data.find(mark, len(data) // 2)
    data[at : at + length] = bytes(length)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["d.mkv", "d.avi", "d.mov"])
def test_a_damaged_packet_costs_its_frame(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    clip = write_clip(tmp_path / name, [numbered(k) for k in range(N)], codec="mjpeg", pix_fmt="yuvj420p")
    with open_source(damage(clip, b"\xff\xd8\xff", 600)) as source:
        frames = list(source)
        assert losses(source) == ["1 damaged and left out"]
    seen = [number_of(f.image) for f in frames]
    assert len(seen) == N - 1 and seen == sorted(set(seen)) and [f.index for f in frames] == list(range(N - 1))
    assert "a damaged frame is left out" in caplog.text
    for start in (seen.index(max(s for s in seen if s + 1 not in seen and s < N - 1)) + 1, N - 2):
        with open_source(clip, start=start) as source:
            assert number_of(next(source).image) == seen[start]


def test_half_a_picture_in_motion_jpeg_is_not_shown(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "d.avi", [numbered(k) for k in range(N)], codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(clip.read_bytes())
    at = data.find(b"\xff\xd8\xff", len(data) // 2)
    end = data.find(b"\xff\xd9", at)
    data[(at + end) // 2 : end - 8] = bytes(end - 8 - (at + end) // 2)
    clip.write_bytes(data)
    with open_source(clip) as source:
        seen = [number_of(f.image) for f in source]
        assert losses(source) == ["1 damaged and left out"]
    assert len(seen) == N - 1


FRONT: dict[str, Any] = {"options": {"movflags": "+faststart"}}

CUT: dict[str, dict[str, Any]] = {
    "plain.mkv": {"more": {"bf": "0"}},
    "b-frames.mkv": {"more": {"bf": "3"}},
    "front.mp4": FRONT,
    "fragments.mp4": {"options": {"movflags": "frag_keyframe+empty_moov"}},
    "mpeg4.mov": {"codec": "mpeg4", **FRONT},
    "pictures.mov": {"codec": "png", "pix_fmt": "rgb24", **FRONT},
    "vp8.webm": {"codec": "libvpx"},
    "stills.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "lossless.avi": {"codec": "huffyuv", "pix_fmt": "yuv422p"},
    "raw.avi": {"codec": "rawvideo"},
    "palette.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "animated.png": {"codec": "apng", "pix_fmt": "rgb24", "form": "apng"},
    "flash.flv": {"codec": "flv"},
    "planes.y4m": {"codec": "wrapped_avframe"},
    "row.mjpeg": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


@pytest.mark.parametrize("name", CUT)
def test_a_file_that_is_cut_short_gives_whole_frames_at_their_numbers_and_says_so(tmp_path: Path, name: str) -> None:
    clip = write_clip(tmp_path / name, [numbered(k) for k in range(N)], **CUT[name])
    with open_source(clip) as source:
        whole = [f.image for f in source]
    assert len(whole) == N, "and the whole file is not called cut short"
    data, cut, counts = clip.read_bytes(), tmp_path / f"cut-{name}", []
    for part in (0.55, 0.68, 0.8, 0.93, 0.99):
        cut.write_bytes(data[: int(len(data) * part)])
        seen: list[np.ndarray] = []
        with pytest.raises(SourceError, match="cut short") as refused, open_source(cut) as source:
            seen.extend(f.image for f in source)
        assert str(refused.value).startswith("Can't open") or f"after {len(seen)} were delivered" in str(refused.value)
        assert all(np.array_equal(a, b) for a, b in zip(seen, whole, strict=False))
        counts.append(len(seen))
    assert counts == sorted(counts) and 0 < counts[-1] < N


@pytest.mark.parametrize(
    "name",
    [
        "a:b.mp4",
        "http:x.mp4",
        "blank.mp4 ",
        "é ü.mp4",
        "100%20.mp4",
        "%03d.mp4",
        "new\nline.mp4",
        "q?[1].mp4",
        "-x.mp4",
    ],
)
def test_names_of_files(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "plain.mp4", [numbered(k) for k in range(3)]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for spec in (
        name,
        tmp_path / name,
        str(tmp_path / name),
        (tmp_path / name).as_uri(),
        "FILE://localhost" + (tmp_path / name).as_uri()[7:],
    ):
        with open_source(spec) as source:
            assert [number_of(f.image) for f in source] == [0, 1, 2], spec


def test_a_path_of_digits_is_a_file_and_other_machines_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "p.mp4", [numbered(0)]).rename(tmp_path / "7")
    monkeypatch.chdir(tmp_path)
    for spec in (Path("7"), "./7"):
        with open_source(spec) as source:
            assert number_of(next(source).image) == 0
    with pytest.raises(SourceError, match="machine 'nas'"):
        open_source("file://nas/share/a.mp4")


@pytest.mark.parametrize(
    "spec", ["", "   ", None, 3.5, True, -1, ["a.mp4"], b"a.mp4", "a\0b.mp4", "x" * 5000, "~nobody-at-all/a.mp4"]
)
def test_what_is_no_source(spec: object) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(spec)  # type: ignore[arg-type]
    assert str(caught.value).endswith((".", "?")) and "\n" not in str(caught.value)


def test_pixels_that_are_not_square_are_stored_pixels_and_keep_their_shape(tmp_path: Path) -> None:
    for rotate, expected in ((0, Fraction(64, 45)), (90, Fraction(45, 64))):
        path = write_clip(
            tmp_path / f"pal{rotate}.mp4", [numbered(k) for k in range(3)], aspect=Fraction(64, 45), rotate=rotate
        )
        with open_source(path) as source:
            assert source.info.pixel_aspect == expected
            assert (source.info.width, source.info.height) == ((96, 64) if not rotate else (64, 96))
            with VideoSink(
                tmp_path / f"out{rotate}.mp4", source.info, render=lambda frame, tracks: frame.image
            ) as sink:
                for frame in source:
                    sink.write(frame, [])
        with open_source(tmp_path / f"out{rotate}.mp4") as source:
            assert source.info.pixel_aspect == expected
