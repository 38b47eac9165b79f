"""`tools/tune.py`: searches the tracking settings of a model on a validation split and judges the result on a
hold-out."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import DONE
from tracker.cli.model_options import check_model_options
from tracker.cli.streams import note
from tracker.cli.tune_options import build_parser
from tracker.errors import ConfigError, OutputError
from tracker.runtime.processor import package_version
from tracker.settings import changed

if TYPE_CHECKING:
    from tracker.datasets.base import Dataset
    from tracker.evaluation.tuning.plan import SearchPlan, Split, TrialRecord

TESTS = {"otb", "otb2013", "otb50", "otb100", "vot", "uav123", "uav20l", "nfs", "tcolor128", "dtb70"}
"""Data sets that consist of a test set only. The others have a split of that name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the search; returns the exit code."""
    args = build_parser().parse_args(argv)
    study_file = args.study or args.output.with_suffix(".study")
    _check(args, study_file)
    dataset = _load(args)

    import optuna

    from tracker.evaluation.summary import provenance
    from tracker.evaluation.tuning.plan import some_of, usable
    from tracker.evaluation.tuning.report import score_lines, write_tuning
    from tracker.evaluation.tuning.search import open_study, run_search
    from tracker.evaluation.tuning.workers import FrameCache, Pool, SiamFactory
    from tracker.model.checkpoint import load_model

    sequences = usable(some_of(dataset.sequences, args.max_sequences, args.seed), args.max_frames)
    model = load_model(args.model, args.config, args.overrides)
    weights = hashlib.sha256(Path(model.path or args.model).read_bytes()).hexdigest()[:16]
    search = _search(
        args,
        [s.name for s in sequences],
        model.config.model.head,
        model.config.tracking,
        f"{model.name} (sha256 {weights})",
    )
    if args.overwrite:
        study_file.unlink(missing_ok=True)
    study_file.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(study_file, search, args.resume)
    split = search.split
    note(
        args,
        f"{dataset.title}: {len(split.validation)} sequences to search on, {len(split.holdout)} held out; study "
        f"{study_file}",
    )
    factory = SiamFactory(str(args.model), args.device, args.engine)
    with tempfile.TemporaryDirectory(prefix="siamtrack-frames-") as folder:
        cache = FrameCache(Path(folder) if args.cache_gb > 0 else None, int(args.cache_gb * 1e9))
        with Pool(factory, sequences, args.workers, max_frames=args.max_frames, cache=cache) as pool:
            tuning = run_search(search, pool, study, lambda trial, best: note(args, _line(search, trial, best)))
    facts = provenance(
        [Path(sys.argv[0]).name, *(sys.argv[1:] if argv is None else argv)],
        data=f"{dataset.title}; split by seed {args.seed}",
        **(
            {"re-detection": "without its time limit during the search"}
            if model.config.tracking.redetection.budget_ms > 0
            else {}
        ),
        optuna=package_version("optuna"),
        seconds=f"{tuning.seconds:.0f}",
    )
    paths = write_tuning(args.output, tuning, facts)
    print("\n".join(score_lines(tuning)))
    print(f"best constants: {', '.join(f'{k}={v:g}' for k, v in tuning.best.constants.items())}")
    print(f"written: {paths[0]} (use it with --config), {paths[1]}")
    return DONE


def _check(args: argparse.Namespace, study_file: Path) -> None:
    """Checks that need no heavy imports."""
    from tracker.media.sinks.base import check_writable

    key, subset = args.dataset, args.subset or ("val" if args.dataset == "got10k" else None)
    if key in TESTS or subset == "test" or (key in ("lasot", "trackingnet") and subset is None):
        what = f"--subset {subset or 'test'} of {key}" if key not in TESTS else f"The data set {key}"
        raise ConfigError(
            f"{what} is for testing: constants tuned on it would make its numbers worthless. Tune on got10k val or "
            "train, lasot train, trackingnet train, or on a folder of your own (--dataset folder)."
        )
    if args.output.suffix not in (".yaml", ".yml"):
        raise OutputError(f"The output {args.output} must end in .yaml; it is a configuration.")
    if args.resume and args.overwrite:
        raise ConfigError("--resume goes on with a study and --overwrite starts it again; give one of them.")
    for path in (args.output, args.output.with_suffix(".json")):
        check_writable(path, args.overwrite or args.resume)
    if study_file.exists() and not (args.resume or args.overwrite):
        raise OutputError(f"The study {study_file} exists; go on with it by --resume, or start again with --overwrite.")
    check_model_options(args)


def _load(args: argparse.Namespace) -> Dataset:
    from tracker.datasets.registry import load_dataset, with_truth

    names = args.sequences
    if names and args.holdout_sequences:
        names += f",{args.holdout_sequences}"
    return with_truth(load_dataset(args.dataset, args.root, args.subset, names), "tuned on")


def _split(args: argparse.Namespace, names: list[str]) -> Split:
    from fnmatch import fnmatchcase

    from tracker.evaluation.tuning.plan import Split, split_sequences

    def group(name: str) -> str:
        found = args.group.search(name) if args.group else None
        return found.group(0) if found else name

    if not args.holdout_sequences:
        return split_sequences(names, args.holdout, args.seed, group)
    patterns = [p.strip() for p in args.holdout_sequences.split(",")]
    held = [n for n in names if any(fnmatchcase(n, p) for p in patterns)]
    rest = [n for n in names if n not in held]
    if not held or not rest:
        raise ConfigError(
            f"--holdout-sequences {args.holdout_sequences!r} matches {len(held)} of {len(names)} sequences; both "
            "sides need some."
        )
    shared = {group(n) for n in held} & {group(n) for n in rest}
    if shared:
        raise ConfigError(
            f"The group {min(shared)!r} of --group would be on both sides of the hold-out; change --holdout-sequences."
        )
    return Split(split_sequences(rest, 0.0, args.seed).validation, tuple(held))


def _search(args: argparse.Namespace, names: list[str], head: str, start: object, model: str) -> SearchPlan:
    from tracker.config import TrackingConfig
    from tracker.evaluation.tuning.plan import Range, SearchPlan, search_space

    assert isinstance(start, TrackingConfig)
    if start.redetection.budget_ms > 0:  # the amount of search after a loss must not depend on the load of this machine
        note(args, "tracking.redetection.budget_ms is 0 (no limit) during the search, so that scores can be repeated")
        start = changed(start, {"redetection.budget_ms": 0.0})
    given = {name: Range(low, high) for name, low, high in args.search}
    return SearchPlan(
        start=start,
        space=search_space(head, start, given or None),
        split=_split(args, names),
        trials=args.trials,
        metric=args.metric,
        seed=args.seed,
        max_frames=args.max_frames,
        prune=not args.no_prune,
        minutes=args.minutes,
        model=model,
    )


def _line(search: SearchPlan, trial: TrialRecord, best: TrialRecord) -> str:
    values = ", ".join(f"{k}={v:g}" for k, v in trial.constants.items())
    seen = f" after {len(trial.scores)}/{len(search.split.validation)}" if trial.state == "pruned" else ""
    outcome = f"{search.metric} {trial.score:.4f}  {trial.state}{seen}"
    return f"trial {trial.number:3d}  {outcome}  {values}  (best {best.score:.4f}, trial {best.number})"
