"""`siamtrack export`: a model as ONNX or torch.export files, and as int8."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import DONE, Parser, RawEpilog, add_version, whole_number
from tracker.cli.model_options import DEFAULT_MODEL
from tracker.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from tracker.datasets.base import SequenceData
    from tracker.model.checkpoint import LoadedModel

EPILOG = """examples:
  siamtrack export --output exported
  siamtrack export --model siamtrack-s --format onnx torch --output exported
  siamtrack export --int8 --dataset otb --root OTB --output exported

docs/export.md says how to use the files from C++ or Python with OpenCV or ONNX Runtime alone."""


def build_parser() -> argparse.ArgumentParser:
    """The options of `export`."""
    parser = Parser(
        description="Write a model as two files: the template branch, run once, and the search branch with its head, "
        "run every frame.",
        epilog=EPILOG,
        formatter_class=RawEpilog,
    )
    what = parser.add_argument_group("model")
    what.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|FILE", help="shipped model or a checkpoint file")
    out = parser.add_argument_group("output")
    out.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the files; made if it isn't there"
    )
    out.add_argument(
        "--format",
        nargs="+",
        choices=("onnx", "torch"),
        default=["onnx"],
        help="onnx, torch (torch.export, .pt2) or both",
    )
    out.add_argument("--overwrite", action="store_true", help="replace files that exist")
    small = parser.add_argument_group("int8", "Pays on CPUs with int8 dot products (VNNI, AMX, ARM dotprod) alone.")
    small.add_argument(
        "--int8",
        action="store_true",
        help="also write int8 ONNX files, calibrated on crops of the data set given here, and NAME.int8.json, which "
        "beside NAME.safetensors gives the tracker its engine onnxruntime-int8",
    )
    small.add_argument(
        "--dataset",
        metavar="NAME",
        help="annotated sequences: the first half calibrates, the accuracy cost is measured on the second",
    )
    small.add_argument("--root", type=Path, metavar="DIR", help="folder of the data set")
    small.add_argument("--subset", metavar="NAME", help="split of the data set, if it has any")
    small.add_argument("--sequences", metavar="GLOB", help="only sequences whose names match")
    small.add_argument("--crops", type=whole_number(1), default=64, metavar="N", help="calibration crops")
    small.add_argument("--no-cost", action="store_true", help="calibrate on all, measure no cost")
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Checks all options, then writes."""
    args = build_parser().parse_args(argv)
    if args.int8 and not (args.dataset and args.root):
        raise ConfigError(
            "--int8 needs crops to calibrate on: give --dataset NAME and --root DIR of annotated sequences."
        )
    if args.int8 and "onnx" not in args.format:
        raise ConfigError("--int8 writes ONNX files; add onnx to --format.")
    from tracker.export.files import file_names, write_onnx, write_torch
    from tracker.model.checkpoint import load_model

    model = load_model(args.model)
    plans = {form: file_names(args.output, model.name, form) for form in args.format}
    if args.int8:
        ranges = args.output / f"{model.name}.int8.json"
        plans["int8"] = {**file_names(args.output, model.name, "onnx", "-int8"), "ranges": ranges}
    _check(args.output, [path for files in plans.values() for path in files.values()], args.overwrite)
    data = _calibration(args) if args.int8 else None
    args.output.mkdir(parents=True, exist_ok=True)
    for form, files in plans.items():
        if form == "onnx":
            write_onnx(model, files)
        elif form == "torch":
            write_torch(model, files)
        else:
            assert data is not None
            _write_int8(args, model, files, data)
        for path in files.values():
            print(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
    config = model.config.model
    print(
        f"template {config.template_size} px, search {config.search_size} px (any size works), response stride "
        f"{model.stride} px"
    )
    return DONE


def _check(folder: Path, files: list[Path], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"The output {folder} is a file; give a folder.")
    for path in files:
        if path.exists() and not overwrite:
            raise OutputError(f"The file {path} exists; give another --output or --overwrite.")


def _calibration(args: argparse.Namespace) -> Sequence[SequenceData]:
    """The sequences for --int8, read before anything is written.

    Raises:
        SiamTrackError: The data set can't be read.
    """
    from tracker.datasets.registry import load_dataset, with_truth

    return with_truth(load_dataset(args.dataset, args.root, args.subset, args.sequences), "calibrated on").sequences


def _write_int8(
    args: argparse.Namespace, model: LoadedModel, files: dict[str, Path], sequences: Sequence[SequenceData]
) -> None:
    from tracker.export.quantize import accuracy_cost, calibrate, quantized, shots
    from tracker.files import write_atomic
    from tracker.runtime.ranges import save_ranges

    half = len(sequences) if args.no_cost else max(1, len(sequences) // 2)
    crops = shots(model, sequences[:half], args.crops)
    ranges = calibrate(model, crops)
    for branch, data in quantized(model, ranges).items():
        write_atomic(files[branch], data)
    notes = {"crops": len(crops), "sequences": half, "dataset": args.dataset}
    print(f"int8 calibrated on {len(crops)} crops of {half} sequences")
    rest, cost = sequences[half:], None
    if args.no_cost or not rest:
        print("accuracy cost not measured" + ("" if args.no_cost else ": there is only one sequence"))
    else:
        both = accuracy_cost(model, ranges, rest)
        cost = round(both.float32 - both.int8, 5)
        print(
            f"accuracy on the other {len(rest)} sequences ({both.frames} frames): mean overlap {both.float32:.4f} in "
            f"float32, {both.int8:.4f} in int8, a cost of {cost:+.4f}"
        )
    save_ranges(files["ranges"], model, ranges, notes, cost)
