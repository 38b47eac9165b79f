"""One part of the material of a training run, as a recipe names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tracker.settings import LARGEST, Checked, setting


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
    weight: float = setting(1.0, 0, 1e6, above=True, help="Share of the samples, against the other parts.")
    names: list[str] = setting(factory=lambda: ["*"], help="Clips only: glob patterns of sequences to take.")
    exclude: list[str] = setting(factory=list, help="Clips only: glob patterns of sequences to leave out.")
    subset: str = setting("", help="lasot, imagenet-vid: which part; all where empty.")
    every: int = setting(1, 1, LARGEST, "frames", "folder, videos: takes every n-th frame.")
    limit: int = setting(0, 0, LARGEST, "frames", "folder, videos: takes at most so many of a clip; 0: all.")
    tracker: str = setting(
        "flow", help="videos: what follows regions: flow (median flow, no weights) or a shipped model or checkpoint."
    )
    tracks: int = setting(12, 1, 100_000, "tracks", "videos: wanted from each clip.")
    length: int = setting(20, 2, LARGEST, "frames", "videos: of a track.")
    dataset: str = setting("", help="toolkit: name of the class.")
    options: dict[str, Any] = setting(factory=dict, help="toolkit: its arguments.")
