"""Every kind of source, and every way in which one fails."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.media.clips import number_of, numbered, write_clip
from tracker.errors import SourceError
from tracker.media.sources.base import Source
from tracker.media.sources.images import natural_key
from tracker.media.sources.open import PrefetchSource, open_source
from tracker.types import Frame, VideoInfo


def numbers(spec: str | Path, **options: object) -> list[int]:
    with open_source(spec, **options) as source:  # type: ignore[arg-type]
        assert isinstance(source, Source)
        return [number_of(frame.image) for frame in source]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(
        tmp_path_factory.mktemp("clips") / "long.mp4", [numbered(k) for k in range(200)], Fraction(30000, 1001)
    )


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.ts", "clip.mov"])
def test_video_files(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / name, [numbered(k) for k in range(30)], Fraction(30000, 1001))
    with open_source(path) as source:
        assert (source.info.width, source.info.height, source.info.live) == (96, 64, False)
        assert source.info.frame_rate == Fraction(30000, 1001)
        frames = list(source)
    assert [number_of(f.image) for f in frames] == list(range(30))
    assert [f.index for f in frames] == list(range(30))
    assert frames[0].image.dtype == np.uint8 and frames[0].image.flags.c_contiguous
    assert [f.timestamp for f in frames] == pytest.approx([k * 1001 / 30000 for k in range(30)], abs=6e-4)


def test_mp4_time_stamps_are_exact_and_frames_counted(long_clip: Path) -> None:
    with open_source(str(long_clip)) as source:
        assert source.info.frame_count == 200
        assert [f.timestamp for f in source] == pytest.approx([k * 1001 / 30000 for k in range(200)], abs=1e-9)


def test_variable_frame_rate(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 200, 240, 500, 1000]
    path = write_clip(tmp_path / "vfr.mkv", [numbered(k) for k in range(7)], stamps=stamps, base=Fraction(1, 1000))
    with open_source(path) as source:
        assert [f.timestamp for f in source] == pytest.approx([s / 1000 for s in stamps])


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3), (-90, 3)])
def test_rotation_metadata(tmp_path: Path, degrees: int, turns: int) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:20, :30] = 255  # a bright corner tells the turns apart
    path = write_clip(tmp_path / "turned.mp4", [image] * 3, rotate=degrees)
    expected = np.rot90(image, turns)
    with open_source(path) as source:
        assert (source.info.height, source.info.width) == expected.shape[:2]
        for frame in source:
            assert frame.image.shape == expected.shape
            assert np.abs(frame.image.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("start", [0, 1, 37, 119, 120, 121, 180, 199])
def test_start_is_exact(long_clip: Path, start: int) -> None:
    with open_source(long_clip, start=start) as source:
        frames = list(source)
    assert [f.index for f in frames] == list(range(start, 200))
    assert [number_of(f.image) for f in frames] == list(range(start, 200))
    assert frames[0].timestamp == pytest.approx(start * 1001 / 30000)


@pytest.mark.parametrize("start", [200, 5000])
def test_start_behind_the_end(long_clip: Path, start: int) -> None:
    with pytest.raises(SourceError, match=f"frame {start}.*only 200 frames"):
        open_source(long_clip, start=start)
    with pytest.raises(SourceError, match="negative"):
        open_source(long_clip, start=-1)


def test_folder_in_natural_order(image_folder: Path, clip: tuple[list[np.ndarray], np.ndarray]) -> None:
    (image_folder / "notes.txt").write_text("not an image")
    with open_source(image_folder) as source:
        assert source.info.frame_count == 12 and source.info.frame_rate is None
        frames = list(source)
    assert [f.name for f in frames] == [f"frame_{k}.png" for k in range(1, 13)]
    assert all(np.array_equal(f.image, image) for f, image in zip(frames, clip[0], strict=True))


def test_glob_printf_and_single_image(image_folder: Path) -> None:
    with open_source(str(image_folder / "frame_1*.png")) as source:
        assert [f.name for f in source] == ["frame_1.png", "frame_10.png", "frame_11.png", "frame_12.png"]
    with open_source(str(image_folder / "frame_%d.png"), start=9) as source:
        assert [(f.name, f.index) for f in source] == [("frame_10.png", 9), ("frame_11.png", 10), ("frame_12.png", 11)]
    with open_source(image_folder / "frame_3.png") as source:
        assert [f.name for f in source] == ["frame_3.png"]


def test_printf_with_zeros_and_gaps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for k in (7, 8, 10, 12345):
        cv2.imwrite(str(tmp_path / f"im{k:04d}.jpg"), numbered(k))
    cv2.imwrite(str(tmp_path / "im00009.jpg"), numbered(9))
    with open_source(str(tmp_path / "im%04d.jpg")) as source:
        assert [f.name for f in source] == ["im0007.jpg", "im0008.jpg", "im0010.jpg", "im12345.jpg"]
    assert "have no file" in caplog.text


def test_natural_key() -> None:
    assert sorted(["b1", "a10", "a2", "A1", "a2b", "10", "9"], key=natural_key) == [
        "9",
        "10",
        "A1",
        "a2",
        "a2b",
        "a10",
        "b1",
    ]


def test_mixed_image_kinds_become_bgr8(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((8, 9), 40000, np.uint16))
    cv2.imwrite(str(tmp_path / "2.png"), np.full((8, 9, 4), 77, np.uint8))
    with open_source(tmp_path) as source:
        assert [(f.image.shape, f.image.dtype, f.image[0, 0, 0]) for f in source] == [
            ((8, 9, 3), np.uint8, 156),
            ((8, 9, 3), np.uint8, 77),
        ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.mp4", "no such file"),
        ("nowhere/missing.mp4", "nowhere does not exist"),
        ("text.mp4", "not a video"),
        ("zero.mp4", "empty"),
        ("text.txt", "not a video"),
        ("empty", "is empty"),
        ("texts", "holds no images"),
        ("outer", "its subfolder has some"),
        ("q*.png", "nothing matches"),
        ("*.txt", "names no images"),
        ("im_%04d.png", "matches no file"),
        ("broken.png", "broken.png"),
        ("sound.m4a", "no video"),
    ],
)
def test_cannot_open(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 50)
    (tmp_path / "text.txt").write_text("neither is this\n")
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    (tmp_path / "outer" / "img").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "outer" / "img" / "1.png"), numbered(1))
    if name == "sound.m4a":
        import av

        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with pytest.raises(SourceError, match=says) as caught:
        open_source(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_truncated_mp4_cannot_be_opened_or_fails_in_the_middle(tmp_path: Path) -> None:
    images = [numbered(k) for k in range(60)]
    behind = write_clip(tmp_path / "behind.mp4", images).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(behind[: len(behind) // 2])
    with pytest.raises(SourceError, match="Can't open"):
        open_source(tmp_path / "cut.mp4")
    front = write_clip(tmp_path / "front.mp4", images, options={"movflags": "faststart"}).read_bytes()
    for part in (0.5, 0.8, 0.97):
        (tmp_path / "cut.mp4").write_bytes(front[: int(len(front) * part)])
        delivered = 0
        with open_source(tmp_path / "cut.mp4") as source, pytest.raises(SourceError, match="failed at frame") as caught:
            for frame in source:
                assert number_of(frame.image) == delivered
                delivered += 1
        assert 0 < delivered < 60
        assert f"failed at frame {delivered}, after {delivered} were delivered" in str(caught.value)


def test_truncated_matroska_fails_in_the_middle(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "whole.mkv", [numbered(k) for k in range(60)]).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    with open_source(tmp_path / "cut.mkv") as source, pytest.raises(SourceError, match="failed at frame"):
        list(source)


def test_a_corrupted_image_in_the_middle_is_named(image_folder: Path) -> None:
    (image_folder / "frame_5.png").write_bytes(b"nonsense")
    seen = []
    with (
        open_source(image_folder, start=1) as source,
        pytest.raises(SourceError, match=r"frame 4, after 3 were delivered.*frame_5\.png"),
    ):
        seen.extend(frame.index for frame in source)
    assert seen == [1, 2, 3]


def test_camera_that_is_not_there() -> None:
    if Path("/dev/video9").exists():
        pytest.skip("this machine has a camera 9")
    with pytest.raises(SourceError, match="Can't open camera 9"):
        open_source("9")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.mp4", "rtsp://me:secret@127.0.0.1:9/x", "nonsense://x"])
def test_url_that_does_not_answer(url: str) -> None:
    with pytest.raises(SourceError, match="Can't open") as caught:
        open_source(url, timeout=2, reconnect_for=0)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("depth", [1, 3, 50])
def test_prefetch_gives_the_same(long_clip: Path, image_folder: Path, depth: int) -> None:
    assert numbers(long_clip, prefetch=depth) == numbers(long_clip)
    with open_source(image_folder, prefetch=depth, start=2) as source:
        assert [f.index for f in source] == list(range(2, 12))
        assert source.info.frame_count == 12
        with pytest.raises(StopIteration):
            next(source)


def test_prefetch_hands_over_the_error(image_folder: Path) -> None:
    (image_folder / "frame_5.png").write_bytes(b"nonsense")
    with open_source(image_folder, prefetch=2) as source:
        assert [next(source).index for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(SourceError, match=r"frame_5\.png"):
            next(source)


def test_prefetch_closes_in_the_middle(long_clip: Path) -> None:
    before = threading.active_count()
    began = time.monotonic()
    for _ in range(5):
        with open_source(long_clip, prefetch=2) as source:
            next(source)
        source.close()
    assert threading.active_count() <= before and time.monotonic() - began < 5


def test_prefetch_holds_no_more_than_its_depth() -> None:
    class Endless(Source):
        info = VideoInfo("endless", 4, 4)
        made = 0

        def __next__(self) -> Frame:
            self.made += 1
            return Frame(np.zeros((4, 4, 3), np.uint8), self.made - 1)

    endless = Endless()
    with PrefetchSource(endless, 3) as source:
        next(source)
        time.sleep(0.3)
        assert endless.made <= 6
