"""Search of the tracking constants on a validation split, judged on a hold-out split that the search never sees.

The sampler is Optuna's TPE (Bergstra et al., NeurIPS 2011); a trial whose running mean falls below the median of the trials
before it, after the same sequences, is pruned. Trials come one after another and each is spread over the worker processes by
sequence, so the result depends on the seed and not on the number of workers, and a resumed search goes on as if never stopped.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tracker.config import TrackingConfig
from tracker.errors import ConfigError, OutputError, SiamTrackError
from tracker.evaluation.bootstrap import Interval, gap_interval, mean_interval
from tracker.evaluation.datasets import SequenceData
from tracker.evaluation.tune_workers import Pool, SequenceScore

if TYPE_CHECKING:
    from optuna import Study, Trial

logger = logging.getLogger(__name__)

Metric = Literal["ao", "auc"]
Constants = dict[str, float]
DIGITS = 4


@dataclass(frozen=True)
class Range:
    """Where one constant is searched: [low, high], both ends included."""

    low: float
    high: float

    def including(self, value: float) -> Range:
        """The range, widened where needed so that the value the search starts from lies inside."""
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
"""Head -> constants that are searched unless the user names others. Those that training fixes (context) are left out."""


@dataclass(frozen=True)
class Split:
    """Names of the sequences that the search sees (validation) and of those that only judge its result (hold-out)."""

    validation: tuple[str, ...]
    holdout: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """What is searched and how; two searches with equal `key` may be continued one by the other.

    Attributes:
        start: The constants that the search starts from and is compared with.
        space: Constant -> range.
        split: The two sets of sequences.
        trials: How many, pruned ones included.
        metric: ao (mean IoU) or auc (success AUC), without frame 1, averaged over sequences.
        seed: Of sampler, order of sequences and bootstrap.
        max_frames: Cap per sequence; None takes all.
        prune: Whether bad trials end early.
        minutes: Stop asking for new trials after this time; None doesn't.
        model: Whatever identifies the weights (name and hash); only compared and reported.
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
        start = {f.name: getattr(self.start, f.name) for f in fields(self.start)}
        parts = {"model": self.model, "metric": self.metric, "seed": self.seed, "max_frames": self.max_frames, "prune": self.prune}
        return json.dumps({**parts, "space": spans, "start": start, "validation": self.split.validation}, sort_keys=True)


@dataclass(frozen=True)
class TrialRecord:
    """One trial. scores: sequence -> score, only those it got to before it was pruned; state: complete, pruned or failed."""

    number: int
    constants: Constants
    state: str
    score: float
    scores: Mapping[str, float] = field(repr=False)


@dataclass(frozen=True)
class Tuning:
    """What came out.

    Attributes:
        search: What was asked.
        best: The best complete trial.
        trials: All of them.
        before, after: Split ("validation", "holdout") -> sequence -> score with the starting and with the best constants.
        seconds: Of this run.
    """

    search: Search
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
        """Gain on validation - gain on hold-out: how much of the gain is the search's luck with its own sequences."""
        return gap_interval(self.gains("validation"), self.gains("holdout"), seed=self.search.seed)

    @property
    def warnings(self) -> list[str]:
        """Sentences on over-fitting; empty where nothing speaks for it."""
        found, held, gap = [], self.gain("holdout"), self.gap
        if self.before["validation"] == self.after["validation"]:
            return ["The search found nothing better than the constants it started from."]
        if not held.count:
            return ["There is no hold-out split: nothing says whether the gain is more than luck with the validation sequences."]
        if held.value < 0:
            found.append(f"Over-fitted: on the hold-out the tuned constants are worse by {-held.value:.4f} than those before; keep those.")
        elif held.known and held.low <= 0:
            found.append(
                f"The gain on the hold-out ({held.value:+.4f}) is not told apart from zero: its interval is "
                f"[{held.low:+.4f}, {held.high:+.4f}]."
            )
        if gap.known and gap.low > 0:
            found.append(
                f"Over-fitted: the gain on validation is larger than on the hold-out by {gap.value:.4f} "
                f"[{gap.low:+.4f}, {gap.high:+.4f}]; expect the hold-out's."
            )
        if not held.known:
            found.append(f"The hold-out has {held.count} sequence(s), too few for an interval; give more sequences or a larger --holdout.")
        return found


