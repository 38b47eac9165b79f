"""`evaluate`: measure trackers on a benchmark, in processes of this machine or on a Ray cluster.

A run that was interrupted continues with the same command, which tracks only what is missing. `--submission` and
`--check-zip` handle submissions to the servers of GOT-10k and TrackingNet.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import DONE, FAILED_MIDWAY
from tracker.cli.evaluate_options import build_parser
from tracker.cli.evaluate_submission import check_zip, submission
from tracker.cli.model_options import check_model_options
from tracker.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from tracker.datasets.base import Dataset
    from tracker.evaluation.runner import EvaluationTask, RunStore
    from tracker.evaluation.specs import TrackerSpec
    from tracker.metrics.results import Evaluation, SequenceResult


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code (1: a tracker crashed on some sequence, or a check failed)."""
    args = build_parser().parse_args(argv)
    if args.check_zip:
        return check_zip(args)
    if args.data:
        return _several(args)
    if not args.dataset or not args.root:
        raise ConfigError(
            "--dataset NAME and --root DIR are needed, for example --dataset otb --root OTB; or several data sets by "
            "--data otb:OTB --data got10k:GOT-10k."
        )
    specs = _specs(args)
    dataset, protocol = _data_set(args, args.dataset, args.root, args.subset, args.sequences)
    _check_output(args.output, dataset, protocol)
    return _report(args, dataset, specs, _results(args, dataset, specs, protocol), protocol)[1]


def _data_set(
    args: argparse.Namespace, name: str, root: Path, subset: str | None, glob: str | None
) -> tuple[Dataset, str]:
    """A data set, and how it is measured."""
    from tracker.datasets.registry import load_dataset

    dataset = load_dataset(name, root, subset, glob)
    protocol = args.protocol or ("supervised" if dataset.rules == "vot" else "ope")
    if protocol == "supervised" and dataset.rules != "vot":
        raise ConfigError(f"The supervised protocol is VOT's; {dataset.title} is measured in one pass.")
    return dataset, protocol


def _several(args: argparse.Namespace) -> int:
    """The options of --data, one after another, and the table over all."""
    from tracker.evaluation.sets_table import facts, markdown, summary
    from tracker.files import write_atomic

    if args.dataset or args.root or args.subset or args.sequences:
        raise ConfigError("--data says which data sets; leave out --dataset, --root, --subset and --sequences.")
    labels = [label for label, *_ in args.data]
    for label in labels:
        if labels.count(label) > 1 or not re.fullmatch(r"[\w.-]*\w[\w.-]*", label):
            raise ConfigError(
                f"The data set's label {label!r} is given twice or is not a name for a folder; "
                "write --data LABEL=NAME:ROOT."
            )
    specs, output, evaluations, code = _specs(args), args.output, {}, DONE
    found = [_data_set(args, *rest) for _, *rest in args.data]
    for label, (dataset, protocol) in zip(labels, found, strict=True):
        if protocol != "ope" or dataset.truth_withheld:
            raise ConfigError(
                f"--data compares one-pass runs with known truth, and {dataset.title} is not that (for VOT: "
                "--protocol ope)."
            )
        _check_output(output / label, dataset, protocol)
    for label, (dataset, protocol) in zip(labels, found, strict=True):
        args.output = output / label
        evaluations[label], one = _report(args, dataset, specs, _results(args, dataset, specs, protocol), protocol)
        code = max(code, one)
    rows = summary(evaluations)
    text = markdown(rows)
    write_atomic(output / "sets.md", text)
    write_atomic(output / "sets.json", json.dumps(facts(rows), indent=1) + "\n")
    print(
        f"\nAll data sets, one pass, area under the success curve (OTB's rules), 95 % intervals over sequences:\n{text}"
    )
    print(f"Saved: {output / 'sets.md'}")
    return code


def _results(
    args: argparse.Namespace, dataset: Dataset, specs: list[TrackerSpec], protocol: str
) -> list[SequenceResult]:
    results = _track(args, dataset, specs, protocol)
    for folder in args.results:
        results += _foreign(folder, dataset, {r.tracker for r in results})
    return results


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
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere without being asked for
    with tqdm(total=frames, unit="frame", disable=None, smoothing=0.05) as bar:
        for result in run_tasks(missing, args.workers, args.ray):
            store.save(result)
            done.append(result)
            bar.update(len(result))
            bar.set_postfix_str(f"{result.tracker} {result.sequence}", refresh=False)
            if result.error:
                bar.write(f"{result.tracker} crashed on {result.sequence}: {result.error}", file=sys.stderr)
    return done


def _stored(
    store: RunStore, tasks: list[EvaluationTask], restart: bool
) -> tuple[list[SequenceResult], list[EvaluationTask]]:
    """The stored results, and the tasks without one."""
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
) -> tuple[Evaluation, int]:
    """Prints and saves the tables of one data set; also the exit code."""
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
    return evaluation, code


def toolkit(output: Path, dataset: Dataset, evaluation: Evaluation, labels: list[str]) -> int:
    """Prints our numbers beside the package's; exit code 1 if they differ."""
    from tracker.evaluation.toolkit import toolkit_report

    with contextlib.redirect_stdout(io.StringIO()):  # the package prints its progress
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
