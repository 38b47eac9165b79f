"""Need for Speed (Kiani Galoogahi et al., ICCV 2017) in its original layout."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from tracker.datasets.annotation_text import (
    annotated,
    annotation_text,
    derived_attributes,
    list_images,
)
from tracker.datasets.base import Dataset, SequenceData, gather
from tracker.datasets.package_tables import check_counts
from tracker.errors import SourceError


def load_nfs(root: Path, rate: str = "30", pattern: str | None = None) -> Dataset:
    """NfS (Galoogahi et al., ICCV 2017): ROOT/<sequence>/<rate>/<sequence>.txt and
    ROOT/<sequence>/<rate>/<sequence>/*.jpg.

    Annotation lines are `id left top right bottom ...` with quotes; at 30 fps, files that still hold all 240 fps rows
    are subsampled by 8, and a difference of one row is cut off, as in the got10k package.
    """
    if rate not in ("30", "240"):
        raise SourceError(f"NfS has no frame rate {rate!r}; choose --subset 30 or 240.")
    files = sorted(root.glob(f"*/{rate}/*.txt"))
    if not files:
        raise SourceError(
            f"No annotations in {root}; expected ROOT/<sequence>/{rate}/<sequence>.txt and the images in a folder "
            "beside it."
        )

    def read(file: Path) -> SequenceData:
        frames = list_images(file.with_suffix(""))
        rows = [re.findall(r'"[^"]*"|\S+', line)[1:5] for line in annotation_text(file).splitlines() if line.strip()]
        try:
            corners = np.asarray([[float(v.strip('"')) for v in row] for row in rows]).reshape(-1, 4)
        except ValueError:
            raise SourceError(
                f"{file} isn't an NfS annotation; expected lines `0 left top right bottom ...`."
            ) from None
        if not len(corners):
            raise SourceError(f"The annotation {file} is empty; expected lines `0 left top right bottom ...`.")
        if frames and abs(len(corners) / len(frames) - 8) < 1:
            corners = corners[::8]
        if abs(len(corners) - len(frames)) == 1:
            count = min(len(corners), len(frames))
            corners, frames = corners[:count], frames[:count]
        check_counts(frames, corners, file)
        truth = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        return SequenceData(
            file.stem, tuple(frames), truth, annotated(truth), truth[0], attributes=derived_attributes(truth)
        )

    title = f"NfS {rate} fps" + ("" if len(files) == 100 else f", {len(files)} of 100 sequences")
    return gather(
        [(f.stem, partial(read, f)) for f in files], pattern, Dataset("nfs", title, f"NfS/{rate}", "otb", "otb", ())
    )
