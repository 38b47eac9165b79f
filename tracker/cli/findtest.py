"""`findtest`: how often a known target is found, and how often a look-alike is taken for it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import DONE, Parser, whole_number
from tracker.cli.evaluate_options import add_data_option
from tracker.cli.model_options import check_model_options
from tracker.cli.stress import add_run_options, check_outputs, show
from tracker.errors import SourceError
from tracker.files import read_text
from tracker.settings import changed

if TYPE_CHECKING:
    from tracker.datasets.base import SequenceData
    from tracker.evaluation.robustness.finding import Finding


def build_parser() -> Parser:
    """The options of `findtest`."""
    parser = Parser(
        description="Known targets in other footage: each clip's target is learnt in its first third and looked for in "
        "its last third, in a clip with another target of its class, and in one of another class.",
        epilog="Example: siamtrack findtest --data otb=otb:OTB --classes classes.csv. "
        "What the numbers mean: docs/lost.md.",
    )
    data = parser.add_argument_group("data")
    add_data_option(data, "a data set; may be repeated")
    data.add_argument(
        "--classes",
        type=Path,
        required=True,
        metavar="FILE.csv",
        help="lines `clip,class`: what each clip's target is; clips that are not named are left out",
    )
    data.add_argument("--frames", type=whole_number(1), default=45, metavar="N", help="frames of each search at most")
    data.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap")
    add_run_options(parser, "write findtest.md and findtest.json there", "search")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the searches; returns the exit code."""
    args = build_parser().parse_args(argv)
    outputs = check_outputs(args.output, ("findtest.md", "findtest.json"), args.overwrite)
    check_model_options(args)
    classes = read_classes(args.classes)
    from tracker.datasets.registry import load_dataset, with_truth
    from tracker.evaluation.robustness.finding import find_all, markdown
    from tracker.model.checkpoint import load_model
    from tracker.runtime.select import build_engine

    clips: list[SequenceData] = []
    for _, name, root, subset, glob in args.data:
        clips += with_truth(load_dataset(name, root, subset, glob), "measured on").sequences
    model = load_model(args.model, args.config, args.overrides)
    model = replace(
        model, config=replace(model.config, tracking=changed(model.config.tracking, {"redetection.budget_ms": 0.0}))
    )
    engine = build_engine(model, args.device, args.engine)

    def progress(row: Finding) -> None:
        if not args.quiet:
            print(f"{row.known} in {row.clip} ({row.kind}): reported in {row.reported} of {row.frames}", flush=True)

    rows = find_all(clips, classes, model, engine, args.frames, progress)
    text = (
        f"{model.name}, engine {engine.name}, {len({r.known for r in rows})} targets, at most {args.frames} "
        f"frames of each search; intervals: 95 %, bootstrap over searches, seed {args.seed}.\n\n"
        f"{markdown(rows, args.seed)}"
    )
    show(text, [asdict(r) for r in rows], outputs)
    return DONE


def read_classes(path: Path) -> dict[str, str]:
    """Clip -> class.

    Raises:
        SourceError: The file can't be read, or a line has no two fields.
    """
    try:
        text = io.StringIO(read_text(path), newline=None)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"Can't read the classes in {path}: {getattr(error, 'strerror', None) or error}; give a file of lines "
            "clip,class."
        ) from None
    lines = [(n, row) for n, row in enumerate(csv.reader(text), 1) if row and not row[0].startswith("#")]
    for number, row in lines:
        if len(row) != 2 or not row[0].strip() or not row[1].strip():
            raise SourceError(f"{path}, line {number}: {','.join(row)!r} is not of the form clip,class.")
    return {row[0].strip(): row[1].strip() for _, row in lines}
