"""A search of tracking settings: what is searched, on which sequences, and its result."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tracker.config import TrackingConfig
from tracker.datasets.base import SequenceData
from tracker.errors import ConfigError
from tracker.metrics.bootstrap import Interval, gap_interval, mean_interval
from tracker.settings import changed, flat

logger = logging.getLogger(__name__)

Metric = Literal["ao", "auc"]
Constants = dict[str, float]
DIGITS = 4


@dataclass(frozen=True)
class Range:
    """The search range of one setting: [low, high], both ends included."""

    low: float
    high: float

    def including(self, value: float) -> Range:
        """The range, widened if necessary to include the start value of the search."""
        return Range(min(self.low, value), max(self.high, value))


SPACES: dict[str, dict[str, Range]] = {
    # pysot searches scale_penalty 0.05-0.5, size_lr 0.35-0.5, window 0.1-0.8 (tools/hp_search.py); a little wider here.
    "boxes": {"window_influence": Range(0.0, 0.7), "scale_penalty": Range(0.0, 0.5), "size_lr": Range(0.1, 1.0)},
    "classic": {
        "window_influence": Range(0.0, 0.5),
        "scale_penalty": Range(0.9, 1.0),
        "scale_step": Range(1.01, 1.12),
        "size_lr": Range(0.1, 1.0),
    },
}
SPACES["attention"] = SPACES["boxes"]
"""Head -> settings that are searched unless the user names others.