def split_sequences(names: Sequence[str], share: float, seed: int, group: Callable[[str], str] = str) -> Split:
    """Divide sequences at random; those of one group (clips of one video) stay together.

    Args:
        names: Sequences.
        share: Of them that goes to the hold-out, 0..1.
        seed: Of the division and of the order in which the search goes through the validation sequences.
        group: Name -> group.

    Raises:
        ConfigError: A side would be empty.
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
            f"{len(names)} sequences in {len(groups)} groups can't be divided with --holdout {share:g}: a side would be empty; "
            "give more sequences or another share."
        )
    rng.shuffle(validation)
    return Split(tuple(validation), tuple(n for n in names if n in held))


def usable(sequences: Sequence[SequenceData], max_frames: int | None) -> list[SequenceData]:
    """Those with a frame after the first that counts; the others are named in the log."""
    kept = [s for s in sequences if s.valid[1 : max_frames or len(s)].any()]
    for s in sequences:
        if s not in kept:
            logger.warning("The sequence %s is left out: no frame after the first counts.", s.name)
    if not kept:
        raise ConfigError("No sequence has a frame after the first that counts; a split with withheld truth can't be tuned on.")
    return kept


def search_space(head: str, start: TrackingConfig, given: Mapping[str, Range] | None = None) -> dict[str, Range]:
    """The ranges that are searched: the user's or those of the model's head, widened to hold the start.

    Raises:
        ConfigError: A name isn't a number in `TrackingConfig`.
    """
    known = {f.name: getattr(start, f.name) for f in fields(start)}
    for name in given or {}:
        if not isinstance(known.get(name), int | float) or isinstance(known[name], bool):
            numbers = ", ".join(k for k, v in known.items() if isinstance(v, int | float) and not isinstance(v, bool))
            raise ConfigError(f"{name!r} can't be searched; the numbers of the tracking section are {numbers}.")
    space = dict(given or {k: v for k, v in SPACES[head].items() if k in known})
    return {name: span.including(known[name]) for name, span in space.items()}


def with_constants(start: TrackingConfig, constants: Constants) -> TrackingConfig:
    """The configuration with some numbers replaced; whole ones stay whole."""
    values: dict[str, Any] = {k: int(v) if isinstance(getattr(start, k), int) else float(v) for k, v in constants.items()}
    return replace(start, **values)


def open_study(storage: Path | None, search: Search, resume: bool) -> Study:
    """The study of a search, new or continued.

    Args:
        storage: Journal file; None keeps it in memory.
        search: Must be the stored one's equal where it is continued.
        resume: Whether an existing file may be continued.

    Raises:
        OutputError: The file exists and may not be continued.
        ConfigError: It belongs to another search.
    """
    import optuna
    from optuna.pruners import MedianPruner, NopPruner
    from optuna.storages import InMemoryStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage is not None and storage.exists() and not resume:
        raise OutputError(f"The study {storage} exists; continue it with --resume or start anew with --overwrite.")
    few = max(2, len(search.split.validation) // 5)
    pruner = MedianPruner(n_startup_trials=4, n_warmup_steps=few) if search.prune else NopPruner()
    backend = InMemoryStorage() if storage is None else JournalStorage(JournalFileBackend(str(storage)))
    study = optuna.create_study(storage=backend, study_name="tune", direction="maximize", pruner=pruner, load_if_exists=True)
    stored = study.user_attrs.get("search")
    if stored is None:
        study.set_user_attr("search", search.key)
    elif stored != search.key:
        old, new = json.loads(stored), json.loads(search.key)
        differ = ", ".join(k for k in new if old.get(k) != new[k])
        raise ConfigError(f"The study {storage} was made with another {differ}; ask for the same again, or give --overwrite.")
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # the run that it belonged to was killed
    return study


def run_search(search: Search, pool: Pool, study: Study, on_trial: Callable[[TrialRecord, TrialRecord], None] | None = None) -> Tuning:
    """Ask, track, tell, until the trials are done; then judge on the hold-out.

    Args:
        search: What to do.
        pool: Entered pool with the sequences of both splits.
        study: From `open_study`.
        on_trial: Called after every trial with it and the best so far.

    Raises:
        SiamTrackError: The starting constants themselves can't be tracked with, or the worker processes died.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    began = time.monotonic()
    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    failures = 0
    while (done := len(study.get_trials(deepcopy=False, states=finished))) < search.trials:
        if search.minutes is not None and done and time.monotonic() - began > 60 * search.minutes:
            logger.warning("The time is up after %d of %d trials.", done, search.trials)
            break
        # A sampler for each trial, seeded by its place: an interrupted search draws what an uninterrupted one would have drawn.
        study.sampler = TPESampler(seed=search.seed * 100_003 + done, n_startup_trials=8, multivariate=True)
        if not done:
            study.enqueue_trial({k: getattr(search.start, k) for k in search.space}, skip_if_exists=True)
        trial = study.ask()
        try:
            record = _run_trial(search, pool, study, trial, first=not done)
        except SiamTrackError:
            study.tell(trial, state=TrialState.FAIL)
            raise
        except Exception as error:  # a bug of the tracker that some constants bring out: reported, and the search goes on
            study.tell(trial, state=TrialState.FAIL)
            failures += 1
            logger.warning("Trial %d failed with %s (%s: %s).", trial.number, trial.params, type(error).__name__, error)
            if not done or failures >= 5:
                raise
            continue
        if on_trial is not None:
            on_trial(record, _best(study))
    best = _best(study)
    records = [_record(t) for t in study.get_trials(deepcopy=False)]
    start = next(r for r in records if r.state == "complete")
    before, after = {"validation": dict(start.scores)}, {"validation": dict(best.scores)}
    before["holdout"] = _hold_out(search, pool, search.start)
    after["holdout"] = (
        before["holdout"] if best.number == start.number else _hold_out(search, pool, with_constants(search.start, best.constants))
    )
    return Tuning(search, best, tuple(records), before, after, time.monotonic() - began)


