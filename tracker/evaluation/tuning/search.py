"""Search of tracking settings on a validation split, judged on a hold-out split that the search never uses.

The sampler is Optuna's TPE (Bergstra et al., NeurIPS 2011); a trial whose running mean falls below the median of
earlier trials after the same sequences is pruned. Trials run one after another and each is distributed over the worker
processes by sequence, so the result depends on the seed and not on the number of workers, and a resumed search
continues as if it had never stopped.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tracker.config import TrackingConfig
from tracker.errors import ConfigError, OutputError, SiamTrackError
from tracker.evaluation.tuning.plan import DIGITS, Constants, Metric, SearchPlan, TrialRecord, Tuning, with_constants
from tracker.evaluation.tuning.workers import Pool, SequenceScore

if TYPE_CHECKING:
    from optuna import Study, Trial

logger = logging.getLogger(__name__)


def open_study(storage: Path | None, search: SearchPlan, resume: bool) -> Study:
    """The study of a search, new or continued.

    Args:
        storage: Journal file; None keeps it in memory.
        search: Must equal the stored one if it is continued.
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

    if storage is not None and storage.exists() and not resume:
        raise OutputError(f"The study {storage} exists; continue it with --resume or start again with --overwrite.")
    few = max(2, len(search.split.validation) // 5)
    pruner = MedianPruner(n_startup_trials=4, n_warmup_steps=few) if search.prune else NopPruner()
    backend = InMemoryStorage() if storage is None else JournalStorage(JournalFileBackend(str(storage)))
    study = optuna.create_study(
        storage=backend, study_name="tune", direction="maximize", pruner=pruner, load_if_exists=True
    )
    stored = study.user_attrs.get("search")
    if stored is None:
        study.set_user_attr("search", search.key)
    elif stored != search.key:
        old, new = json.loads(stored), json.loads(search.key)
        differ = ", ".join(k for k in new if old.get(k) != new[k])
        raise ConfigError(
            f"The study {storage} was made with another {differ}; ask for the same again, or give --overwrite."
        )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # its run was killed
    return study


def run_search(
    search: SearchPlan, pool: Pool, study: Study, on_trial: Callable[[TrialRecord, TrialRecord], None] | None = None
) -> Tuning:
    """Runs the trials, then evaluates the best one on the hold-out.

    Args:
        search: The definition of the search.
        pool: Entered pool with the sequences of both splits.
        study: From `open_study`.
        on_trial: Called after every trial with it and the best so far.

    Raises:
        SiamTrackError: Tracking fails with the start settings themselves, or the worker processes died.
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
        # Each trial has its own sampler, seeded by its number: an interrupted search draws what an uninterrupted one
        # would have drawn. Crashed trials count, or the same crash would be drawn again; trials that were killed with
        # their run don't.
        crashes = sum("crash" in t.user_attrs for t in study.get_trials(deepcopy=False))
        study.sampler = TPESampler(
            seed=search.seed * 100_003 + done + 7919 * crashes, n_startup_trials=8, multivariate=True
        )
        if not done:
            study.enqueue_trial({k: getattr(search.start, k) for k in search.space}, skip_if_exists=True)
        trial = study.ask()
        try:
            record = _run_trial(search, pool, study, trial, first=not done)
        except SiamTrackError:
            study.tell(trial, state=TrialState.FAIL)
            raise
        except Exception as error:  # a bug that some settings trigger: report it and continue the search
            trial.set_user_attr("crash", f"{type(error).__name__}: {error}")
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
        before["holdout"]
        if best.number == start.number
        else _hold_out(search, pool, with_constants(search.start, best.constants))
    )
    return Tuning(search, best, tuple(records), before, after, time.monotonic() - began)


def _hold_out(search: SearchPlan, pool: Pool, constants: TrackingConfig) -> dict[str, float]:
    return {s.sequence: _value(s, search.metric) for s in pool.scores(search.split.holdout, constants)}


def _value(score: SequenceScore, metric: Metric) -> float:
    return score.ao if metric == "ao" else score.auc


def _suggest(trial: Trial, search: SearchPlan) -> Constants:
    constants: Constants = {}
    for name, span in search.space.items():
        if isinstance(getattr(search.start, name), int):
            constants[name] = trial.suggest_int(name, math.ceil(span.low), math.floor(span.high))
        else:  # rounded before use, so that the file contains exactly what was measured
            constants[name] = round(trial.suggest_float(name, span.low, span.high), DIGITS)
    return constants


def _run_trial(search: SearchPlan, pool: Pool, study: Study, trial: Trial, first: bool) -> TrialRecord:
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
    return TrialRecord(
        trial.number,
        trial.user_attrs.get("constants", trial.params),
        names.get(trial.state.name, "failed"),
        mean,
        scores,
    )


def _best(study: Study) -> TrialRecord:
    return _record(study.best_trial)
