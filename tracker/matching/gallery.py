"""Galleries: known objects as a file - reference embeddings by name, bound to the model that computed them - and the
search in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import ConfigError, SourceError
from tracker.files import suggest
from tracker.matching.calibration import Calibration, calibrate
from tracker.matching.gallery_file import GalleryError, View, read_arrays, write_arrays
from tracker.matching.hits import Hit, best_things, faiss_index
from tracker.matching.matcher import Embeddings, Matcher, Verdict, compare, decide, unit

MANY = 100_000
"""Number of references above which FAISS is used if it is installed."""


class Gallery:
    """Names with reference embeddings of one model.

    Args:
        matcher: Computes embeddings; None: a gallery that can only be listed and searched with embeddings.

    Attributes:
        model, fingerprint, energy: Those of the matcher that computed the references.
        calibration: The meaning of similarities, or None.
        names: For each reference the name of its object.
        vectors: (N, D) float32.
        views: For each reference an image of the object for a video search, (n, n, 3) uint8, with the (2,) size of the
            object in it and, in pixels, the object's size and the frame's size where it was seen; None if there is
            none.

    Examples:
        >>> gallery = Gallery(Matcher.from_pretrained("siamtrack-s"))
        >>> gallery.add("mug", ["mug1.jpg", "mug2.jpg"])
        >>> gallery.search("what.jpg")[0][0].name
        'mug'
    """

    def __init__(self, matcher: Matcher | None) -> None:
        self.matcher = matcher
        self.model = matcher.name if matcher else ""
        self.fingerprint = matcher.fingerprint if matcher else ""
        self.energy = matcher.energy if matcher else "cosine"
        self.calibration: Calibration | None = matcher.calibration if matcher else None
        self.names: list[str] = []
        self.vectors: Embeddings = np.zeros((0, 0), np.float32)
        self.views: list[View | None] = []
        self._index: Any = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def things(self) -> list[str]:
        """The names, each once, in order of appearance."""
        return list(dict.fromkeys(self.names))

    def add(self, name: str, items: Any, views: Iterable[View | None] | None = None) -> int:
        """Adds references of an object, new or known.

        Args:
            name: Name of the object.
            items: Images, files, regions or texts; or (B, D) embeddings.
            views: The data of each for a video search (`tracker.matching.search_views.view_for_search`).

        Returns:
            Number of references added.

        Raises:
            GalleryError: No name, or embeddings that don't fit.
            ImageError, SourceError, TextError: An item that can't be read; then nothing is added.
        """
        if not name.strip():
            raise GalleryError("A thing needs a name, for example --name mug.")
        fresh = self._embed(items)
        if len(self) and fresh.shape[1] != self.vectors.shape[1]:
            raise GalleryError(
                f"The embedding has {fresh.shape[1]} numbers, and the gallery's have {self.vectors.shape[1]}: "
                "another model."
            )
        if not np.isfinite(fresh).all():
            raise GalleryError(
                f"An embedding of {name!r} holds numbers that are not finite; the model or its input is broken."
            )
        shown = list(views) if views is not None else [None] * len(fresh)
        if len(shown) != len(fresh):
            raise GalleryError(f"{len(fresh)} references came with {len(shown)} views; give as many.")
        self.vectors = np.concatenate([self.vectors, fresh]) if len(self) else fresh
        self.names += [name] * len(fresh)
        self.views += shown
        self._index = None
        return len(fresh)

    def remove(self, name: str) -> int:
        """Removes an object; returns its number of references.

        Raises:
            GalleryError: There is none of that name.
        """
        kept = [k for k, other in enumerate(self.names) if other != name]
        if len(kept) == len(self.names):
            raise GalleryError(
                f"There is no {name!r} in the gallery "
                f"({', '.join(self.things) or 'it is empty'}).{suggest(name, self.things)}"
            )
        gone = len(self.names) - len(kept)
        self.names, self.vectors = [self.names[k] for k in kept], self.vectors[kept]
        self.views, self._index = [self.views[k] for k in kept], None
        return gone

    def search(self, items: Any, count: int = 5) -> list[list[Hit]]:
        """The most similar known objects for each item, the most similar first.

        Args:
            items: As in `add`; if the two sides have different encoders, the gallery is the first side and these are
                the second.
            count: Greatest number of objects.

        Raises:
            GalleryError: The gallery is empty.
        """
        if not len(self):
            raise GalleryError(
                "The gallery is empty; add a thing first (`siamtrack match enrol GALLERY --name mug mug.jpg`)."
            )
        queries = self._embed(items, side=1)
        if queries.shape[1] != self.vectors.shape[1]:
            raise GalleryError(
                f"The embedding has {queries.shape[1]} numbers, and the gallery's have {self.vectors.shape[1]}: "
                "another model."
            )
        if len(self) > MANY:
            found = self._nearest(queries, count)
            if found is not None:
                return found
        similarity = compare(queries, self.vectors, self.energy)
        return [
            best_things(self.names, self.calibration, row, np.argsort(-row, kind="stable"), count) for row in similarity
        ]

    def verify(self, items: Any, far: float = 0.01, name: str = "") -> tuple[str, Verdict]:
        """Decides whether something is a known object.

        Args:
            items: One object, as one item or several: the most similar counts.
            far: False-accept rate for one reference object.
            name: The known object; empty: the most similar one.

        Returns:
            The name and the verdict.

        Raises:
            GalleryError, ConfigError: No such object, no calibration.
        """
        if name and name not in self.names:
            raise GalleryError(
                f"There is no {name!r} in the gallery ({', '.join(self.things)}).{suggest(name, self.things)}"
            )
        hits = [hit for row in self.search(items, len(self.things)) for hit in row if not name or hit.name == name]
        best = max(hits, key=lambda hit: hit.similarity)
        return best.name, decide(best.similarity, self.calibration, far, self.model)

    def calibrate_on_itself(self) -> Calibration:
        """Fits the calibration to the references: objects with at least two references, against each other.

        Raises:
            ConfigError: Too few references.
        """
        upper = np.triu_indices(len(self), 1)
        numbers = np.array([self.things.index(name) for name in self.names])
        similarity = compare(self.vectors, self.vectors, self.energy)[upper]
        self.calibration = calibrate(similarity, numbers[upper[0]] == numbers[upper[1]], on="trained")
        return self.calibration

    def save(self, path: str | Path) -> None:
        """Writes the gallery, atomically: arrays and json, no code.

        Raises:
            OutputError: It can't be written.
        """
        shown = [k for k, view in enumerate(self.views) if view is not None]
        there = [view for view in self.views if view is not None]
        header = {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "energy": self.energy,
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "names": self.names,
            "views": shown,
        }
        arrays: dict[str, NDArray[Any]] = {"vectors": self.vectors}
        if there:
            arrays["pictures"] = np.stack([view.picture for view in there])
            arrays["sizes"] = np.array([[*view.target, *view.size, *view.frame] for view in there], np.float64)
        write_arrays(path, header, arrays)

    @classmethod
    def load(cls, path: str | Path, matcher: Matcher | None = None) -> Gallery:
        """A gallery from a file.

        Args:
            path: A file of `save`.
            matcher: Computes embeddings; it must be the model that computed the references.

        Raises:
            SourceError: The file is missing.
            GalleryError: It is not a gallery, is damaged, or another model computed it.
        """
        file = Path(path)
        if not file.is_file():
            raise SourceError(
                f"The gallery {file} does not exist; `siamtrack match enrol {file} --name NAME PICTURE ...` makes one."
            )
        header, arrays = read_arrays(file)
        gallery = cls(None)
        try:
            gallery.model, gallery.fingerprint, gallery.energy = (
                str(header[key]) for key in ("model", "fingerprint", "energy")
            )
            gallery.names = [str(name) for name in header["names"]]
            gallery.vectors = np.asarray(arrays["vectors"], np.float32)
            shown = [int(k) for k in header.get("views", [])]
            gallery.calibration = (
                None if header["calibration"] is None else Calibration.from_dict(header["calibration"])
            )
            good = (
                gallery.vectors.ndim == 2
                and len(gallery.vectors) == len(gallery.names)
                and gallery.energy in ("cosine", "euclidean", "dot")
            )
            gallery.views = [None] * len(gallery.names)
            for row, k in enumerate(shown):
                gallery.views[k] = View.of(arrays["pictures"][row], arrays["sizes"][row])
        except (KeyError, TypeError, ValueError, IndexError, ConfigError) as error:
            raise GalleryError(f"The gallery {file} is damaged ({error}); enrol its things again.") from None
        if not good or not np.isfinite(gallery.vectors).all():
            raise GalleryError(
                f"The gallery {file} is damaged: names and embeddings don't fit together. Enrol its things again."
            )
        if matcher is not None:
            gallery.bind(matcher, str(file))
        return gallery

    def bind(self, matcher: Matcher, where: str = "this gallery") -> None:
        """Sets the matcher that computes embeddings.

        Raises:
            GalleryError: Another model computed the references.
        """
        if matcher.fingerprint != self.fingerprint:
            same = " (of the same name, with other weights)" if matcher.name == self.model else ""
            raise GalleryError(
                f"The gallery {where} was made with the model {self.model}, and this is {matcher.name}{same}: "
                f"their embeddings can't be compared. Use --model {self.model}, or enrol the things again."
            )
        self.matcher = matcher
        self.calibration = self.calibration or matcher.calibration

    def _embed(self, items: Any, side: int = 0) -> Embeddings:
        if isinstance(items, np.ndarray) and items.ndim == 2 and items.dtype == np.float32:
            return unit(items) if self.energy == "cosine" else items
        if self.matcher is None:
            raise GalleryError(
                "This gallery has no matcher; load it with Gallery.load(path, "
                f"Matcher.from_pretrained({self.model!r}))."
            )
        return self.matcher.embed(items, side)

    def _nearest(self, queries: Embeddings, count: int) -> list[list[Hit]] | None:
        """By FAISS, if it is installed."""
        self._index = faiss_index(self.vectors, self.energy) if self._index is None else self._index
        if self._index is None:
            return None
        sign, near = -1.0 if self.energy == "euclidean" else 1.0, 20 * count
        out: list[list[Hit]] = []
        # An object with many references may take all results: search further.
        wanted = min(count, len(self.things))
        while len(out) < len(queries) or (near < 8 * len(self) and min(map(len, out), default=wanted) < wanted):
            out = []
            for row, where in zip(*self._index.search(queries, min(len(self), near)), strict=True):
                sparse = {int(k): sign * float(v) for k, v in zip(where, row, strict=True) if k >= 0}
                dense = np.full(len(self), -np.inf)
                dense[list(sparse)] = list(sparse.values())
                out.append(best_things(self.names, self.calibration, dense, list(sparse), count))
            near *= 8
        return out
