"""Every road that looks at a pixel gives the same bits of the same file, and the same refusal of a damaged one."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.media.clips import numbered, write_clip
from tracker.cli.verify import read_picture
from tracker.datasets import tracks
from tracker.datasets.base import SequenceData
from tracker.datasets.clips import frames_of
from tracker.datasets.folder import load_folder
from tracker.errors import SiamTrackError
from tracker.loop import open_frames
from tracker.matching.inputs import ImageSample
from tracker.media.images import decode_image, read_alpha, read_image, read_labels
from tracker.media.sources.open import open_source
from tracker.metrics.result_store import read_frame
from tracker.metrics.results import SequenceResult

COUNT = 12
EXIF_SIDEWAYS = bytes.fromhex(
    "ffe1002245786966000049492a000800000001001201030001000000060000000000 0000".replace(" ", "")
)
"""An EXIF segment whose only entry is orientation 6: turn by a quarter clockwise."""


def textured(k: int) -> np.ndarray:
    image = numbered(k)
    image[:10, :10] = (255, 0, 0)  # tells the turns apart
    return image


CLIPS: dict[str, Callable[[Path], Path]] = {
    "plain": lambda path: write_clip(path, [textured(k) for k in range(COUNT)]),
    "interlaced": lambda path: write_clip(
        path, [textured(k) for k in range(COUNT)], more={"flags": "+ilme+ildct", "x264-params": "tff=1"}
    ),
    "turned": lambda path: write_clip(path, [textured(k) for k in range(COUNT)], rotate=90),
    "upside down": lambda path: write_clip(path, [textured(k) for k in range(COUNT)], rotate=180),
}


def result_of(sequence: SequenceData) -> SequenceResult:
    n = len(sequence)
    return SequenceResult(
        "t",
        "d",
        "s",
        sequence.truth,
        sequence.truth,
        sequence.valid,
        *(np.zeros(n) for _ in range(3)),
        np.zeros(n, bool),
        frames=sequence.frames,
    )


@pytest.mark.parametrize("kind", CLIPS)
def test_a_clip_has_the_same_bits_on_every_road(tmp_path: Path, web: str, kind: str) -> None:
    folder = tmp_path / "Zürich 1"
    folder.mkdir()
    clip = CLIPS[kind](folder / "clip é.mp4")
    clip.with_suffix(".txt").write_text("10,10,20,20\n" * COUNT)
    with open_source(clip) as source:
        expected = [frame.image for frame in source]
    assert len(expected) == COUNT and all(image.max() > 150 for image in expected)
    (sequence,) = load_folder(folder).sequences
    (tmp_path / "web.mp4").write_bytes(clip.read_bytes())
    roads: dict[str, list[np.ndarray]] = {}
    for name, opened in {
        "prefetch": open_source(clip, prefetch=3),
        "track()": open_frames(str(clip)),
        "file address": open_source(clip.as_uri()),
        "web": open_source(f"{web}/web.mp4"),
    }.items():
        with opened as frames:
            roads[name] = [frame.image for frame in frames]
    roads["evaluation"] = list(sequence.images())
    roads["strips"] = [image for k in range(COUNT) if (image := read_frame(result_of(sequence), k)) is not None]
    roads["training"] = [tracks.read_image(path) for path in frames_of(clip, tmp_path / "store")]
    for k in (1, COUNT - 1):
        with open_source(clip, start=k) as source:
            roads[f"start {k}"] = expected[:k] + [frame.image for frame in source]
    for name, images in roads.items():
        assert len(images) == COUNT, name
        assert all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True)), name


PICTURES: dict[str, Callable[[Path], np.ndarray]] = {
    "folder": lambda path: next(iter(open_source(path.parent))).image,
    "file": lambda path: next(iter(open_source(path))).image,
    "evaluation": lambda path: next(sequence_of(path).images()),
    "training": tracks.read_image,
    "verify": read_picture,
    "bytes": lambda path: decode_image(path.read_bytes(), path.name),
    "zip": lambda path: zipped(path).read(),
    "matching": lambda path: ImageSample(path).read(),
}


def zipped(path: Path) -> ImageSample:
    """The picture in a zip, as sources of matchers hold them."""
    place = path.parent.with_suffix(".zip")
    with zipfile.ZipFile(place, "w") as archive:
        archive.write(path, path.name)
    return ImageSample(place, path.name)


def sequence_of(path: Path) -> SequenceData:
    return SequenceData("s", (str(path),), np.ones((1, 4)), np.ones(1, bool), np.ones(4))


def picture(path: Path, kind: str) -> Path:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8), (0, 0), 1.5)
    if kind == "exif.jpg":
        data = cv2.imencode(".jpg", image)[1].tobytes()
        path.write_bytes(data[:2] + EXIF_SIDEWAYS + data[2:])
    elif kind == "gray16.png":
        path.write_bytes(cv2.imencode(".png", image[..., 0].astype(np.uint16) * 257)[1].tobytes())
    elif kind == "alpha.png":
        path.write_bytes(cv2.imencode(".png", np.dstack([image, image[..., 0]]))[1].tobytes())
    elif kind == "named.png":  # a JPEG under a wrong name
        path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    else:
        path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "plain.jpg",
        "exif.jpg",
        "plain.png",
        "gray16.png",
        "alpha.png",
        "plain.webp",
        "plain.bmp",
        "plain.tif",
        "named.png",
    ],
)
def test_a_picture_has_the_same_bits_on_every_road(tmp_path: Path, kind: str) -> None:
    path = picture(tmp_path / f"é {kind}", kind)
    expected = read_image(path)
    assert expected.shape == ((128, 96, 3) if kind == "exif.jpg" else (96, 128, 3))
    for name, road in PICTURES.items():
        assert np.array_equal(road(path), expected), name


def test_jpeg_pixels_are_those_of_opencv(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", "plain.jpg")
    assert np.array_equal(read_image(path), cv2.imread(str(path), cv2.IMREAD_COLOR))


def damaged(path: Path, kind: str) -> Path:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8), (0, 0), 1.5)
    suffix, how = kind.split()
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if how.startswith("progressive") else []
    data = cv2.imencode(suffix, image, progressive)[1].tobytes()
    half = len(data) // 2
    broken = {
        "cut": data[:half],
        "cut-and-closed": data[:half] + b"\xff\xd9",
        "progressive-cut": data[:half],
        "progressive-closed": data[:half] + b"\xff\xd9",
        "sector": data[:half] + bytes(512) + data[half + 512 :],
        "lost": data[:half] + data[half + 900 :],
        "tail": data[:half] + bytes(len(data) - half),
        "bit": data[:half] + bytes([data[half] ^ 4]) + data[half + 1 :],
        "empty": b"",
        "text": b"<html>404</html>",
    }[how]
    path.write_bytes(broken)
    return path


KINDS = [
    f".jpg {how}"
    for how in (
        "cut",
        "cut-and-closed",
        "progressive-cut",
        "progressive-closed",
        "sector",
        "lost",
        "tail",
        "empty",
        "text",
    )
]
KINDS += [f".png {how}" for how in ("cut", "sector", "lost", "tail", "bit", "empty", "text")]
KINDS += [f"{suffix} cut" for suffix in (".webp", ".bmp", ".tif", ".ppm")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_picture_is_refused_on_every_road(tmp_path: Path, kind: str) -> None:
    path = damaged(tmp_path / f"broken{kind.split()[0]}", kind)
    for name, road in PICTURES.items():
        with pytest.raises(SiamTrackError, match=r"broken\.") as caught:
            road(path)
            pytest.fail(f"{name} takes it")
        assert "\n" not in str(caught.value)


def test_whole_pictures_that_look_suspicious_are_taken(tmp_path: Path) -> None:
    flat = np.zeros((64, 80, 3), np.uint8)
    flat[:20] = 200
    for progressive in (0, 1):
        for optimised in (0, 1):
            code = cv2.imencode(
                ".jpg", flat, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_OPTIMIZE, optimised]
            )[1].tobytes()
            for tail in (b"", b"trailing bytes", code):  # cameras append previews and notes
                (tmp_path / "a.jpg").write_bytes(code + tail)
                assert read_image(tmp_path / "a.jpg").shape == (64, 80, 3)


def test_masks_and_cutouts_go_through_the_same_checks(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (40, 50, 4), dtype=np.uint8)
    data = cv2.imencode(".png", colour)[1].tobytes()
    (tmp_path / "c ü.png").write_bytes(data)
    assert np.array_equal(read_alpha(tmp_path / "c ü.png"), colour) and np.array_equal(
        read_labels(tmp_path / "c ü.png"), colour
    )
    (tmp_path / "c ü.png").write_bytes(data[:-300])
    for read in (read_alpha, read_labels):
        with pytest.raises(SiamTrackError, match="cut short"):
            read(tmp_path / "c ü.png")
    (tmp_path / "rgb.png").write_bytes(cv2.imencode(".png", colour[..., :3])[1].tobytes())
    with pytest.raises(SiamTrackError, match="no alpha channel"):
        read_alpha(tmp_path / "rgb.png")
