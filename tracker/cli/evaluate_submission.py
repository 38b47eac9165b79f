"""`evaluate`: results as the servers of GOT-10k and TrackingNet take them, made and checked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import BAD_REQUEST, DONE
from tracker.errors import SourceError

if TYPE_CHECKING:
    from tracker.datasets.base import Dataset
    from tracker.evaluation.specs import TrackerSpec
    from tracker.metrics.results import SequenceResult


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
