"""Pictures of any kind to BGR uint8."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tracker.errors import ImageError
from tracker.media.images import fit_into, read_image, to_bgr8


def test_bgr8_is_passed_through_without_a_copy() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert to_bgr8(image) is image


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_gray_becomes_three_equal_channels(shape: tuple[int, ...]) -> None:
    out = to_bgr8(np.arange(20, dtype=np.uint8).reshape(shape))
    assert out.shape == (4, 5, 3) and out.dtype == np.uint8
    assert (out == np.arange(20).reshape(4, 5, 1)).all()


def test_alpha_is_dropped_and_views_become_contiguous() -> None:
    image = np.random.default_rng(0).integers(0, 255, (6, 7, 4), dtype=np.uint8)
    out = to_bgr8(image[::2])
    assert (out == image[::2, :, :3]).all() and out.flags.c_contiguous


def test_sixteen_bits_fill_eight_by_a_fixed_scale() -> None:
    image = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    assert to_bgr8(image)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_bool_is_black_and_white() -> None:
    assert to_bgr8(np.array([[True, False]]))[0, :, 1].tolist() == [255, 0]


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((4, 5, 3), np.float32), "float32"),
        (np.zeros((4, 5), np.int64), "int64"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((4, 5, 2), np.uint8), "4 x 5 x 2"),
        (np.zeros((3, 4, 5), np.uint8), "transpose"),
        (np.zeros(5, np.uint8), "shape 5"),
        (None, "NoneType"),
        ([[1, 2]], "list"),
    ],
)
def test_other_arrays_are_refused_in_a_sentence(image: object, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        to_bgr8(image)


def test_files_of_every_kind_are_read(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    gray16 = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    alpha = np.dstack([colour, np.full((20, 30), 9, np.uint8)])
    for name, image in {
        "c.png": colour,
        "g.png": colour[..., 0],
        "d.png": gray16,
        "a.png": alpha,
        "t.tif": gray16,
    }.items():
        cv2.imwrite(str(tmp_path / name), image)
        out = read_image(tmp_path / name)
        assert out.shape == (20, 30, 3) and out.dtype == np.uint8, name
        assert np.array_equal(out, to_bgr8(image)), name


def test_palette_png(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = b"".join(b"\x00" + bytes([0, 1, 2]) for _ in range(2))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 3, 0, 0, 0))
    data += (
        chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255]))
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "p.png").write_bytes(data)
    assert read_image(tmp_path / "p.png")[0].tolist() == [[0, 0, 255], [0, 255, 0], [255, 0, 0]]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_damaged_file_is_named(tmp_path: Path, suffix: str, part: float) -> None:
    data = cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))[1].tobytes()
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ImageError, match=f"broken\\{suffix}"):
        read_image(path)


def test_fit_into_keeps_the_shape_of_the_picture() -> None:
    out = fit_into(np.full((10, 20, 3), 200, np.uint8), 40, 40)
    assert out.shape == (40, 40, 3)
    assert (out[10:30] == 200).all() and (out[:10] == 0).all() and (out[30:] == 0).all()


def test_a_tiff_of_several_pages_is_refused_and_one_with_a_thumbnail_read(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "pages.tif"
    cv2.imwritemulti(str(path), [colour, colour, colour])
    with pytest.raises(ImageError, match="3 pages"):
        read_image(path)
    cv2.imwrite(str(path), colour)
    data = bytearray(path.read_bytes())
    assert data[:4] == b"II*\0"
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    data[first + 2 + 12 * count : first + 6 + 12 * count] = len(data).to_bytes(4, "little")
    reduced = (254).to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little") * 2
    path.write_bytes(bytes(data) + (1).to_bytes(2, "little") + reduced + bytes(4))
    assert np.array_equal(read_image(path), colour)
