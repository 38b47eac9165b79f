"""`evaluate`: measure trackers on a benchmark, in processes of this machine or on a Ray cluster.

A run that was stopped goes on where it was: the same command again tracks only what is missing. `--submission` and
`--check-zip` are about results as GOT-10k's and TrackingNet's servers take them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import BAD_REQUEST, DONE, FAILED_MIDWAY
from tracker.cli.evaluate_options import build_parser
from tracker.cli.model_options import check_model_options
from tracker.errors import ConfigError, OutputError, SourceError

if TYPE_CHECKING:
    from tracker.datasets.base import Dataset
    from tracker.evaluation.runner import RunStore, Task
    from tracker.evaluation.specs import TrackerSpec
    from tracker.metrics.results import Evaluation, SequenceResult


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (1: a tracker crashed on some sequence, or a check failed)."""
    args = build_parser().parse_args(argv)
    if args.check_zip:
        return check_zip(args)
    if not args.dataset or not args.root:
        raise ConfigError("--dataset NAME and --root DIR are needed; for example --dataset otb --root OTB.")
    specs = _specs(args)
    from tracker.datasets.registry import load_dataset

    dataset = load_dataset(args.dataset, args.root, args.subset, args.sequences)
    protocol = args.protocol or ("supervised" if dataset.rules == "vot" else "ope")
    if protocol == "supervised" and dataset.rules != "vot":
        raise ConfigError(f"The supervised protocol is VOT's; {dataset.title} is measured in one pass.")
    _check_output(args.output, dataset, protocol)
    results = _track(args, dataset, specs, protocol)
    for folder in args.results:
        results += _foreign(folder, dataset, {r.tracker for r in results})
    return _report(args, dataset, specs, results, protocol)


def _specs(args: argparse.Namespace) -> list[TrackerSpec]:
    from tracker.evaluation.specs import parse_model, parse_tracker

    options = {"device": args.device, "engine": args.engine, "overrides": "\n".join(args.overrides)}
    if args.config:
        options["config"] = str(args.config.resolve())
    specs = [parse_model(text, options) for text in args.model]
    for spec in specs:
        check_model_options(
            argparse.Namespace(
                config=args.config, overrides=args.overrides, model=spec.name, device=args.device, engine=args.engine
            )
        )
    specs += [parse_tracker(text, "\n".join(args.model_dir) or None) for text in args.tracker]
    if not specs and not args.results:
        raise ConfigError(
            "Nothing to measure: give --model NAME, --tracker still, --tracker opencv:NAME or --results DIR."
        )
    labels = [s.label for s in specs]
    twice = next((name for name in labels if labels.count(name) > 1), None)
    if twice:
        raise ConfigError(
            f"Two trackers are called {twice!r}; give them names, for example --model first={twice} --model second=..."
        )
    for spec in specs:
        spec.check()
    return specs


def _check_output(output: Path, dataset: Dataset, protocol: str) -> None:
    from tracker.metrics.result_store import load_evaluation

    if output.exists() and not output.is_dir():
        raise OutputError(f"--output {output} is a file; give a folder.")
    if (output / "evaluation.json").is_file():
        old = load_evaluation(output, records=False)
        key = old.provenance.get("key")
        if key != f"{dataset.key} {dataset.results_folder} {protocol}":
            raise OutputError(
                f"{output} holds an evaluation on {old.dataset}; choose another --output for {dataset.title}."
            )


def _track(args: argparse.Namespace, dataset: Dataset, specs: list[TrackerSpec], protocol: str) -> list[SequenceResult]:
    from tqdm import tqdm

    from tracker.evaluation.pool import run_tasks
    from tracker.evaluation.runner import RunStore, make_tasks
    from tracker.metrics import result_files

    tasks = make_tasks(dataset, specs, protocol)  # type: ignore[arg-type]
    store = RunStore(args.output, dataset)
    for label, fingerprint in {t.spec.label: t.fingerprint for t in tasks}.items():
        result_files.claim(store.folder(label), fingerprint)
    done, missing = _stored(store, tasks, args.restart)
    frames = sum(len(t.sequence) for t in missing)
    if tasks:
        where = f"Ray ({args.ray})" if args.ray else f"{args.workers} process{'es' * (args.workers > 1)}"
        stored = f", {len(done)} stored already" if done else ""
        print(f"{dataset.title}: {len(missing)} runs, {frames} frames{stored}; {where}, one thread each.", flush=True)
    if not missing:
        return done
    if args.ray:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unasked
    with tqdm(total=frames, unit="frame", disable=None, smoothing=0.05) as bar:
        for result in run_tasks(missing, args.workers, args.ray):
            store.save(result)
            done.append(result)
            bar.update(len(result))
            bar.set_postfix_str(f"{result.tracker} {result.sequence}", refresh=False)
            if result.error:
                bar.write(f"{result.tracker} crashed on {result.sequence}: {result.error}", file=sys.stderr)
    return done


def _stored(store: RunStore, tasks: list[Task], restart: bool) -> tuple[list[SequenceResult], list[Task]]:
    """Results that are there already, and the tasks whose aren't."""
    done, missing = [], []
    for task in tasks:
        result = None if restart else store.load(task)
        if result is None:
            missing.append(task)
        else:
            store.restore(result)
            done.append(result)
    return done, missing


