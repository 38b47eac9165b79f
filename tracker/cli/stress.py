"""`stress`: the reliability of a tracker on targets that are occluded, cut away, absent, or in black and frozen
frames."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli.common import DONE, Parser, add_version, whole_number
from tracker.cli.evaluate_options import NAMES
from tracker.cli.model_options import add_model_options, check_model_options
from tracker.errors import ConfigError, SourceError
from tracker.files import write_atomic

if TYPE_CHECKING:
    from tracker.datasets.base import Dataset
    from tracker.evaluation.robustness.perturb import DisturbedClip
    from tracker.evaluation.robustness.stress import ClipRun


def add_data_options(parser: argparse.ArgumentParser, frames: int) -> None:
    """--dataset, --root, --subset, --sequences, --frames, --kinds, --seed."""
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", choices=NAMES, default="otb", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    data.add_argument(
        "--root", type=Path, required=True, metavar="DIR", help="folder of the data set; nothing is downloaded"
    )
    data.add_argument("--subset", metavar="NAME", help="split, year or frame rate, for data sets that have them")
    data.add_argument("--sequences", metavar="GLOB", help="only sequences whose names match, for example 'Car*,Dog'")
    data.add_argument(
        "--frames", type=whole_number(0), default=frames, metavar="N", help="first frames of each sequence; 0 takes all"
    )
    data.add_argument(
        "--kinds",
        default="none,occlusion,cut,leave,black,frozen",
        metavar="LIST",
        help="disturbances; none: undisturbed clips",
    )
    data.add_argument(
        "--seed", type=int, default=0, metavar="N", help="with a clip's name, determines its disturbances"
    )


def add_run_options(parser: argparse.ArgumentParser, output: str, each: str = "clip") -> None:
    """--output, --overwrite, --quiet, those of the model, --version.

    Args:
        parser: They are added to it.
        output: What --output does.
        each: The unit of a progress line.
    """
    parser.add_argument("--output", type=Path, metavar="DIR", help=output)
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    parser.add_argument("--quiet", action="store_true", help=f"no line for each {each}")
    add_model_options(parser)
    add_version(parser)


def build_parser() -> Parser:
    """The options of `stress`."""
    parser = Parser(
        description="Measure how reliable score and states are: clips with occlusions, cuts, a target that leaves, "
        "black and frozen frames.",
        epilog="Example: siamtrack stress --root OTB --output stress. What the numbers mean: docs/lost.md.",
    )
    add_data_options(parser, 160)
    parser.add_argument(
        "--parts",
        default="",
        metavar="LIST",
        help="rows of the table, separated by ';' (default: every part switched off once)",
    )
    add_run_options(parser, "write stress.md and stress.json there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the measurement; returns the exit code."""
    args = build_parser().parse_args(argv)
    from tracker.evaluation.robustness.stress import PARTS, markdown, stress

    parts = [part.strip() for part in args.parts.split(";") if part.strip()] or list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ConfigError(f"There is no part {unknown[0]!r}; choose of {'; '.join(PARTS)}.")
    kinds = given_kinds(args)
    outputs = check_outputs(args.output, ("stress.md", "stress.json"), args.overwrite)
    check_model_options(args)
    dataset = given_dataset(args)
    from tracker.model.checkpoint import load_model
    from tracker.runtime.select import build_engine

    model = load_model(args.model, args.config, args.overrides)
    if not model.config.tracking.calibration.confidence:
        sys.stderr.write(
            f"{model.name} has no calibrated score (`siamtrack calibrate` gives it one): all its tracks are TRACKING.\n"
        )
    engine = build_engine(model, args.device, args.engine)

    def progress(part: str, run: ClipRun) -> None:
        if not args.quiet:
            shown = (run.absent & run.visible)[1:].sum()
            print(
                f"{run.name}, {run.kind}, {part}: {shown} of {run.absent.sum()} frames without target report a box",
                flush=True,
            )

    rows = stress(lambda: clips(dataset, kinds, args.seed, args.frames), model, engine, parts, progress)
    text = (
        f"{model.name} on {dataset.title}, first {args.frames or 'all'} frames of each sequence, seed {args.seed}, "
        f"engine {engine.name}.\n\n{markdown(rows)}"
    )
    facts = {"model": model.name, "dataset": dataset.title, "frames": args.frames, "seed": args.seed}
    show(text, {**facts, "engine": engine.name, "rows": [asdict(row) for row in rows]}, outputs)
    return DONE


def given_kinds(args: argparse.Namespace) -> list[str]:
    """The disturbances of --kinds.

    Raises:
        ConfigError: One is unknown.
    """
    from tracker.evaluation.robustness.perturb import KINDS

    kinds = [kind.strip() for kind in args.kinds.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in ("none", *KINDS):
            raise ConfigError(f"There is no disturbance {kind!r}; choose of none, {', '.join(KINDS)}.")
    return kinds


def given_dataset(args: argparse.Namespace) -> Dataset:
    """The data set of the options.

    Raises:
        SourceError: It doesn't exist, or has fewer than two sequences.
    """
    from tracker.datasets.registry import load_dataset, with_truth

    dataset = with_truth(load_dataset(args.dataset, args.root, args.subset, args.sequences), "measured on")
    if len(dataset.sequences) < 2:
        raise SourceError(
            f"{dataset.title} has one sequence only; two are needed, since one's scenery covers the other's target."
        )
    return dataset


def clips(dataset: Dataset, kinds: Sequence[str], seed: int, frames: int) -> Iterator[DisturbedClip]:
    """Every sequence with every kind of disturbance; two sequences are in memory at a time."""
    from tracker.evaluation.robustness.footage import read_footage
    from tracker.evaluation.robustness.perturb import disturb

    limit = frames or None
    first = here = read_footage(dataset.sequences[0], limit)
    for k in range(len(dataset.sequences)):
        last = k + 1 == len(dataset.sequences)
        other = first if last else read_footage(dataset.sequences[k + 1], limit)
        for kind in kinds:
            clip = disturb(here, other, kind, seed)
            if clip is not None:
                yield clip
        here = other


def check_outputs(folder: Path | None, names: Sequence[str], overwrite: bool) -> list[Path]:
    """The output files; raises an error now rather than after the work.

    Raises:
        OutputError: One exists, or the folder can't be created.
    """
    if folder is None:
        return []
    from tracker.errors import OutputError
    from tracker.media.sinks.base import check_writable

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Can't make the folder {folder}: {error.strerror or error}.") from None
    return [check_writable(folder / name, overwrite) for name in names]


def show(text: str, facts: Any, outputs: Sequence[Path]) -> None:
    """Prints a result, and writes it with its facts to the files of `check_outputs`, if there are any."""
    print(text)
    for path, content in zip(outputs, (text, json.dumps(facts, indent=1) + "\n"), strict=False):
        write_atomic(path, content)
