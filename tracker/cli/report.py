"""`tools/report.py FOLDER...`: draws the results of evaluations as one page, with plots and tables beside it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tracker.cli.common import DONE, Parser, RawEpilog, add_version, whole_number

DESCRIPTION = """\
Draw the results of evaluations as one page that needs no network and no scripts: report.html, with the plots as
png and svg and the numbers as csv, json and markdown beside it. Nothing is tracked again.
"""
EXAMPLES = """\
  siamtrack evaluate --dataset otb --root OTB --output results     makes a folder that this command reads
  siamtrack report results --output results/report
  siamtrack report tracks.csv --help                               measurements of tracks: paths, speeds, zones
  siamtrack report ours others --output comparison                 several trackers on the same sequences
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of `tools/report.py`."""
    parser = Parser(description=DESCRIPTION, epilog=EXAMPLES, formatter_class=RawEpilog)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="folder with an evaluation.json; several are compared"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=Path, metavar="DIR", help="where the report goes (default: FOLDER/report)")
    output.add_argument(
        "--title", default="", metavar="TEXT", help="heading of the page; the data set's name without it"
    )
    output.add_argument(
        "--strips",
        type=whole_number(0),
        default=3,
        metavar="N",
        help="failure strips per tracker; 0 leaves pictures out",
    )
    output.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    bootstrap = parser.add_argument_group("intervals")
    bootstrap.add_argument(
        "--samples", type=whole_number(100), default=2000, metavar="N", help="resamplings of the sequences"
    )
    bootstrap.add_argument("--seed", type=int, default=0, metavar="N", help="of the resampling")
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report; returns the exit code. A csv of tracks is handled by `measure`."""
    given = list(sys.argv[1:] if argv is None else argv)
    if any(word.lower().endswith(".csv") and not word.startswith("-") for word in given[:1]):
        from tracker.cli.measure import main as measurements

        return measurements(given)
    args = build_parser().parse_args(argv)
    from tracker.evaluation.report.build import ReportOptions, check_folder, merge, write_report
    from tracker.metrics.result_store import load_evaluation

    first = args.folders[0]
    folder = args.output or (first if first.is_dir() else first.parent) / "report"
    check_folder(folder, args.overwrite)
    evaluation = merge([load_evaluation(f) for f in args.folders])
    options = ReportOptions(
        title=args.title, strips=args.strips, samples=args.samples, seed=args.seed, overwrite=args.overwrite
    )
    page = write_report(evaluation, folder, options)
    print(f"{page} (with plots, csv, json and markdown beside it)")
    return DONE
