"""Test protocols: one-shot classification, verification, sentence similarity and others, on the user's own or published
data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.config_merge import merge
from tracker.errors import ConfigError, SourceError
from tracker.matching.config import InputConfig, MatchConfig
from tracker.matching.inputs import as_batch
from tracker.matching.metrics import pearson, spearman, verification
from tracker.matching.oneshot import Compare, Embed, episodes, lake_runs, one_shot
from tracker.matching.sources import Classes, read_material, read_source
from tracker.matching.tables import Pairs
from tracker.matching.twins import pairwise
from tracker.settings import Checked, setting

if TYPE_CHECKING:
    from tracker.matching.twins import Twins
    from tracker.training.data.batch import Validate

Arrays = NDArray[np.float32]
PROTOCOLS = ("oneshot", "verification", "sts", "placing", "following", "tracks", "search")


@dataclass(frozen=True)
class TestConfig(Checked, section="test"):
    """Settings of a test.

    Attributes:
        protocol: oneshot (classify an image among `ways` unseen classes with one example each), verification (all pairs
            of images), placing (`tracker.matching.placing`), following (`tracker.matching.following`), tracks
            (`tracker.matching.track_pairs`), search (`tracker.matching.search_test`) or sts (pairs with scores: rank
            correlation).
        path: Lake's runs (a zip or folder with run01..run20), a folder of classes, or a csv of pairs; relative to the
            data root.
        source: Further settings of a source (`sources.SourceConfig`), for example columns.
        fold: Whether to test on the classes that the recipe's folds hold out; then no path is needed.
        ways, trials: oneshot on a folder: classes per trial, and number of trials.
        limit: verification: greatest number of images per class; placing, following: squares per scene.
        seed: Random seed.
        side: placing, following: side of the squares, pixels.
        context: placing: as in `placing.place`; 0: the model's own.
        frames: following, search: length of each video.
        scenes: search: composed videos, each {present: [clip, clip], absent: [clip, ...]}.
        skip: search: number of frames of each clip to skip, so that the enrolled object has moved.
        far, threshold: search: false-accept rate, or instead the least similarity (0: none).
        views: search: number of images of each object in the gallery, spread over the frames before `skip`.
        windows: search: number of windows searched per frame (`search.VideoSearch`).
        more: tracks: further folders of clips.
        groups: tracks: clips of the same class, by its name.
        pairs: tracks: number of pairs of each kind (genuine, other class, same class) in one round.
        rounds: tracks: number of rounds, each with its own seed.
        gap: tracks: greatest number of frames between the crops of a genuine pair.
    """

    __test__ = False  # not a test of pytest, despite its name
    protocol: str = setting("verification", choices=PROTOCOLS)
    path: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    fold: bool = False
    ways: int = 20
    trials: int = 400
    limit: int = 20
    seed: int = 0
    side: int = 96
    context: float = 0.0
    frames: int = 20
    more: list[str] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    pairs: int = 40
    rounds: int = 3
    gap: int = 60
    scenes: list[dict[str, list[str]]] = field(default_factory=list)
    skip: int = 20
    far: float = 0.01
    threshold: float = 0.0
    views: int = 1
    windows: int = 8


def measure(embed: Embed, compare: Compare, test: TestConfig, config: MatchConfig) -> dict[str, float]:
    """Computes the metrics of a protocol.

    Args:
        embed: Items -> (B, D).
        compare: (K, D), (M, D) -> (K, M) similarities.
        test: Settings of the test.
        config: The recipe: root, folds and input.

    Returns:
        Metrics by name; fractions and correlations in [0, 1].

    Raises:
        ConfigError, SourceError: Data that can't be read or is too small.
    """
    root = Path(config.data.root).expanduser()
    if test.protocol == "tracks":
        from tracker.matching.track_pairs import measure_tracks

        return measure_tracks(embed, compare, test, root)
    if test.protocol == "oneshot" and test.path:
        runs = lake_runs(root / test.path)
        if runs:
            return one_shot(embed, compare, runs)
    if test.fold:
        parts = read_material(config.data, config.model.input, kept=True)
        classes = next((part for part in parts if not isinstance(part, Classes) or len(part) > 1), None)
        if classes is None:
            raise ConfigError("No class is kept from training; set data.folds above 1, or name a folder in test.path.")
    else:
        kind = "pairs" if test.protocol == "sts" or Path(test.path).suffix in (".csv", ".tsv") else "folder"
        classes = read_source({"kind": kind, "path": test.path, **test.source}, root, config.model.input)
    if isinstance(classes, Pairs):
        return on_pairs(embed, compare, classes, test.protocol)
    if not isinstance(classes, Classes):
        raise ConfigError(f"The protocol {test.protocol} needs classes or pairs, not triplets.")
    if test.protocol == "oneshot":
        return one_shot(embed, compare, episodes(classes, test.ways, test.trials, test.seed))
    return all_pairs(embed, compare, classes, test.limit)


def on_pairs(embed: Embed, compare: Compare, pairs: Pairs, protocol: str) -> dict[str, float]:
    """Correlation with scores, or error rates with labels, for listed pairs."""
    similarity = listed_pairs(embed, compare, pairs)
    if protocol == "sts":
        return {
            "spearman": spearman(similarity, pairs.score),
            "pearson": pearson(similarity, pairs.score),
            "pairs": float(len(pairs)),
        }
    return _verified(similarity, pairs.score >= 0.5)


def all_pairs(embed: Embed, compare: Compare, classes: Classes, limit: int) -> dict[str, float]:
    """Error rates over all pairs of images of some classes."""
    return _verified(*class_pairs(embed, compare, classes, limit))


def class_pairs(
    embed: Embed, compare: Compare, classes: Classes, limit: int, chosen: Iterable[int] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(similarities, same) of all pairs of images.

    Args:
        embed, compare: As in `measure`.
        classes: The images.
        limit: Greatest number per class.
        chosen: Numbers of the classes to use; None: all.
    """
    parts = [classes.samples[k][:limit] for k in (range(len(classes)) if chosen is None else chosen)]
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    vectors = embed([sample for part in parts for sample in part])
    upper = np.triu_indices(len(labels), 1)
    return compare(vectors, vectors)[upper], labels[upper[0]] == labels[upper[1]]


