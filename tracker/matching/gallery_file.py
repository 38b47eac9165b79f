"""Format of a gallery's file, and reading it without trusting it: arrays and json, no code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import SiamTrackError
from tracker.files import write_atomic

FORMAT = 1
KIND = "siamtrack-gallery"
LARGEST = 1 << 31
"""Greatest number of bytes after decompression: a hostile file must not exhaust the memory."""


class GalleryError(SiamTrackError):
    """A gallery that can't be read, or that another model computed."""


@dataclass(frozen=True)
class View:
    """The data of an object for a video search.

    Attributes:
        picture: (n, n, 3) template crop, BGR uint8.
        target: (2,) width and height of the object in the crop, pixels.
        size: Width and height of the object where it was seen, pixels.
        frame: Width and height of that frame.
    """

    picture: NDArray[np.uint8]
    target: tuple[float, float]
    size: tuple[float, float]
    frame: tuple[int, int]

    @classmethod
    def of(cls, picture: NDArray[Any], numbers: NDArray[Any]) -> View:
        """From the rows of a file.

        Raises:
            ValueError: They are something else.
        """
        if (
            picture.ndim != 3
            or picture.dtype != np.uint8
            or picture.shape[2] != 3
            or numbers.shape != (6,)
            or not (numbers > 0).all()
        ):
            raise ValueError("a view is not a picture with sizes")
        a = [float(v) for v in numbers]
        return cls(picture, (a[0], a[1]), (a[2], a[3]), (int(a[4]), int(a[5])))


def read_arrays(file: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Reads header and arrays of a gallery; no code is executed, and oversized content is not decompressed.

    Raises:
        GalleryError: It has another format, or is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > LARGEST:
                raise GalleryError(
                    f"The gallery {file} unpacks to {size / 1e9:.1f} GB; that is not a gallery of this program."
                )
        with np.load(file, allow_pickle=False) as data:
            header = json.loads(bytes(data["header"]))
            arrays = {key: data[key] for key in data.files if key in ("vectors", "pictures", "sizes")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, RecursionError, MemoryError) as error:
        raise GalleryError(
            f"The file {file} is not a gallery ({str(error)[:120]}); `siamtrack match enrol` writes one."
        ) from None
    if not isinstance(header, dict) or header.get("kind") != KIND or header.get("format") != FORMAT:
        raise GalleryError(
            f"The file {file} is not a gallery of format {FORMAT}; enrol its things again with this version."
        )
    return header, arrays


def write_arrays(path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes a gallery, atomically.

    Args:
        path: An .npz file.
        header: json values; kind and format are added.
        arrays: vectors, and images with sizes if there are views.

    Raises:
        OutputError: It can't be written.
    """
    text = json.dumps({"kind": KIND, "format": FORMAT, **header})
    buffer = BytesIO()
    np.savez_compressed(buffer, header=np.frombuffer(text.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())
