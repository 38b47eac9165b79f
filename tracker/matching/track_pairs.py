"""Verification on crops of tracks: pairs of the same target, of targets of different classes, and of different targets
of the same class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.datasets.tracks import AnnotatedTrack
from tracker.errors import ConfigError, SourceError
from tracker.matching.inputs import Region
from tracker.matching.metrics import verification

if TYPE_CHECKING:
    from tracker.matching.oneshot import Compare, Embed
    from tracker.matching.protocols import TestConfig

KINDS = ("genuine", "other", "same-class")
SMALLEST = 4.0
"""Least side of a usable box, pixels."""

Crop = tuple[int, int]
"""Number of the track, number of the frame."""


@dataclass(frozen=True)
class Pair:
    """Two crops.

    Attributes:
        kind: One of `KINDS`.
        first, second: The crops.
    """

    kind: str
    first: Crop
    second: Crop


def measure_tracks(embed: Embed, compare: Compare, test: TestConfig, root: Path) -> dict[str, float]:
    """Equal error rates over rounds of pairs of crops.

    Args:
        embed: Regions -> (B, D).
        compare: (K, D), (M, D) -> (K, M) similarities.
        test: `path` of the clips and `more`, `source.layout` (default otb), `groups`, `pairs`, `rounds`, `gap`, `seed`.
        root: Folder that the path is relative to.

    Returns:
        eer: the mean over rounds, of genuine pairs against all others; low, high: its 95 % interval (`eer_interval`);
        eer_other, eer_same_class: against one kind alone; worst: maximum over the rounds; tracks, pairs.

    Raises:
        SourceError: No clips, or none of a class with two.
    """
    layout = str(test.source.get("layout", "otb"))
    tracks = [track for path in (test.path, *test.more) for track in read_clips(root / path, layout)]
    groups = [group_of(track.name, test.groups) for track in tracks]
    rounds = [
        draw_pairs(tracks, groups, test.pairs, test.gap, np.random.default_rng((test.seed, k)))
        for k in range(test.rounds)
    ]
    crops = sorted({crop for pairs in rounds for pair in pairs for crop in (pair.first, pair.second)})
    regions = [region_of(tracks[t], f) for t, f in crops]
    vectors = np.concatenate([embed(regions[k : k + 64]) for k in range(0, len(regions), 64)])
    row = {crop: k for k, crop in enumerate(crops)}
    found: dict[str, list[float]] = {"all": [], "other": [], "same-class": []}
    likenesses: list[NDArray[np.float64]] = []
    for pairs in rounds:
        likeness = np.array([compare(vectors[[row[p.first]]], vectors[[row[p.second]]])[0, 0] for p in pairs])
        kinds = np.array([p.kind for p in pairs])
        likenesses.append(likeness)
        for name in found:
            counted = np.ones(len(pairs), bool) if name == "all" else (kinds == "genuine") | (kinds == name)
            found[name].append(verification(likeness[counted], kinds[counted] == "genuine").eer)
    low, high = eer_interval(np.concatenate(likenesses), [p for pairs in rounds for p in pairs], test.seed)
    return {
        "eer": float(np.mean(found["all"])),
        "low": low,
        "high": high,
        "worst": float(max(found["all"])),
        **{f"round{k}": value for k, value in enumerate(found["all"])},
        "eer_other": float(np.mean(found["other"])),
        "eer_same_class": float(np.mean(found["same-class"])),
        "tracks": float(len(tracks)),
        "pairs": float(sum(map(len, rounds))),
    }


def eer_interval(
    similarity: NDArray[np.float64], pairs: Sequence[Pair], seed: int = 0, samples: int = 1000
) -> tuple[float, float]:
    """The 95 % interval of the equal error rate of all rounds together, by a bootstrap over clips.

    A clip that is drawn n times counts n times: its genuine pairs n times, pairs with a clip that is drawn m times n m
    times. The total weight of each kind of pairs is preserved.

    Args:
        similarity: (N,) of the pairs.
        pairs: N pairs.
        seed, samples: Of the bootstrap.

    Returns:
        The 2.5th and the 97.5th percentile.
    """
    order = np.argsort(similarity, kind="stable")
    first, second = np.array([(p.first[0], p.second[0]) for p in pairs])[order].T
    kinds = np.array([KINDS.index(p.kind) for p in pairs])[order]
    clips, rng = np.unique([first, second]), np.random.default_rng(seed)
    found = []
    for _ in range(samples):
        drawn = np.bincount(rng.choice(clips, len(clips)), minlength=int(clips.max()) + 1)
        weight = np.where(kinds == 0, drawn[first], drawn[first] * drawn[second]).astype(np.float64)
        sums = np.bincount(kinds, weight, len(KINDS))
        if sums[0] == 0 or sums[1:].sum() == 0:
            continue
        weight *= (np.bincount(kinds, minlength=len(KINDS)) / np.maximum(sums, 1e-12))[kinds]
        genuine = np.where(kinds == 0, weight, 0.0)
        refused = np.cumsum(genuine) / genuine.sum()
        accepted = 1 - np.cumsum(weight - genuine) / (weight - genuine).sum()
        k = int(np.argmax(refused >= accepted))
        found.append((refused[k] + accepted[k]) / 2)
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def read_clips(path: Path, layout: str) -> list[AnnotatedTrack]:
    """Reads the clips of a data set, with boxes.

    Raises:
        SourceError: None there.
    """
    from tracker.training.data import sources as recipe

    if not path.is_dir():
        raise SourceError(f"The folder of clips {path} does not exist; set data.root and test.path.")
    tracks = recipe.read_tracks(recipe.SourceConfig(kind=layout), path, Path("cache/frames"))
    tracks = [track for track in tracks if len(usable(track)) > 10]
    if len(tracks) < 2:
        raise SourceError(f"The folder {path} holds fewer than two clips of the layout {layout} with boxes.")
    return tracks


def usable(track: AnnotatedTrack) -> list[int]:
    """Frames with a usable box."""
    return [int(k) for k in track.present if min(float(track.boxes[k][2]), float(track.boxes[k][3])) > SMALLEST]


def region_of(track: AnnotatedTrack, frame: int) -> Region:
    """A crop as an input of a matcher."""
    x, y, w, h = (float(v) for v in track.boxes[frame])
    return Region(track.frames[frame], (x, y, w, h))


def group_of(name: str, groups: dict[str, list[str]]) -> str:
    """The class of a clip by its name; "" if it has none."""
    return next((group for group, names in groups.items() if any(fnmatch(name, p) for p in names)), "")


def draw_pairs(
    tracks: Sequence[AnnotatedTrack], groups: Sequence[str], count: int, gap: int, rng: np.random.Generator
) -> list[Pair]:
    """Draws `count` pairs of each kind.

    Args:
        tracks: Clips.
        groups: The class of each, "" for none.
        count: Of each kind.
        gap: Greatest number of frames between the crops of a genuine pair.
        rng: Random generator.

    Raises:
        ConfigError: No class has two clips.
    """
    frames = [usable(track) for track in tracks]
    several = sorted(g for g in set(groups) if g and list(groups).count(g) > 1)
    if not several:
        raise ConfigError(
            "No class of test.groups has two clips; name clips of the same class there, class: [clip, clip]."
        )

    def crop(t: int) -> Crop:
        return t, int(rng.choice(frames[t]))

    out = []
    for _ in range(count):
        t = int(rng.integers(len(tracks)))
        a = int(rng.integers(len(frames[t])))
        b = int(np.clip(a + rng.integers(-gap, gap + 1), 0, len(frames[t]) - 1))
        out.append(Pair("genuine", (t, frames[t][a]), (t, frames[t][b])))
    while len(out) < 2 * count:
        t, u = (int(v) for v in rng.integers(len(tracks), size=2))
        if t != u and (groups[t] != groups[u] or not groups[t]):
            out.append(Pair("other", crop(t), crop(u)))
    while len(out) < 3 * count:
        group = several[int(rng.integers(len(several)))]
        t, u = (int(v) for v in rng.choice([k for k, g in enumerate(groups) if g == group], 2, replace=False))
        out.append(Pair("same-class", crop(t), crop(u)))
    return out
