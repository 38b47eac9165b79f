"""Files that are no plain video: cover pictures, two videos, odd sizes, wrong names, no video at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.media.clips import number_of, numbered, write_clip
from tracker.errors import SourceError
from tracker.media.sources.open import open_source


def mux(path: Path, streams: list[tuple[str, list[np.ndarray], int]]) -> Path:
    """Several video streams in one file: (codec, images, disposition)."""
    with av.open(str(path), "w") as container:
        made = []
        for codec, images, disposition in streams:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = disposition
            made.append((stream, images))
        for stream, images in made:
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode(None))
    return path


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    cover, film = [np.full((300, 300, 3), 200, np.uint8)], [numbered(k) for k in range(5)]
    path = mux(tmp_path / "film.mp4", [("mjpeg", cover, 0x400), ("libx264", film, 1)])
    with open_source(path) as source:
        assert [number_of(f.image) for f in source] == list(range(5))
    with pytest.raises(SourceError, match="cover picture"):
        open_source(mux(tmp_path / "song.mp4", [("mjpeg", cover, 0x400)]))


def test_the_default_of_two_videos_is_read_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small, large = [numbered(9, 48, 32)] * 5, [numbered(k) for k in range(5)]
    with open_source(mux(tmp_path / "two.mkv", [("libx264", small, 0), ("libx264", large, 1)])) as source:
        assert [number_of(f.image) for f in source] == list(range(5))
    assert "holds 2 videos" in caplog.text


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (95, 63), (2, 2000)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    with open_source(write_clip(tmp_path / "o.mkv", [image] * 3, codec="ffv1", pix_fmt="bgr0")) as source:
        assert (source.info.width, source.info.height) == size
        assert all(np.array_equal(f.image, image) for f in source)


def test_a_size_that_changes_on_the_way_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    a = write_clip(tmp_path / "a.ts", [numbered(k) for k in range(10)])
    b = write_clip(tmp_path / "b.ts", [numbered(k, 192, 128) for k in range(10, 20)])
    (tmp_path / "ab.ts").write_bytes(a.read_bytes() + b.read_bytes())
    with open_source(tmp_path / "ab.ts") as source:
        frames = list(source)
    assert [number_of(f.image) for f in frames] == list(range(20))
    assert [f.image.shape[:2] for f in frames[9:11]] == [(64, 96), (128, 192)]
    assert "changes from 96 x 64 to 192 x 128" in caplog.text


JUNK: dict[str, Callable[[Path], bytes]] = {
    "noise.mp4": lambda folder: np.random.default_rng(0).bytes(5000),
    "zeros.avi": lambda folder: bytes(5000),
    "empty.mkv": lambda folder: b"",
    "page.mp4": lambda folder: b"<html><body>404 not found</body></html>" * 20,
    "clip.jpg": lambda folder: write_clip(folder / "c.mp4", [numbered(0)] * 3).read_bytes(),
    "photo.heic": lambda folder: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
    "cut.gif": lambda folder: b"GIF89a\x10\x00",
    "head.webm": lambda folder: write_clip(folder / "w.webm", [numbered(0)] * 3, codec="libvpx").read_bytes()[:300],
}


@pytest.mark.parametrize("name", JUNK)
def test_what_is_no_video_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(JUNK[name](tmp_path))
    with pytest.raises(SourceError, match="Can't open") as caught:
        open_source(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_picture_under_a_wrong_name_is_read_as_a_picture(tmp_path: Path) -> None:
    (tmp_path / "still.mp4").write_bytes(cv2.imencode(".jpg", numbered(5))[1].tobytes())
    with open_source(tmp_path / "still.mp4") as source:
        frames = list(source)
    assert len(frames) == 1 and number_of(frames[0].image) == 5
    (tmp_path / "still.mp4").write_bytes((tmp_path / "still.mp4").read_bytes()[:-200])
    with pytest.raises(SourceError, match="cut short"):
        open_source(tmp_path / "still.mp4")


def test_one_jpeg_after_another_is_a_video_under_any_name(tmp_path: Path) -> None:
    codes = [cv2.imencode(".jpg", numbered(k))[1].tobytes() for k in range(5)]
    for name in ("a.mjpg", "a.bin"):
        (tmp_path / name).write_bytes(b"".join(codes))
        with open_source(tmp_path / name) as source:
            assert [number_of(f.image) for f in source] == list(range(5))


def test_an_animation_in_a_folder_is_not_taken_for_a_picture(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.png", [numbered(k) for k in range(4)], codec="apng", pix_fmt="rgb24", form="apng")
    with open_source(tmp_path / "a.png") as source:
        assert [number_of(f.image) for f in source] == [0, 1, 2, 3]
    with pytest.raises(SourceError, match="an animation"):
        open_source(tmp_path)
