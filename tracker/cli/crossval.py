"""`crossval`: evaluates score and states of a model on clips that they were not fitted on."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from tracker.cli.common import DONE, Parser, whole_number
from tracker.cli.evaluate_options import add_data_option
from tracker.cli.model_options import check_model_options
from tracker.cli.streams import note
from tracker.cli.stress import add_run_options, check_outputs, given_kinds, show
from tracker.errors import ConfigError

if TYPE_CHECKING:
    from tracker.evaluation.robustness.crossval import Member


def build_parser() -> Parser:
    """The options of `crossval`."""
    parser = Parser(
        description="Score and states on clips that they were not fitted on: clips are divided by source into two "
        "halves, the score is fitted on one and judged on the other, both ways round. Nothing is written to the model.",
        epilog="Example: siamtrack crossval --data otb=otb:data/otb-dev --data hard=otb:data/hard-dev "
        "--output crossval. What the numbers mean: docs/lost.md.",
    )
    data = parser.add_argument_group("data")
    add_data_option(
        data, "a data set, a row of the table; may be repeated. Take clips that the model was not trained on"
    )
    data.add_argument(
        "--source",
        default=r"^.*?(?=[-_]?\d*$)",
        metavar="REGEX",
        help="clips for which REGEX finds the same text in their names are of one source and stay on one side "
        "(default: the name without a number at its end)",
    )
    data.add_argument(
        "--kinds", default="occlusion,cut,leave,vanish", metavar="LIST", help="disturbances of the evaluated clips"
    )
    data.add_argument(
        "--frames", type=whole_number(0), default=160, metavar="N", help="first frames of disturbed clips; 0 takes all"
    )
    data.add_argument("--seed", type=int, default=0, metavar="N", help="of disturbances and bootstrap")
    parser.add_argument("--per-sequence", action="store_true", help="also a table by clip")
    add_run_options(parser, "crossval.md and crossval.json, and finished parts: a run goes on there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the cross-validation; returns the exit code."""
    args = build_parser().parse_args(argv)
    kinds = given_kinds(args)
    outputs = check_outputs(args.output, ("crossval.md", "crossval.json"), args.overwrite)
    check_model_options(args)
    members = _members(args)
    from tracker._version import __version__
    from tracker.evaluation.robustness.crossval import Store, cross_validate
    from tracker.evaluation.robustness.crossval_table import markdown
    from tracker.evaluation.specs import code_version
    from tracker.model.checkpoint import load_model
    from tracker.runtime.select import build_engine

    model = load_model(args.model, args.config, args.overrides)
    engine = build_engine(model, args.device, args.engine)
    assert model.path is not None
    key = {
        "weights": hashlib.sha256(model.path.read_bytes()).hexdigest(),
        "tracking": asdict(model.config.tracking),
        "engine": engine.name,
        "code": code_version(),
    }
    store = Store(args.output / "parts" if args.output else None, key)

    progress = partial(note, args)
    rows = cross_validate(
        members, model, engine, kinds=kinds, frames=args.frames or None, seed=args.seed, store=store, progress=progress
    )
    about = (
        f"{model.name}, siamtrack {__version__}, engine {engine.name}: {len(rows)} clips of "
        f"{len({m.source for m in members})} sources in two halves, the score fitted on one and judged on the other; "
        f"disturbances {', '.join(kinds)} over the first {args.frames or 'all'} frames; seed {args.seed}; "
        "intervals: 95 %, bootstrap over clips."
    )
    text = f"{about}\n\n{markdown(rows, args.per_sequence, args.seed)}"
    show(text, {"about": about, "clips": [asdict(r) for r in rows]}, outputs)
    return DONE


def _members(args: argparse.Namespace) -> list[Member]:
    from tracker.datasets.registry import load_dataset, with_truth
    from tracker.evaluation.robustness.crossval import Member

    try:
        pattern = re.compile(args.source)
    except re.error as error:
        raise ConfigError(
            f"--source {args.source!r} is not a regular expression: {error}; a bracket itself is \\( or \\)."
        ) from None
    members = []
    for label, name, root, subset, glob in args.data:
        dataset = with_truth(load_dataset(name, root, subset, glob), "measured on")
        for sequence in dataset.sequences:
            found = pattern.search(sequence.name)
            source = found.group(0) if found and found.group(0) else sequence.name
            members.append(Member(label, sequence, f"{label}/{source}"))
    names = [m.name for m in members]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise ConfigError(f"The clip {twice} is given twice; give each data set a label of its own (LABEL=NAME:ROOT).")
    return members
