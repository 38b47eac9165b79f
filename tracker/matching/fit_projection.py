"""Fits the projection of a tracker's embedding to annotated clips; the command is
`python -m tracker.cli.fit_projection`.

Linear discriminant analysis in the form used for speaker verification: the scatter within clips is whitened
(within-class covariance normalisation, Hatch et al. 2006), then the directions in which clips differ most are kept. The
scatter is shrunk towards a multiple of the identity, since there are few clips (Ledoit and Wolf 2004, with a fixed
weight).
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.datasets.tracks import read_got10k
from tracker.errors import ConfigError
from tracker.files import write_atomic
from tracker.matching.track_pairs import region_of, usable
from tracker.media.images import read_image
from tracker.tracking.embedding import mean_cell, view_of
from tracker.tracking.projection import Projection
from tracker.tracking.tracker import SiamTracker

FEWEST = 11
"""Least number of frames with a box per clip."""


def discriminants(vectors: ArrayLike, labels: ArrayLike, dimensions: int, shrink: float) -> Projection:
    """Directions in which objects differ from each other but vary little within one object.

    Args:
        vectors: (N, C).
        labels: (N,) the object of each vector; all objects have equal weight.
        dimensions: Number of directions, at most one less than there are objects.
        shrink: Weight of the identity in the scatter within objects, in (0, 1].

    Raises:
        ConfigError: Fewer than two objects, or values out of their bounds.
    """
    x, y = np.asarray(vectors, np.float64), np.asarray(labels)
    things = np.unique(y)
    if len(things) < 2 or not 0 < shrink <= 1 or not 1 <= dimensions <= x.shape[1]:
        raise ConfigError(
            f"{len(things)} things, {dimensions} of {x.shape[1]} dimensions, shrink {shrink:g} can't be used: two "
            "things at least are needed, no more dimensions than channels, and a share above 0 and at most 1."
        )
    mean = x.mean(0)
    x = x - mean
    within = np.mean([np.cov(x[y == thing].T, bias=True) for thing in things], axis=0)
    within = (1 - shrink) * within + shrink * np.trace(within) / len(within) * np.eye(len(within))
    values, axes = np.linalg.eigh(within)
    whiten = (axes / np.sqrt(values)) @ axes.T
    between = np.cov(np.stack([(x[y == thing] @ whiten).mean(0) for thing in things]).T)
    _, axes = np.linalg.eigh(between)
    return Projection(mean.astype(np.float32), (whiten @ axes[:, ::-1][:, :dimensions]).astype(np.float32))


def mean_cells(
    tracker: SiamTracker, root: Path, exclude: Sequence[str], frames: int
) -> tuple[NDArray[np.float32], list[str]]:
    """The mean cells of objects in clips.

    Args:
        tracker: Its network computes the embeddings.
        root: Clips in the layout of GOT-10k.
        exclude: Patterns of names to leave out.
        frames: Greatest number of frames per clip, evenly spaced.

    Returns:
        (N, C), and the clip of each.
    """
    observer, out, names = tracker.observer, [], []
    for track in read_got10k(root, ["*"], exclude):
        rows = usable(track)
        if len(rows) < FEWEST:
            continue
        for k in np.unique(np.linspace(0, len(rows) - 1, min(frames, len(rows))).round().astype(int)):
            region = region_of(track, rows[k])
            view = view_of(observer, read_image(track.frames[rows[k]]), region.box)
            host = observer.engine.to_host(observer.engine.embed_template([view.picture], view.target[None]))
            out.append(mean_cell(host, observer.uncompared_channels)[0])
            names.append(track.name)
    return np.array(out, np.float32), names


def store(file: Path, mark: str, projection: Projection) -> None:
    """Writes a projection into a file of projections; those of other models in it stay.

    Args:
        file: The file, which need not exist.
        mark: Fingerprint of the model.
        projection: Its projection.
    """
    arrays = {}
    if file.is_file():
        with np.load(file, allow_pickle=False) as old:
            arrays = dict(old)
    arrays.update({f"{mark}.mean": projection.mean, f"{mark}.matrix": projection.matrix})
    buffer = BytesIO()
    np.savez(buffer, **arrays)
    write_atomic(file, buffer.getvalue())
