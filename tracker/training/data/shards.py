"""Reading the files of a cache: features are memory-mapped, so that the operating system's page cache decides what
stays in memory.

A shard is an uncompressed .npz of G samples: targets (G, T, 2), boxes (G, S, 4), tracks and kinds (G,) int64, present
(G, S) bool, and templates and searches: (G, views, C, h, w) float16 features, or concatenated JPEG files with their end
offsets. With a teacher also wanted: (G, S, D, h, w) float16, its embedding of each search. With a peer also peer_scores
and peer_boxes (`tracker.training.data.peers`), with search s and template t at index S * t + s.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracker.datasets.tracks import DataError
from tracker.errors import ImageError, reading
from tracker.media.images import decode_image
from tracker.training.data.peers import BOXES, SCORES
from tracker.types import Image

NAMES = ("templates", "searches")


class PackedSamples(Protocol):
    """A number of samples of equal layout.

    Attributes:
        samples: Number of samples.
        views: Number of templates and searches of a sample.
        targets, boxes, tracks, kinds, present: As in the module's docstring.
        taught: Whether a teacher's embeddings of the searches are included.
        peers: Whether a peer's answers for the pairs are included.
    """

    samples: int
    views: tuple[int, int]
    targets: NDArray[np.float32]
    boxes: NDArray[np.float32]
    tracks: NDArray[np.int64]
    kinds: NDArray[np.int64]
    present: NDArray[np.bool_]
    taught: bool
    peers: bool

    def view(self, name: str, sample: int, view: int) -> NDArray[Any]:
        """(C, h, w) features, or a (3, n, n) uint8 image; name is templates, searches or, if `taught`, wanted, or, if
        `peers`, peer_scores or peer_boxes."""


class MemorySamples:
    """Samples whose features are in memory.

    Args:
        labels: targets, boxes, tracks, kinds, present.
        features: templates and searches, (G, views, C, h, w).
    """

    def __init__(self, labels: dict[str, NDArray[Any]], features: dict[str, NDArray[Any]]) -> None:
        self.targets, self.boxes, self.tracks = labels["targets"], labels["boxes"], labels["tracks"]
        self.kinds, self.present = labels["kinds"], labels["present"]
        self.samples = len(self.targets)
        self.views = (self.targets.shape[1], self.boxes.shape[1])
        self.taught, self.peers = "wanted" in features, SCORES in features
        self._features = features

    def view(self, name: str, sample: int, view: int) -> NDArray[Any]:
        return self._features[name][sample, view]


class Shard:
    """One file of a cache.

    Args:
        path: The .npz file. Those written before samples had kinds and distractors can be read too.

    Raises:
        DataError: It is damaged; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(
            lambda why: DataError(f"The shard {path} is damaged ({why}); remove it and run `siamtrack prepare` again.")
        ):
            with np.load(path, allow_pickle=False) as data:
                self.targets, self.boxes, self.tracks = data["targets"], data["boxes"], data["tracks"]
                self.kinds = data["kinds"] if "kinds" in data else np.zeros(len(self.targets), dtype=np.int64)
                self.present = data["present"] if "present" in data else np.ones(self.boxes.shape[:2], dtype=bool)
                self._ends = {n: data[f"{n}_ends"] for n in NAMES if f"{n}_ends" in data}
                self.taught, self.peers = "wanted" in data, SCORES in data
                members = [*NAMES, *(n for n in ("wanted", SCORES, BOXES) if n in data)]
                members += [BOXES] if self.peers and BOXES not in data else []
            self._arrays = {n: _map_member(path, n) for n in members}
            self.samples = len(self.targets)
            self.views = (self.targets.shape[1], self.boxes.shape[1])
            self._check()

    def _check(self) -> None:
        """Raises ValueError if arrays don't match."""
        samples, (templates, searches) = self.samples, self.views
        wanted: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "targets": (self.targets, (samples, templates, 2)),
            "boxes": (self.boxes, (samples, searches, 4)),
            "tracks": (self.tracks, (samples,)),
            "kinds": (self.kinds, (samples,)),
            "present": (self.present, (samples, searches)),
            **{
                f"{name}_ends": (ends, (samples, dict(zip(NAMES, self.views, strict=True))[name]))
                for name, ends in self._ends.items()
            },
        }
        odd = next(
            (name for name, (array, shape) in wanted.items() if array.shape != shape or array.dtype.kind not in "fiub"),
            None,
        )
        if odd or not samples or not (np.isfinite(self.targets).all() and np.isfinite(self.boxes).all()):
            raise ValueError(f"its array {odd or 'of boxes'} doesn't fit the others, or holds no numbers")
        for name, array in self._arrays.items():
            views = {"templates": templates, SCORES: templates * searches, BOXES: templates * searches}.get(
                name, searches
            )
            if name in self._ends:
                ends = self._ends[name].reshape(-1)
                good = array.ndim == 1 and array.dtype == np.uint8 and ends.dtype.kind in "iu" and ends[0] >= 0
                good = good and bool((np.diff(ends) >= 0).all()) and int(ends[-1]) <= len(array)
            else:
                good = array.ndim == 5 and array.shape[:2] == (samples, views) and array.dtype.kind in "fu"
            if not good:
                raise ValueError(f"its array {name} doesn't fit the others")

    def view(self, name: str, sample: int, view: int) -> NDArray[Any]:
        array = self._arrays[name]
        if name not in self._ends:
            return array[sample, view]
        try:
            picture = decode_pictures(array, self._ends[name], sample, [view])[0]
        except DataError as error:
            raise DataError(
                f"The shard {self.path} is damaged ({error}); remove it and run `siamtrack prepare` again."
            ) from None
        return np.ascontiguousarray(picture.transpose(2, 0, 1))


def is_whole(path: Path) -> bool:
    """Whether a shard can be read (its images are not decoded)."""
    try:
        Shard(path)
    except DataError:
        return False
    return True


def decode_pictures(
    codes: NDArray[np.uint8], ends: NDArray[np.int64], sample: int, views: Sequence[int] | None = None
) -> list[Image]:
    """Decodes the images of one sample from a shard's JPEG buffer.

    Args:
        codes: Concatenated JPEG files.
        ends: (G, views) end offset of each.
        sample: Number of the sample.
        views: Numbers of its views; all where None.

    Raises:
        DataError: One of them isn't a picture.
    """
    flat, width = ends.reshape(-1), ends.shape[1]
    out = []
    for view in range(width) if views is None else views:
        k = sample * width + view
        start = int(flat[k - 1]) if k else 0
        try:
            out.append(
                decode_image(codes[start : int(flat[k])].tobytes(), f"view {view} of sample {sample}", thorough=False)
            )
        except ImageError:
            raise DataError(f"view {view} of sample {sample} is not a picture") from None
    return out


def _map_member(path: Path, name: str) -> NDArray[Any]:
    """Memory-maps one uncompressed member of an .npz file (np.load maps only bare .npy files)."""
    from numpy.lib import format as npy

    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
        file.seek(
            info.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        )
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject or fortran:
            raise ValueError(f"{name} is not a plain array")
        return np.memmap(path, dtype=dtype, mode="r", offset=file.tell(), shape=shape)
