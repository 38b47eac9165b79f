"""One-shot classification: trials with one example per class and queries to classify; Lake's published runs, or random
ones."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import ConfigError, SourceError
from tracker.matching.inputs import ImageSample
from tracker.matching.metrics import wilson
from tracker.matching.sources import Classes

Embed = Callable[[Any], NDArray[np.float32]]
Compare = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True)
class Episode:
    """One trial: an example per class, and queries with the numbers of their classes."""

    examples: list[ImageSample]
    queries: list[ImageSample]
    answers: list[int]


def one_shot(embed: Embed, compare: Compare, trials: list[Episode]) -> dict[str, float]:
    """The fraction of queries whose most similar example has their class; queries are classified independently."""
    right = count = 0
    for trial in trials:
        similarity = compare(embed(trial.queries), embed(trial.examples))
        right += int((similarity.argmax(1) == np.array(trial.answers)).sum())
        count += len(trial.queries)
    share = right / count
    low, high = wilson(share, count)
    return {"accuracy": share, "low": low, "high": high, "queries": float(count)}


def lake_runs(path: Path) -> list[Episode]:
    """The runs of Lake et al. 2015 (github.com/brendenlake/omniglot, `all_runs.zip`), or [] if the path has another
    content.

    Raises:
        SourceError: The file is missing or damaged.
    """
    if path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                lists = sorted(name for name in archive.namelist() if name.endswith("class_labels.txt"))
                texts = {name: archive.read(name).decode() for name in lists}
        except (OSError, zipfile.BadZipFile) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise SourceError(f"The runs {path} can't be read: {why}.") from None

        def sample(name: str, prefix: str) -> ImageSample:
            return ImageSample(path, prefix + name)
    else:
        if not path.is_dir():
            raise SourceError(f"The runs or classes {path} do not exist; set data.root and test.path.")
        found = sorted(path.glob("*/class_labels.txt"))
        texts = {str(file): file.read_text() for file in found}

        def sample(name: str, prefix: str) -> ImageSample:
            return ImageSample(path / name)

    episodes_found = []
    for where, text in texts.items():
        prefix = where.rsplit("/", 2)[0] + "/" if where.count("/") > 1 else ""
        pairs = [line.split() for line in text.splitlines() if line.strip()]
        examples = sorted({example for _, example in pairs})
        episodes_found.append(
            Episode(
                [sample(name, prefix) for name in examples],
                [sample(query, prefix) for query, _ in pairs],
                [examples.index(example) for _, example in pairs],
            )
        )
    return episodes_found


def episodes(classes: Classes, ways: int, trials: int, seed: int) -> list[Episode]:
    """Random trials from a folder of classes.

    Args:
        classes: The images.
        ways: Classes in a trial.
        trials: Approximate total number of queries.
        seed: Random seed.

    Raises:
        ConfigError: Too few classes with two images.
    """
    rng = np.random.default_rng(seed)
    able = [k for k, samples in enumerate(classes.samples) if len(samples) > 1]
    if len(able) < ways:
        raise ConfigError(
            f"{ways}-way trials need as many classes of two pictures, and there are {len(able)}; set test.ways."
        )
    out = []
    for _ in range(max(1, trials // ways)):
        chosen = rng.choice(able, ways, replace=False)
        both = [rng.choice(len(classes.samples[k]), 2, replace=False) for k in chosen]
        out.append(
            Episode(
                [classes.samples[k][int(p[0])] for k, p in zip(chosen, both, strict=True)],
                [classes.samples[k][int(p[1])] for k, p in zip(chosen, both, strict=True)],
                list(range(ways)),
            )
        )
    return out