def listed_pairs(
    embed: Embed, compare: Compare, pairs: Pairs, rows: Iterable[int] | None = None
) -> NDArray[np.float64]:
    """Similarities of listed pairs, for some rows or all."""
    rows = list(range(len(pairs)) if rows is None else rows)
    a, b = embed([pairs.first[k] for k in rows]), embed([pairs.second[k] for k in rows])
    return np.array([compare(a[k : k + 1], b[k : k + 1])[0, 0] for k in range(len(rows))])


def _verified(similarity: NDArray[np.float64], same: NDArray[np.bool_]) -> dict[str, float]:
    if not same.any() or same.all():
        raise SourceError(
            "Verification needs pairs of the same and pairs of different things; give two classes of two pictures at "
            "least."
        )
    result = verification(similarity, same)
    out = {"eer": result.eer, "auc": result.auc, "threshold": result.threshold}
    out.update({f"accepted_at_{rate:g}": share for rate, share in result.accepted.items()})
    return {**out, "genuine": float(result.genuine), "impostor": float(result.impostor), "accuracy": 1 - result.eer}


def functions_of(twins: Twins, batch: int = 128) -> tuple[Embed, Compare]:
    """The functions that embed (with the first side's encoder) and compare."""
    given: InputConfig = twins.config.input

    @torch.no_grad()
    def embed(items: Any) -> Arrays:
        rows = list(items)
        device = next(twins.parameters()).device
        parts = [
            twins.embed(as_batch(rows[k : k + batch], given).to(device)).cpu().numpy()
            for k in range(0, len(rows), batch)
        ]
        return np.concatenate(parts)

    def compare(a: Arrays, b: Arrays) -> NDArray[np.float64]:
        return np.asarray(pairwise(torch.from_numpy(a), torch.from_numpy(b), twins.config.energy).numpy(), np.float64)

    return embed, compare


def build_validator(config: MatchConfig) -> Validate:
    """The validation of a model during training by `train.validation` (a `TestConfig`); `best_metric` must be one of
    its metrics."""
    test = merge(TestConfig(), config.train.validation, where="train.validation")

    def validate(model: Any, step: int) -> dict[str, float]:
        return measure(*functions_of(model), test, config)

    return validate


def pairs_of_material(
    twins: Twins, config: MatchConfig, kept: bool, limit: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """(similarities, same) over the images of a recipe's classes or its labelled pairs; None unless there are pairs of
    both kinds."""
    embed, compare = functions_of(twins)
    rng = np.random.default_rng(config.train.seed)
    for part in read_material(config.data, config.model.input, kept):
        if isinstance(part, Pairs) and part.binary:
            rows = rng.permutation(len(part))[:limit]
            similarity, same = listed_pairs(embed, compare, part, rows), part.score[rows] >= 0.5
        elif isinstance(part, Classes) and part.partners is None and not part.strokes and len(part) > 1:
            per = max(2, min(10, limit // len(part)))
            chosen = rng.permutation(len(part))[: limit // per]
            similarity, same = class_pairs(embed, compare, part, per, chosen)
        else:
            continue
        if 1 < same.sum() < len(same) - 1:
            return similarity, same
    return None


def test_config(values: Mapping[str, Any]) -> TestConfig:
    """The typed `test` section of a recipe."""
    return merge(TestConfig(), values, where="test")


test_config.__test__ = False  # type: ignore[attr-defined]
