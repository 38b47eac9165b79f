"""`calibrate`: fit the score of a model on disturbed clips and store it in its checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from tracker.cli.common import DONE, Parser
from tracker.cli.model_options import check_model_options
from tracker.cli.streams import note
from tracker.cli.stress import add_data_options, add_run_options, check_outputs, clips, given_dataset, given_kinds
from tracker.files import write_atomic


def build_parser() -> Parser:
    """The options of `calibrate`."""
    parser = Parser(
        description="Fit the score of a model, so that 0.8 means that 80 % of such boxes are on the target; store it "
        "in the checkpoint. Take clips that the model was not trained on.",
        epilog="Example: siamtrack calibrate --model my.safetensors --dataset got10k --subset val --root GOT-10k "
        "--write --output calibration",
    )
    add_data_options(parser, 60)
    parser.set_defaults(kinds="none,occlusion,cut,leave,vanish")
    parser.add_argument(
        "--write", action="store_true", help="store the result in the checkpoint of --model; without it, only show it"
    )
    add_run_options(parser, "write reliability.png and calibration.md there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the calibration; returns the exit code."""
    args = build_parser().parse_args(argv)
    kinds = given_kinds(args)
    outputs = check_outputs(args.output, ("reliability.png", "calibration.md"), args.overwrite)
    check_model_options(args)
    dataset = given_dataset(args)
    from tracker.errors import SourceError
    from tracker.evaluation.robustness.calibration import calibrate, plot_reliability, sample
    from tracker.model.checkpoint import load_model, update_tracking
    from tracker.runtime.select import build_engine
    from tracker.tracking.confidence import FEATURES, OVERLAP

    model = load_model(args.model, args.config, args.overrides)
    engine = build_engine(model, args.device, args.engine)

    progress = partial(note, args)
    samples = sample(clips(dataset, kinds, args.seed, args.frames), model, engine, progress)
    if samples.right.all() or not samples.right.any():
        raise SourceError(
            f"All {len(samples)} boxes on {dataset.title} are alike (all right or all wrong): nothing can be fitted "
            "on them."
        )
    result = calibrate(samples)
    weights, knots = result.values["calibration.confidence"], result.values["calibration.knots"]
    assert isinstance(weights, tuple) and isinstance(knots, tuple)
    slopes = zip(FEATURES, weights[1:], knots, weights[1 + len(knots) :], strict=False)
    lines = [
        f"{model.name}, calibrated on {dataset.title} ({len(dataset.sequences)} sequences, {args.frames or 'all'} "
        f"frames each; {', '.join(kinds)}; seed {args.seed}).",
        "",
        f"- {result.samples} boxes, {100 * result.right / result.samples:.1f} % of them on the target (IoU >= "
        f"{OVERLAP:g})",
        f"- expected calibration error {result.error:.3f}, on clips that the fit had not seen (five folds of clips)",
        f"- a box on the target scores above one that is not in {100 * result.auc:.1f} % of pairs (area under the "
        "ROC curve, same folds)",
        "",
        "| feature | weight | knot | further weight above it |",
        "|---|---|---|---|",
        f"| bias | {weights[0]:.3f} | | |",
        *[f"| {name} | {below:.3f} | {knot:.3f} | {more:.3f} |" for name, below, knot, more in slopes],
        "",
        "| mean score | on the target | boxes |",
        "|---|---|---|",
        *[f"| {score:.3f} | {share:.3f} | {number} |" for score, share, number in result.curve],
    ]
    print("\n".join(lines))
    if outputs:
        part = outputs[0].with_name("part-" + outputs[0].name)
        plot_reliability(result.curve, result.error, part, f"{model.name}: score and truth")
        part.replace(outputs[0])
        write_atomic(outputs[1], "\n".join(lines) + "\n")
    if args.write:
        assert model.path is not None
        facts = {
            "calibrated_on": dataset.title,
            "calibration_error": round(result.error, 4),
            "calibration_auc": round(result.auc, 4),
        }
        update_tracking(model.path, result.values, facts)
        print(f"Stored in {model.path}.")
    else:
        sys.stderr.write("Nothing was stored: --write puts it in the checkpoint.\n")
    return DONE