Those that training fixes (context) are excluded.
"""


@dataclass(frozen=True)
class Split:
    """Names of the sequences used by the search (validation) and of those that only judge its result (hold-out)."""

    validation: tuple[str, ...]
    holdout: tuple[str, ...]


@dataclass(frozen=True)
class SearchPlan:
    """The definition of a search; a search can continue another one with an equal `key`.

    Attributes:
        start: The settings that the search starts from and is compared with.
        space: Setting -> range.
        split: The two sets of sequences.
        trials: Number of trials, including pruned ones.
        metric: ao (mean IoU) or auc (success AUC), without frame 1, averaged over sequences.
        seed: Seed of the sampler, the order of sequences and the bootstrap.
        max_frames: Limit per sequence; None uses all frames.
        prune: Whether bad trials are stopped early.
        minutes: No new trials are started after this time; None: no limit.
        model: Identification of the weights (name and hash); only compared and reported.
    """

    start: TrackingConfig
    space: Mapping[str, Range]
    split: Split
    trials: int = 60
    metric: Metric = "ao"
    seed: int = 0
    max_frames: int | None = None
    prune: bool = True
    minutes: float | None = None
    model: str = ""

    @property
    def key(self) -> str:
        """json of everything that a stored trial depends on."""
        spans = {k: [r.low, r.high] for k, r in self.space.items()}
        names = {
            new: old for old, new in self.start.moved.items()
        }  # names of 0.1.0, so that its studies can be continued
        start = {names.get(name, name): value for name, value in flat(self.start).items()}
        parts = {
            "model": self.model,
            "metric": self.metric,
            "seed": self.seed,
            "max_frames": self.max_frames,
            "prune": self.prune,
        }
        return json.dumps(
            {**parts, "space": spans, "start": start, "validation": self.split.validation}, sort_keys=True
        )


@dataclass(frozen=True)
class TrialRecord:
    """One trial. scores: sequence -> score, for the sequences reached before it was pruned; state: complete, pruned or
    failed."""

    number: int
    constants: Constants
    state: str
    score: float
    scores: Mapping[str, float] = field(repr=False)


@dataclass(frozen=True)
class Tuning:
    """The result of a search.

    Attributes:
        search: Its definition.
        best: The best complete trial.
        trials: All of them.
        before, after: Split ("validation", "holdout") -> sequence -> score with the start settings and with the best
            ones.
        seconds: Duration of this run.
    """

    search: SearchPlan
    best: TrialRecord
    trials: tuple[TrialRecord, ...]
    before: Mapping[str, Mapping[str, float]]
    after: Mapping[str, Mapping[str, float]]
    seconds: float

    def gains(self, split: str) -> list[float]:
        """after - before of each sequence of a split."""
        return [self.after[split][name] - value for name, value in self.before[split].items()]

    def gain(self, split: str) -> Interval:
        """The mean of `gains` with its bootstrap interval over sequences."""
        return mean_interval(self.gains(split), seed=self.search.seed)

    @property
    def gap(self) -> Interval:
        """Gain on validation - gain on hold-out: the over-fitting of the search to its own sequences."""
        return gap_interval(self.gains("validation"), self.gains("holdout"), seed=self.search.seed)

    @property
    def warnings(self) -> list[str]:
        """Sentences on over-fitting; empty if there is no sign of it."""
        found, held, gap = [], self.gain("holdout"), self.gap
        if self.before["validation"] == self.after["validation"]:
            return ["The search found nothing better than the constants it started from."]
        if not held.count:
            return [
                "There is no hold-out split: nothing says whether the gain is more than luck with the validation "
                "sequences."
            ]
        if held.value < 0:
            found.append(
                f"Over-fitted: on the hold-out the tuned constants are worse by {-held.value:.4f} than those before; "
                "keep those."
            )
        elif held.known and held.low <= 0:
            found.append(
                f"The gain on the hold-out ({held.value:+.4f}) can't be distinguished from zero: its interval is "
                f"[{held.low:+.4f}, {held.high:+.4f}]."
            )
        if gap.known and gap.low > 0:
            found.append(
                f"Over-fitted: the gain on validation is larger than on the hold-out by {gap.value:.4f} "
                f"[{gap.low:+.4f}, {gap.high:+.4f}]; expect the hold-out's."
            )
        if not held.known:
            found.append(
                f"The hold-out has {held.count} sequence(s), too few for an interval; give more sequences or a "
                "larger --holdout."
            )
        return found


def some_of(sequences: Sequence[SequenceData], count: int | None, seed: int) -> list[SequenceData]:
    """A number of sequences, drawn at random, in their order; None: all."""
    if count is None or count >= len(sequences):
        return list(sequences)
    kept = sorted(np.random.default_rng(seed).permutation(len(sequences))[:count])
    return [sequences[k] for k in kept]


def split_sequences(names: Sequence[str], share: float, seed: int, group: Callable[[str], str] = str) -> Split:
    """Divide sequences at random; those of one group (clips of one video) stay together.

    Args:
        names: Sequences.
        share: Fraction of them for the hold-out, 0..1.
        seed: Seed of the division and of the order in which the search uses the validation sequences.
        group: Name -> group.

    Raises:
        ConfigError: One of the splits would be empty.
    """
    rng = np.random.default_rng(seed)
    groups = sorted({group(n) for n in names})
    rng.shuffle(groups)
    wanted = round(share * len(names))
    held: set[str] = set()
    for g in groups:
        members = [n for n in names if group(n) == g]
        if len(held) + len(members) <= wanted:
            held.update(members)
    validation = [n for n in names if n not in held]
    if not validation or (share > 0 and not held):
        raise ConfigError(
            f"{len(names)} sequences in {len(groups)} groups can't be divided with --holdout {share:g}: a side would "
            "be empty; give more sequences or another share."
        )
    rng.shuffle(validation)
    return Split(tuple(validation), tuple(n for n in names if n in held))


def usable(sequences: Sequence[SequenceData], max_frames: int | None) -> list[SequenceData]:
    """The sequences with a counted frame after the first; the others are named in the log."""
    kept = [s for s in sequences if s.valid[1 : max_frames or len(s)].any()]
    for s in sequences:
        if s not in kept:
            logger.warning("The sequence %s is left out: no frame after the first counts.", s.name)
    if not kept:
        raise ConfigError(
            "No sequence has a frame after the first that counts; a split with withheld truth can't be tuned on."
        )
    return kept


def search_space(head: str, start: TrackingConfig, given: Mapping[str, Range] | None = None) -> dict[str, Range]:
    """The search ranges: the user's or those of the model's head, widened to include the start.

    Raises:
        ConfigError: A name isn't a number in `TrackingConfig`.
    """
    known = flat(start)
    given = {start.moved.get(name, name): span for name, span in (given or {}).items()}
    for name in given:
        if not isinstance(known.get(name), int | float) or isinstance(known[name], bool):
            numbers = ", ".join(k for k, v in known.items() if isinstance(v, int | float) and not isinstance(v, bool))
            raise ConfigError(f"{name!r} can't be searched; the numbers of the tracking section are {numbers}.")
    space = dict(given or {k: v for k, v in SPACES[head].items() if k in known})
    return {name: span.including(known[name]) for name, span in space.items()}


def with_constants(start: TrackingConfig, constants: Constants) -> TrackingConfig:
    """The configuration with some numbers replaced; integers stay integers."""
    known = flat(start)
    return changed(start, {k: int(v) if isinstance(known[k], int) else float(v) for k, v in constants.items()})
