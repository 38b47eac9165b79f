"""Frames by number: each bit for bit as decoding from the start gives it, whatever the container and the order."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.clips import number_of, numbered, write_clip
from tests.media.test_containers import ODD, damage
from tracker.annotate.frames import open_frames
from tracker.errors import SourceError
from tracker.media.sources.open import open_source
from tracker.media.sources.seek import FrameSeeker

N = 60
"""Frames: several groups of pictures of each."""
FROM_START = {"raw.h264", "raw.hevc", "b-frames.avi", "palette.gif", "animated.png", "fast.mkv"}
"""No time stamps, or several frames with one."""


def make(path: Path, options: dict[str, object], count: int = N) -> Path:
    options = dict(options)
    if str(options.get("codec", "libx264")) not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no encoder {options['codec']}")
    if "stamps" in options:
        options["stamps"] = [k * k if path.stem == "uneven" else 7000 + 40 * k for k in range(count)]
    rate = options.pop("rate", Fraction(25))
    return write_clip(path, [numbered(k) for k in range(count)], rate, **options)  # type: ignore[arg-type]


def whole(path: Path) -> list[np.ndarray]:
    with open_source(path) as source:
        return [frame.image for frame in source]


def check(path: Path, seed: int = 0) -> FrameSeeker:
    """Frames in a random order, then runs of some frames from random places."""
    expected, rng = whole(path), np.random.default_rng(seed)
    seeker = FrameSeeker(path)
    assert len(seeker) == len(expected)
    for index in map(int, rng.permutation(len(expected))[:20]):
        number, image = next(seeker.frames(index))
        assert number == index and np.array_equal(image, expected[index]), index
    for index in map(int, rng.integers(0, len(expected), 4)):
        seen = list(seeker.frames(index, before=5))
        assert max(0, index - 5) <= seen[0][0] <= index
        assert [number for number, _ in seen] == list(range(seen[0][0], len(expected)))
        assert all(np.array_equal(image, expected[number]) for number, image in seen)
    return seeker


@pytest.mark.parametrize("name", ODD)
def test_every_frame_in_any_order(tmp_path: Path, name: str) -> None:
    slow = name in FROM_START
    seeker = check(make(tmp_path / name, ODD[name], 20 if slow else N))
    assert seeker.sought == (not slow)
    seeker.close()


def behind_one_another(folder: Path) -> Path:
    """Two recordings in one file, whose stamps begin anew."""
    parts = [write_clip(folder / f"{k}.ts", [numbered(k + i) for i in range(20)], more={"bf": "2"}) for k in (0, 20)]
    path = folder / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def between_key_frames(folder: Path) -> Path:
    data = write_clip(folder / "whole.ts", [numbered(k) for k in range(N)], more={"bf": "2"}).read_bytes()
    path = folder / "late.ts"
    path.write_bytes(data[188 * (len(data) // 188 // 5) :])
    return path


def hidden(folder: Path) -> Path:
    """VP8 in two passes: some packets are frames that are never shown."""
    options = {"codec": "libvpx", "more": {"b": "200k", "auto-alt-ref": "1", "lag-in-frames": "25", "cpu-used": "0"}}
    return make(folder / "hidden.webm", {**options})


def turned(folder: Path) -> Path:
    return write_clip(folder / "a:b é.mp4", [numbered(k) for k in range(N)], rotate=90)


@pytest.mark.parametrize("build", [behind_one_another, between_key_frames, hidden, turned])
def test_odd_files(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    check(build(tmp_path)).close()


def test_a_file_that_is_cut_short_has_its_whole_frames(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv", {"more": {"bf": "2"}})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    seeker = FrameSeeker(path)
    for index in (24, 3, 20):  # well before the cut: where it falls depends on what the encoder made of the frames
        assert number_of(next(seeker.frames(index))[1]) == index
    assert 24 < len(seeker) < N
    seeker.close()


@pytest.mark.parametrize("name", ["d.mkv", "d.mov"])
def test_a_damaged_frame_is_left_out_and_the_others_keep_their_numbers(tmp_path: Path, name: str) -> None:
    clip = write_clip(tmp_path / name, [numbered(k) for k in range(N)], codec="mjpeg", pix_fmt="yuvj420p")
    seeker = FrameSeeker(damage(clip, b"\xff\xd8\xff", 600))
    assert len(seeker) == N
    seen = [number for number, image in seeker.frames(0) if number_of(image) == number]
    (lost,) = set(range(N)) - set(seen)
    assert next(seeker.frames(lost))[0] == lost + 1 and next(seeker.frames(lost - 1))[0] == lost - 1
    seeker.close()


@pytest.mark.parametrize("name", ["b-frames.ts", "ps.mpg", "fast.mkv", "open-gop.mp4"])
def test_annotation_sees_what_tracking_sees(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, ODD[name])
    expected, frames = whole(path), open_frames(path)
    for index in (50, 3, 51, 0, 59, 30, 29):
        assert np.array_equal(frames[index], expected[index]), index
    assert [k for k, _ in frames.walk(55, 35)] == list(range(55, 34, -1))
    assert all(np.array_equal(image, expected[k]) for k, image in frames.walk(55, 35))
    frames.close()


def test_names_as_elsewhere(tmp_path: Path) -> None:
    clip = make(tmp_path / "a:b é.mkv", {}, 5)
    (tmp_path / "7").write_bytes(clip.read_bytes())
    for spec in (clip, clip.as_uri(), f"file://localhost{clip.as_posix()}", tmp_path / "7"):
        frames = open_frames(spec)
        assert len(frames) == 5 and number_of(frames[3]) == 3
        frames.close()
    with pytest.raises(SourceError, match="live"):
        open_frames("0")