def _hold_out(search: Search, pool: Pool, constants: TrackingConfig) -> dict[str, float]:
    return {s.sequence: _value(s, search.metric) for s in pool.scores(search.split.holdout, constants)}


def _value(score: SequenceScore, metric: Metric) -> float:
    return score.ao if metric == "ao" else score.auc


def _suggest(trial: Trial, search: Search) -> Constants:
    constants: Constants = {}
    for name, span in search.space.items():
        if isinstance(getattr(search.start, name), int):
            constants[name] = trial.suggest_int(name, math.ceil(span.low), math.floor(span.high))
        else:  # rounded before it is used, so that the file says exactly what was measured
            constants[name] = round(trial.suggest_float(name, span.low, span.high), DIGITS)
    return constants


def _run_trial(search: Search, pool: Pool, study: Study, trial: Trial, first: bool) -> TrialRecord:
    from optuna.trial import TrialState

    constants = _suggest(trial, search)
    config = search.start if first else with_constants(search.start, constants)
    scores: dict[str, float] = {}
    state = TrialState.COMPLETE
    stream = pool.scores(search.split.validation, config)
    for step, score in enumerate(stream):
        scores[score.sequence] = _value(score, search.metric)
        trial.report(float(np.mean(list(scores.values()))), step)
        if not first and step + 1 < len(search.split.validation) and trial.should_prune():
            state = TrialState.PRUNED
            break
    stream.close()  # type: ignore[attr-defined]
    trial.set_user_attr("scores", scores)
    trial.set_user_attr("constants", constants)
    mean = float(np.mean(list(scores.values())))
    study.tell(trial, mean if state is TrialState.COMPLETE else None, state=state)
    return TrialRecord(trial.number, constants, state.name.lower(), mean, scores)


def _record(trial: Any) -> TrialRecord:
    names = {"COMPLETE": "complete", "PRUNED": "pruned"}
    scores = trial.user_attrs.get("scores", {})
    mean = float(np.mean(list(scores.values()))) if scores else math.nan
    return TrialRecord(trial.number, trial.user_attrs.get("constants", trial.params), names.get(trial.state.name, "failed"), mean, scores)


def _best(study: Study) -> TrialRecord:
    return _record(study.best_trial)
