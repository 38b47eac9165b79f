"""Several sources of samples with weights, and look-alikes among all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracker.datasets.tracks import BadFiles, DataError
from tracker.files import content_of
from tracker.settings import LARGEST, Checked, setting
from tracker.training.data.augment import Rng
from tracker.training.data.samples import Sample, SampleMaker

ATTEMPTS = 50
"""Greatest number of consecutive samples with unusable files, under the policy "skip"."""


class Mixture:
    """Several sample makers with weights; which one makes a sample is drawn from the sample's own seed.

    Args:
        parts: (name, weight, maker).
        bad: Policy for a sample with an unreadable file; with "skip" another one is drawn.
    """

    def __init__(self, parts: Sequence[tuple[str, float, SampleMaker]], bad: BadFiles | None = None) -> None:
        self.parts = list(parts)
        self.bad = bad or BadFiles()
        total = sum(weight for _, weight, _ in self.parts)
        self._shares = np.cumsum([weight / total for _, weight, _ in self.parts])
        self._kinds: dict[str, list[tuple[int, int, str]]] | None = None

    def sample(self, rng: Rng) -> Sample:
        """The sample determined by a random generator.

        Raises:
            DataError: A file can't be read; under "skip": too many in a row.
        """
        for _ in range(ATTEMPTS):
            part = int(np.searchsorted(self._shares, rng.random(), side="right"))
            try:
                return self.parts[min(part, len(self.parts) - 1)][2].sample(rng)
            except DataError as error:
                self.bad.report(error)
        raise DataError(f"{ATTEMPTS} samples in a row fell on files that can't be read; the warnings above name them.")

    def content(self) -> str:
        """A key of the images and boxes that samples are cut from (`tracker.files.content_of`)."""
        files: list[Path] = []
        boxes: list[bytes] = []
        for name, _, maker in self.parts:
            paths, more = maker.material()
            files += paths
            boxes += [name.encode(), more]
        return content_of(files, b"\0".join(boxes))

    def rival(self, sample: Sample, rng: Rng) -> Sample | None:
        """A sample of another target of the same class, or None if there is none."""
        if self._kinds is None:
            self._kinds = {}
            for p, (_, _, maker) in enumerate(self.parts):
                for item, (kind, identity) in enumerate(maker.items()):
                    self._kinds.setdefault(kind, []).append((p, item, identity))
        known = [row for row in self._kinds.get(sample.kind, ()) if row[2] != sample.identity] if sample.kind else []
        for _ in range(min(ATTEMPTS, len(known))):
            p, item, _ = known[int(rng.integers(len(known)))]
            try:
                return self.parts[p][2].make(item, rng)
            except DataError as error:
                self.bad.report(error)
        return None


@dataclass(frozen=True)
class SourceConfig(Checked, section="train.data.material.sources"):
    """One part of the mixture."""

    kind: str = setting(
        "clips",
        help="""What lies at the path. clips (or got10k): a GOT-10k subset; lasot, trackingnet, imagenet-vid, otb,
        davis: these layouts; folder: clips of one's own with a box file each; toolkit: a data set class of the got10k
        package; videos: clips without boxes; boxed: COCO json; paste: cutouts over scenery; photos: pictures without
        boxes.""",
    )
    path: str = setting("", help="Folder or file, relative to the data root.")
    weight: float = setting(1.0, 0, 1e6, above=True, help="Fraction of the samples, relative to the other sources.")
    names: list[str] = setting(factory=lambda: ["*"], help="Clips only: glob patterns of sequences to take.")
    exclude: list[str] = setting(factory=list, help="Clips only: glob patterns of sequences to leave out.")
    subset: str = setting("", help="lasot, imagenet-vid: the subset; empty: all.")
    every: int = setting(1, 1, LARGEST, "frames", "folder, videos: use every n-th frame.")
    limit: int = setting(0, 0, LARGEST, "frames", "folder, videos: use at most this many frames of a clip; 0: all.")
    tracker: str = setting(
        "flow", help="videos: what follows regions: flow (median flow, no weights) or a shipped model or checkpoint."
    )
    tracks: int = setting(12, 1, 100_000, "tracks", "videos: greatest number of tracks per clip.")
    length: int = setting(20, 2, LARGEST, "frames", "videos: length of a track.")
    dataset: str = setting("", help="toolkit: name of the class.")
    options: dict[str, Any] = setting(factory=dict, help="toolkit: its arguments.")
