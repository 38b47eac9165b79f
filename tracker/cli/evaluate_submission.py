"""`evaluate --submission` and `--check-zip`: results as GOT-10k's and TrackingNet's servers take them."""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import BAD_REQUEST, DONE, FAILED_MIDWAY
from tracker.errors import SourceError

if TYPE_CHECKING:
    from tracker.datasets.base import Dataset
    from tracker.evaluation.specs import TrackerSpec
    from tracker.metrics.results import Evaluation, SequenceResult


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
