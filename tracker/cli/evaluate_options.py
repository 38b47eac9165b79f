"""The options of `siamtrack evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tracker.cli.common import Parser, add_version, whole_number
from tracker.cli.model_options import add_engine_options

NAMES = (
    "got10k",
    "otb",
    "otb2013",
    "otb50",
    "otb100",
    "vot",
    "lasot",
    "uav123",
    "uav20l",
    "nfs",
    "tcolor128",
    "dtb70",
    "trackingnet",
    "folder",
)
DATA_FORM = "[LABEL=]NAME:ROOT[:SUBSET[:GLOB]]"


def add_data_option(group: argparse._ArgumentGroup, meaning: str) -> None:
    """`--data`, at least once, for commands over several data sets."""
    group.add_argument("--data", type=data_set, action="append", required=True, metavar=DATA_FORM, help=meaning)


def data_set(text: str) -> tuple[str, str, Path, str | None, str | None]:
    """A `type=` for [LABEL=]NAME:ROOT[:SUBSET[:GLOB]]."""
    label, equals, rest = text.partition("=")
    name, *parts = (rest if equals else text).split(":")
    if name not in NAMES or not 1 <= len(parts) <= 3 or not parts[0]:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form {DATA_FORM} with a NAME of {', '.join(NAMES)}; "
            "for example hard=otb:data/hard, or got10k:GOT-10k:val"
        )
    root, subset, glob = (*parts, None, None)[:3]
    return label if equals else name, name, Path(str(root)), subset or None, glob or None


def build_parser() -> argparse.ArgumentParser:
    """The options of `evaluate`."""
    parser = Parser(
        description="Measure trackers on a benchmark. Nothing is downloaded. The same command again goes on where a "
        "stopped run was.",
        epilog="Example: siamtrack evaluate --dataset otb --root OTB --model siamtrack-s --tracker still --tracker "
        "opencv:mil --workers 2. What each number means: docs/protocol.md.",
    )
    data = parser.add_argument_group("data set")
    data.add_argument(
        "--dataset",
        choices=NAMES,
        metavar="NAME",
        help=f"one of {', '.join(NAMES)}; otb: all OTB sequences that are there",
    )
    data.add_argument("--root", type=Path, metavar="DIR", help="folder of the data set")
    data.add_argument(
        "--subset",
        metavar="NAME",
        help="got10k: val (default), test or train; vot: the year; lasot, trackingnet: test; nfs: 30 or 240",
    )
    data.add_argument("--sequences", metavar="GLOB", help="only sequences whose names match, for example 'Car*,Dog'")
    data.add_argument(
        "--data",
        type=data_set,
        action="append",
        metavar=DATA_FORM,
        help="several data sets in one run, in place of the four options above, each in a folder OUTPUT/LABEL; one "
        "table of all, with intervals, becomes OUTPUT/sets.md and sets.json",
    )
    who = parser.add_argument_group("trackers")
    who.add_argument(
        "--model", action="append", default=[], metavar="[LABEL=]NAME|FILE", help="a model of ours; may be repeated"
    )
    who.add_argument(
        "--tracker",
        action="append",
        default=[],
        metavar="[LABEL=]WHAT",
        help="still, or opencv:NAME (csrt, kcf, mil, nano, vit, ...)",
    )
    who.add_argument(
        "--model-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="files of opencv:nano, opencv:vit, ...; may be repeated",
    )
    who.add_argument(
        "--results", action="append", default=[], metavar="DIR", help="results of others in the got10k package's layout"
    )
    model = parser.add_argument_group("settings of the models")
    model.add_argument(
        "--config",
        type=Path,
        metavar="NAME|FILE.yaml",
        help="tracking settings; without it, those stored with each model",
    )
    add_engine_options(model)
    how = parser.add_argument_group("run")
    how.add_argument("--workers", type=whole_number(1), default=1, metavar="N", help="processes, each on one thread")
    how.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="run on a Ray cluster: its address, auto, or local (needs ray)",
    )
    how.add_argument(
        "--protocol",
        choices=("ope", "supervised"),
        help="one pass, or re-initialised after failures (default: as the data set says)",
    )
    how.add_argument("--restart", action="store_true", help="track everything again, ignoring stored results")
    out = parser.add_argument_group("output")
    out.add_argument(
        "--output",
        type=Path,
        default=Path("runs/evaluation"),
        metavar="DIR",
        help="folder of evaluation.json, records and results",
    )
    out.add_argument("--attributes", action="store_true", help="also print a table by attribute")
    out.add_argument("--per-sequence", action="store_true", help="also print a table by sequence")
    out.add_argument("--explain", action="store_true", help="also print what the numbers mean")
    out.add_argument(
        "--report",
        action="store_true",
        help="also write OUTPUT/report/report.html, the plots and tables (`siamtrack report`)",
    )
    out.add_argument(
        "--toolkit", action="store_true", help="also compute the numbers with the got10k package's own code and compare"
    )
    out.add_argument(
        "--check-zip",
        type=Path,
        metavar="FILE",
        help="check a submission to GOT-10k (or TrackingNet) and stop; with --root, against the test set",
    )
    add_version(parser)
    return parser