def _foreign(folder: str, dataset: Dataset, taken: set[str]) -> list[SequenceResult]:
    from tracker.metrics.result_files import find_results, read_results

    found = []
    for name, path in find_results(folder, dataset).items():
        label = name
        while label in taken:
            label += "+"
        taken.add(label)
        found += read_results(path, label, dataset)
    return found


def _report(
    args: argparse.Namespace, dataset: Dataset, specs: list[TrackerSpec], results: list[SequenceResult], protocol: str
) -> int:
    from tracker.evaluation.specs import code_version
    from tracker.evaluation.summary import explain, provenance, summarise, text_table
    from tracker.metrics.result_store import save_evaluation

    facts = {
        "key": f"{dataset.key} {dataset.results_folder} {protocol}",
        "code": code_version(),
        "workers": str(args.workers),
    }
    facts |= {
        f"fingerprint of {label}": key
        for label, key in {r.tracker: r.fingerprint for r in results if r.fingerprint}.items()
    }
    command = [Path(sys.argv[0]).name, *(sys.argv[1:])]
    evaluation = summarise(dataset, results, protocol, provenance(command, **facts))
    target = save_evaluation(args.output, evaluation)
    crashes = [r for r in results if r.error]
    if dataset.truth_withheld:
        submission(args.output, dataset, specs, crashes, complete=not args.sequences)
        print(f"The truth of {dataset.title} is withheld: the numbers come from its server. Speeds:")
    print(f"\n{evaluation.dataset}\n" + text_table(evaluation, attributes=args.attributes, sequences=args.per_sequence))
    if args.explain:
        print("\n" + explain(evaluation))
    print(f"\nSaved: {target}")
    if args.report:
        from tracker.evaluation.report.build import ReportOptions, write_report

        print(f"Report: {write_report(evaluation, args.output / 'report', ReportOptions(overwrite=True))}")
    code = DONE
    if args.toolkit:
        code = toolkit(args.output, dataset, evaluation, [s.label for s in specs])
    if dataset.failures:
        names = ", ".join(list(dataset.failures)[:8])
        sys.stderr.write(f"{len(dataset.failures)} sequence(s) can't be read and are in no number: {names}.\n")
        code = FAILED_MIDWAY
    if crashes:
        names = ", ".join(f"{r.tracker} on {r.sequence}" for r in crashes[:5])
        sys.stderr.write(
            f"{len(crashes)} of {len(results)} runs crashed and count as misses: {names}. The same command tries "
            "them again.\n"
        )
        code = FAILED_MIDWAY
    return code


def submission(
    output: Path, dataset: Dataset, specs: list[TrackerSpec], crashes: list[SequenceResult], complete: bool
) -> None:
    from tracker.evaluation.submission import check_zip, make_zip

    if not complete or dataset.failures:
        print("No submission is made of a part of the set: its server takes all sequences or none.")
        return
    for spec in specs:
        if any(r.tracker == spec.label for r in crashes):
            continue
        folder = output / "results" / dataset.results_folder / spec.label
        file = make_zip(folder, dataset, folder.with_name(folder.name + ".zip"))
        mistakes = check_zip(file, dataset)
        print(
            f"Submission: {file}" + ("".join(f"\n  {m}" for m in mistakes) if mistakes else " (checked: nothing wrong)")
        )


def toolkit(output: Path, dataset: Dataset, evaluation: Evaluation, labels: list[str]) -> int:
    """Print ours beside the package's; exit code 1 where they differ."""
    from tracker.evaluation.toolkit import toolkit_report

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        theirs = toolkit_report(output / "results", dataset, labels)
    code = DONE
    print("\nThe got10k package on the same files:")
    for table in evaluation.trackers:
        for name, value in theirs.get(table.tracker, {}).items():
            own = table.overall[name]
            same = abs(own - value) <= (1e-9 if name != "fps" else 1e-3 * abs(value))
            print(f"  {table.tracker}: {name} {value:.6f}, ours {own:.6f}: {'same' if same else 'DIFFERENT'}")
            code = code if same else FAILED_MIDWAY
    return code


def check_zip(args: argparse.Namespace) -> int:
    from tracker.datasets.registry import load_dataset
    from tracker.evaluation.submission import check_zip

    key = args.dataset or "got10k"
    if key not in ("got10k", "trackingnet"):
        raise SourceError(
            "--check-zip is for submissions to GOT-10k and TrackingNet; write --dataset got10k or trackingnet."
        )
    dataset = load_dataset(key, args.root, args.subset or "test") if args.root else None
    mistakes = check_zip(args.check_zip, dataset, key)
    for mistake in mistakes:
        print(mistake)
    scope = "" if dataset else " Names and formats only: with --root, line counts and first boxes are checked too."
    print(
        f"{args.check_zip}: {len(mistakes)} mistake{'s' * (len(mistakes) != 1)}.{scope}"
        if mistakes
        else f"{args.check_zip}: nothing wrong.{scope}"
    )
    return BAD_REQUEST if mistakes else DONE
