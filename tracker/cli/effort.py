"""`siamtrack effort`: simulates how many boxes a person must draw to annotate a clip well enough."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import DONE, Parser, RawEpilog, add_version, whole_number
from tracker.cli.model_options import add_model_options, check_model_options, load_tracker
from tracker.errors import ConfigError
from tracker.media.sinks.base import check_writable

if TYPE_CHECKING:
    from tracker.annotate.retrack import Follower
    from tracker.annotate.simulate import Outcome
    from tracker.datasets.base import SequenceData

DESCRIPTION = """\
How many boxes a person must draw in `siamtrack annotate`, simulated on clips whose boxes are known. The first box is
given; then the true box of the worst frame is drawn, again and again, until the mean overlap over all frames reaches
--goal. Compared are straight lines
between the boxes, which is what label tools draw, and, in the same loop, trackers of OpenCV.
"""
EXAMPLES = """\
  siamtrack effort --dataset otb --root OTB --shortest 10 --compare opencv:nano --model-dir nanotrack
"""


def build_parser() -> Parser:
    """The options of `siamtrack effort`."""
    parser = Parser(description=DESCRIPTION, epilog=EXAMPLES, formatter_class=RawEpilog)
    data = parser.add_argument_group("data set")
    data.add_argument("--dataset", required=True, metavar="NAME", help="as for `siamtrack evaluate`")
    data.add_argument("--root", required=True, type=Path, metavar="DIR", help="folder of the data set")
    data.add_argument("--sequences", metavar="GLOB", help="only sequences whose names match")
    data.add_argument("--shortest", type=whole_number(1), metavar="N", help="only the N shortest sequences")
    loop = parser.add_argument_group("loop")
    loop.add_argument("--goal", type=float, default=0.8, metavar="IOU", help="mean overlap over all frames to reach")
    loop.add_argument(
        "--most", type=whole_number(1), default=60, metavar="N", help="boxes after which a tracker is given up on"
    )
    loop.add_argument(
        "--compare", action="append", default=[], metavar="opencv:NAME", help="another tracker for the same loop"
    )
    loop.add_argument("--model-dir", metavar="DIR", help="folder with the model files of OpenCV's trackers")
    loop.add_argument("--output", type=Path, metavar="FILE.md", help="write the table too")
    loop.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    add_model_options(parser)
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Simulates and prints the table; returns the exit code."""
    args = build_parser().parse_args(argv)
    check_model_options(args)
    if not 0 < args.goal < 1:
        raise ConfigError(
            f"The goal {args.goal:g} is not an overlap to reach; give a number between 0 and 1, such as 0.8."
        )
    if args.output:
        check_writable(args.output, args.overwrite)
    from tracker.annotate.simulate import OpenCVFollower, table
    from tracker.datasets.registry import load_dataset
    from tracker.evaluation.baselines import OpenCVBaseline

    others: dict[str, Follower] = {}
    for text in args.compare:
        kind, _, name = text.partition(":")
        if kind != "opencv" or not name:
            raise ConfigError(f"--compare {text!r} isn't known; write opencv:NAME, for example opencv:nano.")
        others[text] = OpenCVFollower(OpenCVBaseline(name, args.model_dir))
    dataset = load_dataset(args.dataset, args.root)
    if args.sequences:
        dataset = dataset.select(args.sequences)
    chosen = sorted(dataset.sequences, key=len)[: args.shortest] if args.shortest else list(dataset.sequences)
    tracker = load_tracker(args)
    rows: list[tuple[str, list[Outcome]]] = []
    for sequence in sorted(chosen, key=lambda s: s.name):
        rows.append((f"{sequence.name} ({len(sequence)})", one(sequence, {args.model: tracker, **others}, args)))
    text = table(rows, ["straight lines", args.model, *others], args.most)
    print(text)
    if args.output:
        from tracker.files import write_atomic

        write_atomic(args.output, text + "\n")
    import numpy as np

    print(
        f"Goal: mean IoU {args.goal:g}. Python {platform.python_version()}, numpy {np.__version__}, "
        f"{tracker.engine.name}."
    )
    return DONE


def one(sequence: SequenceData, trackers: dict[str, Follower], args: argparse.Namespace) -> list[Outcome]:
    """The outcomes for a sequence: linear interpolation, then each tracker."""
    from tracker.annotate.simulate import SequenceFrames, annotate_like_a_person, by_interpolation, by_tracking

    frames = SequenceFrames(sequence)
    truth = sequence.truth[: len(frames)]
    out = [annotate_like_a_person(truth, by_interpolation(len(frames)), args.goal, 10 * args.most)]
    for name, tracker in trackers.items():
        began = time.perf_counter()
        fill, machine = by_tracking(frames, tracker)
        out.append(annotate_like_a_person(truth, fill, args.goal, args.most))
        sys.stderr.write(
            f"{sequence.name}: {name} {out[-1].drawn or 'never'}, lines {out[0].drawn or 'never'}; {machine.tracked} "
            f"frames tracked in {time.perf_counter() - began:.0f} s\n"
        )
    return out
