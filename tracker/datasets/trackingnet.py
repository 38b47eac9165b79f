"""TrackingNet (Müller et al., ECCV 2018) in its original layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from tracker.datasets.annotation_text import (
    annotated,
    derived_attributes,
    list_images,
    read_table,
)
from tracker.datasets.base import Dataset, SequenceData, gather
from tracker.datasets.package_tables import check_counts
from tracker.errors import SourceError


def load_trackingnet(root: Path, subset: str = "test", pattern: str | None = None) -> Dataset:
    """TrackingNet (Mueller et al., ECCV 2018): ROOT/TEST/anno/*.txt and ROOT/TEST/frames/<sequence>/<n>.jpg; train:
    TRAIN_0 ...

    The test annotation is the first box alone; scores come from the benchmark's server.
    """
    if subset not in ("test", "train"):
        raise SourceError(f"TrackingNet has no subset {subset!r}; choose test or train.")
    parts = [root / "TEST"] if subset == "test" else sorted(root.glob("TRAIN_*"))
    files = sorted(f for part in parts for f in (part / "anno").glob("*.txt"))
    if not files:
        part = "TEST" if subset == "test" else "TRAIN_0"
        raise SourceError(
            f"No annotations in {root}; expected ROOT/{part}/anno/<sequence>.txt and "
            f"ROOT/{part}/frames/<sequence>/0.jpg."
        )

    title, withheld = f"TrackingNet {subset}", subset == "test"
    dataset = Dataset("trackingnet", title, "TrackingNet", "otb", "trackingnet", (), truth_withheld=withheld)
    return gather([(f.stem, partial(read_sequence, f)) for f in files], pattern, dataset)


def read_sequence(file: Path) -> SequenceData:
    """The sequence of an annotation file; in the test set with its first box alone."""
    frames, truth = list_images(file.parent.parent / "frames" / file.stem), read_table(file)
    if file.parent.parent.name == "TEST" and len(truth) == 1 and frames:
        truth = np.concatenate([truth, np.full((len(frames) - 1, 4), np.nan)])
    check_counts(frames, truth, file)
    return SequenceData(
        file.stem, tuple(frames), truth, annotated(truth), truth[0], attributes=derived_attributes(truth)
    )
