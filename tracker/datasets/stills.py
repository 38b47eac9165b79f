"""Still images as training material: cut-out objects, annotated objects, and plain photos as background."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.datasets.tracks import DataError, read_image
from tracker.errors import ImageError, reading
from tracker.files import read_text
from tracker.media.images import IMAGE_SUFFIXES, read_alpha
from tracker.media.sources.images import list_tree
from tracker.types import Image


@dataclass(frozen=True)
class BoxedStill:
    """One object in one photo: file, box (4,) xywh, class, and the polygons of its mask if there is one."""

    path: Path
    box: NDArray[np.float64]
    kind: str
    polygons: tuple[NDArray[np.float64], ...] = field(default=(), repr=False)


def list_images(folder: Path) -> list[Path]:
    """The images of a folder and its subfolders, sorted.

    Raises:
        DataError: There are none.
    """
    found = list_tree(folder)
    if not found:
        raise DataError(f"The folder {folder} holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return found


def read_coco(file: Path, smallest: float = 24.0) -> list[BoxedStill]:
    """The objects of a COCO instances json whose images are in `images/` beside it.

    Args:
        file: instances.json.
        smallest: Objects whose sqrt(w h) is below this many pixels are left out.

    Raises:
        DataError: The file is missing or isn't COCO json.
    """
    with reading(
        lambda why: DataError(f"The file {file} is not COCO json with images, annotations and categories ({why}).")
    ):
        data = json.loads(read_text(file))
        names = {c["id"]: c["name"] for c in data["categories"]}
        images = {i["id"]: i for i in data["images"]}
        stills = []
        for a in data["annotations"]:
            x, y, w, h = a["bbox"]
            info = images[a["image_id"]]
            cut = x <= 1 or y <= 1 or x + w >= info["width"] - 1 or y + h >= info["height"] - 1
            if (
                a.get("iscrowd")
                or np.sqrt(max(w, 0) * max(h, 0)) < smallest
                or (cut and w * h > 0.5 * info["width"] * info["height"])
            ):
                continue
            seg = a.get("segmentation") or []
            polygons = (
                tuple(np.asarray(p, dtype=np.float64).reshape(-1, 2) for p in seg) if isinstance(seg, list) else ()
            )
            stills.append(
                BoxedStill(
                    file.parent / "images" / info["file_name"],
                    np.array([x, y, w, h]),
                    names[a["category_id"]],
                    polygons,
                )
            )
    return stills


class Cutouts:
    """Objects with an alpha matte, as BGRA images cropped to the object; those of one class count as look-alikes."""

    def __init__(self, folder: Path | None, masked: list[BoxedStill], cache: int = 4000) -> None:
        self.paths = list_images(folder) if folder else []
        self.masked = [s for s in masked if s.polygons and np.sqrt(s.box[2] * s.box[3]) >= 40]
        kinds: dict[str, list[int]] = {}
        for k in range(len(self)):
            kinds.setdefault(self.kind(k), []).append(k)
        self.kinds = kinds
        self._read = lru_cache(maxsize=cache)(self._load)

    def __len__(self) -> int:
        return len(self.paths) + len(self.masked)

    def kind(self, index: int) -> str:
        """The class of a cutout, from its file name or annotation."""
        if index < len(self.paths):
            return re.sub(r"[-_ ]?\d+$", "", self.paths[index].stem)
        return self.masked[index - len(self.paths)].kind

    def identity(self, index: int) -> str:
        """A name that is unique among the cutouts."""
        if index < len(self.paths):
            return self.paths[index].name
        still = self.masked[index - len(self.paths)]
        return f"{still.path.name} {','.join(f'{v:.0f}' for v in still.box)}"

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 4) BGRA uint8."""
        return self._read(index)

    def _load(self, index: int) -> NDArray[np.uint8]:
        if index < len(self.paths):
            try:
                image: NDArray[Any] = read_alpha(self.paths[index])
            except ImageError as error:
                raise DataError(f"A cutout can't be used: {error}") from None
        else:
            still = self.masked[index - len(self.paths)]
            colour = read_image(still.path)
            alpha = np.zeros(colour.shape[:2], np.uint8)
            cv2.fillPoly(alpha, [np.round(p).astype(np.int32) for p in still.polygons], 255)
            image = np.dstack([colour, cv2.GaussianBlur(alpha, (0, 0), 0.8)])
        rows, columns = np.flatnonzero((image[..., 3] > 127).any(1)), np.flatnonzero((image[..., 3] > 127).any(0))
        if len(rows) < 8 or len(columns) < 8:
            raise DataError(f"The cutout {index} ({self.kind(index)}) has almost no opaque pixel.")
        image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        longest = max(image.shape[:2])
        if longest > 200:  # no crop needs it larger, and small images are quick to warp
            image = cv2.resize(image, None, fx=200 / longest, fy=200 / longest, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(image)


class Scenery:
    """Photos as backgrounds, cached."""

    def __init__(self, folder: Path, cache: int = 2000) -> None:
        self.paths = list_images(folder)
        self._read = lru_cache(maxsize=cache)(read_image)

    def draw(self, rng: np.random.Generator) -> Path:
        """A random photo."""
        return self.paths[int(rng.integers(len(self.paths)))]

    def read(self, path: Path) -> Image:
        """A photo at full size."""
        return self._read(path)

    def photo(self, rng: np.random.Generator) -> Image:
        """A random photo at full size."""
        return self.read(self.draw(rng))

    def patch(self, size: int, rng: np.random.Generator) -> Image:
        """A size x size window of a random photo, mirrored beyond its borders; hardly enlarged, so that it stays
        sharp."""
        image = self.photo(rng)
        inverse = 1.0 / rng.uniform(0.8, 1.5)
        x, y = (rng.uniform(0, n) - size * inverse / 2 for n in (image.shape[1], image.shape[0]))
        matrix = np.array([[inverse, 0, x], [0, inverse, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]
